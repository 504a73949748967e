"""Metrics as Prometheus reads them, and the rules and the dashboard that ask for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import yaml
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.common.workqueue import WorkQueue
from dbt_operator.metrics.operator_metrics import OperatorMetrics, Sources, WatchAges
from tests.support.builders import backfill, project, run, stamp, target
from tests.support.places import ROOT
from tests.support.schedule_world import schedule

FILES = ROOT / "charts" / "dbt-operator" / "files"
NAMESPACE = "dbt-system"  # that the operator is in, in these tests

Manifest = dict[str, Any]
Series = dict[str, float]  # by its labels, as they are written


class Shown:
    """An operator's metrics, with everything that they are made of at hand."""

    def __init__(self, *manifests: Manifest, channels: Iterable[str] = ()) -> None:
        self.store = Store()
        for manifest in manifests:
            self.store.put(manifest["kind"], manifest)
        self.metrics = OperatorMetrics(self.store, channels)
        self.queue: WorkQueue[Key] = WorkQueue()
        self.leads = True
        self.knows_all = True
        self.watches = [WatchAges("", {"dbtruns": 12.0})]
        self.metrics.show(
            Sources(
                leads=lambda: self.leads,
                knows_all=lambda: self.knows_all,
                queue=self.queue,
                find_watch_ages=lambda: self.watches,
            )
        )

    def families(self) -> dict[str, Metric]:
        """What a scrape finds, by the name that queries have."""
        _, page = self.metrics.render("")
        found = text_string_to_metric_families(page.decode())
        return {f"{each.name}{'_total' * (each.type == 'counter')}": each for each in found}

    def series(self, name: str) -> Series:
        """The series of a metric."""
        family = self.families()[f"dbt_operator_{name}"]
        return {write_labels(sample.labels): sample.value for sample in family.samples}


def write_labels(labels: dict[str, str]) -> str:
    """Labels that say something, in their order: ``analytics/shop``."""
    return "/".join(f"{value}" for _, value in sorted(labels.items()) if value)


def show_everything() -> Shown:
    """An operator in which every metric has a series."""
    nightly = schedule(suspend=False)
    nightly["status"] = {
        "nextRunTimes": [stamp(600)],
        "lastSuccessTime": stamp(-600),
        "late": {"occurrence": stamp(-900), "since": stamp(-300)},
        "history": [
            {"occurrence": stamp(), "run": "x", "phase": "Failed", "reason": "ModelError"}
            | {"duration": "1m"}
        ],
    }
    ended = run()
    ended["status"] = {
        "phase": "Failed",
        "reason": "UploadFailed",
        "startedAt": stamp(),
        "finishedAt": stamp(60),
        "queuedSeconds": 5,
        "nodes": {"total": 3, "success": 2, "error": 1},
        "conditions": [{"type": "ArtifactsUploaded", "status": "False", "reason": "UploadFailed"}],
        "notifications": [{"state": "Pending", "since": stamp(60)}],
        "observedGeneration": 1,
    }
    queued = run()
    queued["metadata"] |= {"name": "queued", "uid": "uid-of-queued"}
    queued["status"] = {"phase": "Queued", "queue": {"since": stamp(-60)}}
    many = backfill()
    many["status"] = {"phase": "Running", "windows": {"succeeded": 2, "pending": 5}}
    shown = Shown(nightly, ended, queued, many, project(), target(), channels=["team"])
    shown.metrics.count_end("DbtRun", ended)
    shown.metrics.count_end("DbtBackfill", many | {"status": {"phase": "Failed"}})
    shown.metrics.count_request("GET", 200)

    def refuse(key: Key) -> float | None:
        raise ValueError(key)

    try:
        shown.metrics.measure(refuse)(Key("DbtRun", "analytics", "x"))
    except ValueError:
        return shown
    raise AssertionError("it is measured and not swallowed")


def read_rules(namespace: str = NAMESPACE) -> dict[str, Any]:
    """The rules as the chart renders them."""
    text = (FILES / "rules.yaml").read_text().replace("RELEASE_NAMESPACE", namespace)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def iterate_rules() -> Iterator[dict[str, Any]]:
    """Each rule."""
    for group in read_rules()["groups"]:
        yield from group["rules"]


def read_dashboard() -> dict[str, Any]:
    """The dashboard."""
    found: dict[str, Any] = json.loads((FILES / "dashboard.json").read_text())
    return found
