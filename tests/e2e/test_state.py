"""Slim runs on a real warehouse: what is compared, what is built, and which runs leave the state to
compare with.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import product
from tests.support.kube import Manifest, apply, get, kubectl, namespace, resource
from tests.support.scenarios import PROJECTS, artifacts, create_user, location, secrets

NAMESPACE = "states"
SLIM = {"build": {"select": ["state:modified+"]}}
ALL = {"measurements", "stations", "summary"}
UNRELATED = "{{ config(tags=['finance']) }} select 1 as id"


class Shop:
    """A project whose models are edited between its runs."""

    def __init__(self, images: Mapping[str, str], folder: Path) -> None:
        self.images = images
        self.folder = folder
        self.versions = 0
        self.edit("finance", UNRELATED)

    def edit(self, model: str, sql: str) -> None:
        """Release another version of the project: a ConfigMap of its own, as kustomize makes
        them.
        """
        self.versions += 1
        path = self.folder / "models" / f"{model}.sql"
        path.parent.mkdir(exist_ok=True)
        path.write_text(sql)
        name = f"shop-{self.versions}"
        data = base64.b64encode(product.packed(PROJECTS / "mini", self.folder)).decode()
        apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "binaryData": {"project.tar.gz": data},
            },
            resource(
                "DbtProject",
                "shop",
                NAMESPACE,
                {
                    "image": self.images["dbt"],
                    "source": {"configMap": {"name": name}},
                    "artifacts": artifacts() | {"prefix": "states"},
                    "pod": {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}}},
                },
            ),
        )

    def run(self, name: str, step: Manifest, target: str = "prod", **spec: object) -> Manifest:
        references = {"projectRef": {"name": "shop"}, "targetRef": {"name": target}}
        apply(resource("DbtRun", name, NAMESPACE, {**references, "steps": [step], **spec}))
        return product.wait_until_finished(name, NAMESPACE)

    def states(self) -> dict[str, str]:
        """The run whose state is the current one, by target."""
        found = get("dbtproject", "shop", NAMESPACE)["status"].get("states", [])
        return {entry["target"]: entry["run"] for entry in found}


def succeeded(run: Manifest) -> bool:
    assert run["status"]["phase"] == "Succeeded", run["status"]["message"]
    return True


def built(run: Manifest) -> set[str]:
    """The models that dbt has built in a run."""
    found = json.loads(product.objects(location(run))["run_results.json"])["results"]
    names = (row["unique_id"].split(".") for row in found)
    return {name for kind, _, name, *_ in names if kind == "model"}


def target(name: str, schema: str) -> Manifest:
    spec = {
        "target": "prod",
        "profiles": {"secretRef": {"name": "warehouse", "key": "profiles.yml"}},
        "schemaPattern": "^analytics_.*$",
        "env": [{"name": "SCHEMA", "value": schema}],
    }
    return resource("DbtTarget", name, NAMESPACE, spec)


@pytest.fixture(scope="module")
def shop(
    installed: None,  # noqa: ARG001 -- it has to be there first
    images: Mapping[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shop]:
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait")
    for schema in ("analytics_state", "analytics_pr_7"):
        product.psql(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    create_user()
    apply(namespace(NAMESPACE))
    apply(*secrets(NAMESPACE), target("prod", "analytics_state"), target("ci", "analytics_ci"))
    yield Shop(images, tmp_path_factory.mktemp("shop"))
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_the_story_of_a_project(shop: Shop) -> None:
    """One test, because each run stands on the ones before."""
    run = shop.run("too-early", SLIM, state={"onMissing": "Fail"})
    assert (run["status"]["phase"], run["status"]["reason"]) == ("Failed", "MissingState")

    run = shop.run("first", SLIM, state={"defer": True})
    assert succeeded(run)
    assert built(run) == ALL | {"finance"}, "without a state everything is built"
    assert shop.states() == {"prod": "first"}

    run = shop.run("nothing-new", SLIM, state={"defer": True}, onEmptySelection="Succeed")
    assert succeeded(run)
    assert shop.states() == {"prod": "nothing-new"}

    shop.edit(
        "stations",
        "select station, min(celsius) as celsius from {{ ref('measurements') }} group by station",
    )
    run = shop.run("finance", {"build": {"select": ["tag:finance"]}})
    assert succeeded(run)
    assert built(run) == {"finance"}
    assert shop.states() == {"prod": "nothing-new"}, "the change has not been built"

    run = shop.run(
        "pull-request",
        SLIM,
        target="ci",
        env=[{"name": "SCHEMA", "value": "analytics_pr_7"}],
        state={"from": {"target": "prod"}, "defer": True},
    )
    assert succeeded(run)
    assert built(run) == {"stations", "summary"}
    tables = (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'analytics_pr_7'"
    )
    assert set(product.psql(tables, "-At").split()) == {"stations", "summary"}, (
        "the rest is read from prod"
    )
    assert shop.states() == {"prod": "nothing-new"}

    run = shop.run("slim", SLIM, state={"defer": True})
    assert succeeded(run)
    assert built(run) == {"stations", "summary"}, "the unrelated run in between has hidden nothing"
    assert shop.states() == {"prod": "slim"}

    run = shop.run("of-a-run", SLIM, state={"from": {"run": "first"}, "defer": True})
    assert succeeded(run)
    assert built(run) == {"stations", "summary"}

    run = shop.run("copy", {"clone": {}}, target="ci", state={"from": {"target": "prod"}})
    assert succeeded(run)
    assert product.psql("SELECT count(*) FROM analytics_ci.finance", "-At").strip() == "1"

    log = kubectl(
        "logs",
        "--selector=dbt-operator.dev/run=of-a-run",
        "-c",
        "dbt",
        "--tail=-1",
        namespace=NAMESPACE,
    )
    assert "with the cache of an earlier run" in log
