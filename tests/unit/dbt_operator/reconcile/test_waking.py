"""Whom a change of an object concerns."""

from __future__ import annotations

from typing import Any

import pytest

from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.reconcile.kinds import find_concerned
from dbt_operator.reconcile.waking import Change, run_key
from tests.support.builders import UID, project, run, target

RUN = Key("DbtRun", "analytics", "nightly")


@pytest.mark.parametrize(("manifest", "name"), [(project(), "shop"), (target(), "prod")])
def test_a_change_of_a_reference_concerns_the_runs_that_wait_for_it(
    manifest: dict[str, Any], name: str
) -> None:
    store = Store()
    store.put("DbtRun", run())
    key = Key(manifest["kind"], "analytics", name)
    assert list(find_concerned(Change(manifest, store))) == [key, RUN]


@pytest.mark.parametrize("status", [{"resolved": {}}, {"finishedAt": "2026-01-01T00:00:00Z"}])
def test_it_concerns_no_run_that_waits_no_more(status: dict[str, Any]) -> None:
    store = Store()
    store.put("DbtRun", run() | {"status": status})
    assert RUN not in list(find_concerned(Change(project(), store)))


@pytest.mark.parametrize(
    ("holder", "reason", "news"),
    [
        ({"uid": "other"}, None, False),
        ({"uid": UID}, None, True),  # a slot
        ({"uid": "other", "lostPod": "pod on node a"}, None, True),
        ({"uid": "other", "lostPod": "pod on node a"}, "SlotHeldByLostNode", False),
        ({"uid": "other"}, "SlotHeldByLostNode", True),  # the node is back
    ],
)
def test_a_target_concerns_the_queued_runs_that_it_has_news_for(
    holder: dict[str, str], reason: str | None, news: bool
) -> None:
    store, manifest = Store(), target()
    store.put("DbtRun", run() | {"status": {"phase": "Queued", "reason": reason}})
    manifest["status"] = {"holders": [holder]}
    assert (RUN in list(find_concerned(Change(manifest, store)))) == news


def test_a_job_or_pod_concerns_its_run() -> None:
    labels = {"dbt-operator.dev/run": "nightly", "dbt-operator.dev/run-uid": "x"}
    assert run_key({"metadata": {"namespace": "analytics", "name": "pod", "labels": labels}}) == RUN
