"""No name that somebody writes down leads to an object of another namespace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from dbt_operator.api.kinds.run import DbtRun
from dbt_operator.api.registry import KINDS
from dbt_operator.cluster import live
from dbt_operator.cluster.client import Cluster
from dbt_operator.cluster.errors import InvalidError, NotFoundError
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.reconcile.loop import Reconciler
from tests.support.builders import NOW, UID, backfill, project, run, target
from tests.support.fake_cluster import FakeCluster

ELSEWHERE = "../../try/dbtprojects/jaffle"
NO_NAMES = [
    ELSEWHERE,
    "..",
    ".",
    "a..b",
    "a/b",
    "a.",
    "-a",
    "A",
    "a%2fb",
    "a b",
    "a\n",
    "a?b",
    "a#b",
    "",
]


def wanting(model: type[BaseModel], at: str, seen: set[type[BaseModel]]) -> Iterator[str]:
    """Fields of specs that hold the name of another object, but take what is no name."""
    if model in seen:
        return
    seen.add(model)
    for field, info in model.model_fields.items():
        named = model.__name__.endswith(("Ref", "Volume", "StateOf", "ResumeFrom")) and field in (
            "name",
            "run",
            "target",
        )
        if named or field in (
            "claim_name",
            "secret_name",
            "service_account_name",
            "priority_class_name",
        ):
            patterns = [getattr(each, "pattern", None) for each in metadata_of(info)]
            pattern = next((each for each in patterns if each), None)
            if pattern is None or any(
                re.search(pattern, name) for name in NO_NAMES if name != "a\n"
            ):
                yield f"{at}.{field}"
        for inner in models_in(info.annotation):
            yield from wanting(inner, f"{at}.{field}", seen)


def metadata_of(info: Any) -> Iterator[Any]:
    yield from info.metadata
    for each in get_args(info.annotation):
        yield from getattr(each, "__metadata__", ())


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_reference_has_a_pattern(kind: Any) -> None:
    spec = kind.model.model_fields["spec"].annotation
    assert list(wanting(spec, "spec", set())) == []


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_is_no_reference(name: str) -> None:
    for field in (
        {"projectRef": {"name": name}},
        {"targetRef": {"name": name}},
        {"state": {"from": {"run": name}}},
    ):
        with pytest.raises(ValidationError):
            DbtRun.model_validate(run(**field))
    with pytest.raises(ValidationError):
        KINDS_BY_NAME["DbtBackfill"].model.model_validate(backfill(resumeFrom={"name": name}))


KINDS_BY_NAME = {kind.kind: kind for kind in KINDS}


class Client:
    """Stands in for the connection: takes down what would be asked for."""

    configuration = SimpleNamespace(host="https://server")

    def __init__(self) -> None:
        self.asked: list[str] = []

    def update_params_for_auth(self, *_: object) -> None:
        pass

    def call_api(self, method: str, url: str, *_: object, **__: object) -> object:
        self.asked.append(f"{method} {url}")
        return SimpleNamespace(status=200, reason="", headers={}, read=lambda: b'{"metadata": {}}')


@contextmanager
def refused(client: Client) -> Iterator[None]:
    with pytest.raises(InvalidError, match="is no name of an object"):
        yield
    assert client.asked == []


@pytest.mark.parametrize("name", NO_NAMES)
def test_the_client_asks_for_no_such_name(name: str) -> None:
    client = Client()
    cluster = Cluster(client)
    thing = {"metadata": {"name": name, "namespace": "a", "resourceVersion": "1", "uid": UID}}
    with refused(client):
        cluster.get("DbtProject", "a", name)
    with refused(client):
        cluster.get("DbtProject", name, "a")
    with refused(client):
        cluster.patch_status("DbtRun", thing, {})
    with refused(client):
        cluster.open_gate("a", name, UID)
    with refused(client):
        cluster.pods_of_run(name, UID)
    with refused(client):
        cluster.last_log_line("a", name, "artifacts")


def test_there_is_no_object_of_such_a_name() -> None:
    """An owner reference may name anything; whoever looks for that finds nothing, again and again
    in no time.
    """
    client = Client()
    assert live.get(Cluster(client), Store(), "DbtBackfill", "a", ELSEWHERE) is None
    with pytest.raises(NotFoundError):
        Cluster(client).get("DbtBackfill", "a", ELSEWHERE)
    assert client.asked == []


@pytest.mark.parametrize("name", ["shop", "a", "kube-root-ca.crt", "x" * 253, "1.2.3"])
def test_names_are_asked_for_as_they_are(name: str) -> None:
    client = Client()
    Cluster(client).get("DbtProject", "analytics", name)
    prefix = "GET https://server/apis/dbt-operator.dev/v1alpha1/namespaces/analytics/dbtprojects"
    assert client.asked == [f"{prefix}/{name}"]


@pytest.mark.parametrize("field", ["projectRef", "targetRef"])
def test_a_stored_run_with_such_a_reference_ends_and_says_why(field: str) -> None:
    store, stored = Store(), run(**{field: {"name": ELSEWHERE}})
    cluster = FakeCluster(stored, project(), target())
    store.put("DbtRun", stored)
    reconciler = Reconciler(cluster, store, "runner:1", lambda: NOW)  # type: ignore[arg-type]
    for _ in range(3):
        reconciler.reconcile(Key("DbtRun", "analytics", "nightly"))
    status = cluster.objects["DbtRun", "nightly"]["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "InvalidSpec")
    assert status["message"].startswith(f"spec.{field}.name: ")
