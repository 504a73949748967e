"""The example shop, as `make demo` runs it; and a project that none of us wrote."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support import product
from tests.support.kube import PATIENCE, Manifest, apply, get, kubectl, resource
from tests.support.recorded import look
from tests.support.scenarios import NAMESPACE, create_user, location, manifests, secrets
from tests.support.scenarios import Scenario as Usual

SHOP, RUN = "shop", "shop-build"


@pytest.fixture(scope="module")
def shop(installed: None, images: Mapping[str, str]) -> Manifest:  # noqa: ARG001 -- it has to be there first
    """The example, applied and waited for with what a user has: kubectl."""
    kubectl("delete", "dbtrun", RUN, "--ignore-not-found", "--wait", namespace=SHOP, check=False)
    for name in ("shop.yaml", "shop-build.yaml"):
        product.apply_example(product.EXAMPLES / name, images)
    kubectl(
        "wait",
        "--for=condition=Succeeded",
        f"dbtrun/{RUN}",
        f"--timeout={PATIENCE:g}s",
        namespace=SHOP,
    )
    return get("dbtrun", RUN, SHOP)


def test_a_warning_is_counted_and_nothing_failed(shop: Manifest) -> None:
    nodes = shop["status"]["nodes"]
    assert nodes["warn"] == 1
    assert nodes["error"] == nodes["fail"] == nodes["skipped"] == 0
    assert nodes["done"] == f"{nodes['total']}/{nodes['total']}"


def test_it_is_healthy_for_whoever_reads_kstatus(shop: Manifest) -> None:
    assert shop["status"]["observedGeneration"] == shop["metadata"]["generation"]
    states = {kind: product.condition(shop, kind) for kind in ("Ready", "Reconciling", "Stalled")}
    assert states == {"Ready": "True", "Reconciling": "False", "Stalled": "False"}
    look(shop, "succeeded")
    for kind, name in (("dbttarget", "prod"), ("dbtproject", "shop")):
        look(get(kind, name, SHOP), "accepted")


@pytest.mark.usefixtures("shop")
def test_the_marts_are_in_the_warehouse() -> None:
    assert (
        int(product.psql("SELECT count(*) FROM analytics_marts.daily_revenue_by_category", "-At"))
        > 50
    )


def test_every_step_has_its_artifacts(shop: Manifest) -> None:
    names = set(product.objects(location(shop)))
    for step, files in {
        "1-seed": {"manifest.json", "run_results.json", "dbt.log", "events.jsonl"},
        "2-sourceFreshness": {"manifest.json", "sources.json", "dbt.log"},
        "3-build": {"manifest.json", "run_results.json", "dbt.log"},
        "4-docs": {"manifest.json", "catalog.json", "static_index.html", "dbt.log"},
    }.items():
        assert {f"attempt-1/{step}/{file}" for file in files} <= names
    assert "attempt-1/3-build/compiled.tar.gz" in names
    assert "attempt-1/result.json" in names


def test_the_artifacts_are_of_this_run_and_whole(shop: Manifest) -> None:
    found = product.objects(location(shop))
    results = json.loads(found["attempt-1/3-build/run_results.json"])
    assert results["metadata"]["env"]["RUN_UID"] == shop["metadata"]["uid"]
    state = product.objects(shop["status"]["resolved"]["stateLocation"])
    assert set(state) == {"contents.json", "manifest.json", "run_results.json", "sources.json"}
    assert shop["status"]["artifacts"]["objects"] == len(found) + len(state)
    manifest = json.loads(found["attempt-1/3-build/manifest.json"])
    assert manifest["metadata"]["invocation_id"] == results["metadata"]["invocation_id"]


def test_what_really_ran_is_recorded(shop: Manifest) -> None:
    assert shop["status"]["imageID"].startswith("sha256:")
    assert shop["status"]["dbtVersion"].startswith("1.11.")


@pytest.mark.usefixtures("shop")
def test_the_example_backfills_succeed(images: Mapping[str, str]) -> None:
    windows = {"past-week": 7, "hourly-february": 12}
    kubectl("delete", "dbtbackfill", *windows, "--ignore-not-found", "--wait", namespace=SHOP)
    product.psql("DROP TABLE IF EXISTS analytics.order_events_by_hour")
    for name in ("backfill.yaml", "backfill-microbatch.yaml"):
        product.apply_example(product.EXAMPLES / name, images)
    for name, total in windows.items():
        kubectl(
            "wait",
            "--for=condition=Succeeded",
            f"dbtb/{name}",
            f"--timeout={PATIENCE:g}s",
            namespace=SHOP,
        )
        assert get("dbtbackfill", name, SHOP)["status"]["windows"]["succeeded"] == total
    events = "SELECT count(*) FROM analytics_marts.order_events WHERE occurred_at::date"
    expected = int(product.psql(f"{events} BETWEEN '2025-02-24' AND '2025-02-26'", "-At"))
    assert (
        int(product.psql("SELECT sum(events) FROM analytics.order_events_by_hour", "-At"))
        == expected
        > 0
    )


@pytest.fixture
def starter(installed: None, images: Mapping[str, str], tmp_path: Path) -> Iterator[list[Manifest]]:  # noqa: ARG001
    """The project that `dbt init` makes, as dbt Labs ship it, with no change but its name."""
    spec = find_spec("dbt.include.starter_project")
    assert spec is not None
    assert spec.submodule_search_locations
    source = Path(next(iter(spec.submodule_search_locations)))
    for path in source.rglob("*"):
        if path.suffix in (".yml", ".sql"):
            copy = tmp_path / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(
                path.read_text()
                .replace("{project_name}", "starter")
                .replace("{profile_name}", "mini")
            )
    usual = manifests(Usual("starter"), images)[1:]
    files = {"project.tgz": base64.b64encode(product.packed(tmp_path)).decode()}
    metadata = {"name": "starter", "namespace": NAMESPACE}
    create_user()
    kubectl("create", "namespace", NAMESPACE, check=False)
    yield [
        *secrets(),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "binaryData": files},
        *usual[:2],
        resource("DbtRun", "starter", NAMESPACE, usual[2]["spec"]),
    ]
    kubectl("delete", "dbtrun", "starter", "--ignore-not-found", namespace=NAMESPACE)


def test_a_project_that_none_of_us_wrote_ends_as_its_authors_meant_it_to(
    starter: list[Manifest],
) -> None:
    """It has a null in an ID, which its own not_null test is there to find."""
    apply(*starter)
    run = product.wait_until_finished("starter", NAMESPACE)
    assert run["status"]["reason"] == "TestFailed"
    failed = [
        failure["uniqueId"] for failure in run["status"]["failures"] if failure["status"] == "fail"
    ]
    assert len(failed) == 1
    assert failed[0].startswith("test.starter.not_null_my_first_dbt_model_id")
    assert run["status"]["failures"][0]["rows"] == 1
    details = run["status"]["details"]
    assert (details["failed"], details["skipped"], details.get("missing")) == (1, 3, None)
