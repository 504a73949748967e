"""Counts what has ended, at the write that ends it. So each end is counted once, by the operator
that has written it; one that is killed in between leaves it out.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import structlog
from prometheus_client.core import Metric

from dbt_operator.api.registry import BACKFILL, RUN
from dbt_operator.api.status import ConditionType
from dbt_operator.cluster.store import Store
from dbt_operator.metrics.definitions import (
    ARTIFACTS_FAILED,
    BACKFILLS_ENDED,
    NODES,
    RUN_DURATION,
    RUN_QUEUED,
    RUNS_ENDED,
)
from dbt_operator.metrics.label_values import LabelValues, RunLabels
from dbt_operator.metrics.tallies import Distribution, Tally
from dbt_operator.planning.common.durations import parse_time

log = structlog.get_logger()

Manifest = Mapping[str, Any]

# Series that a schedule has of runs that have ended, and the reason of those above that. With one
# more for each of the four phases, and seven gauges, a schedule has no more than 20 series.
MOST_ENDS = 9
OTHER = "Other"
# How nodes end: fields of status.nodes, and dbt's words for them.
_NODE_STATUSES = {
    "success": "success",
    "error": "error",
    "skipped": "skipped",
    "pass": "pass",
    "warn": "warn",
    "fail": "fail",
    "noOp": "no_op",
}


class Ends:
    """What has ended. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._values = LabelValues.looked_up(store)
        self._ended = {RUN.kind: Tally(RUNS_ENDED), BACKFILL.kind: Tally(BACKFILLS_ENDED)}
        self._more = {RUN.kind: self._count_run}  # beside the end itself
        self._durations = Distribution(RUN_DURATION)
        self._queued = Distribution(RUN_QUEUED)
        self._nodes = Tally(NODES)
        self._artifacts_failed = Tally(ARTIFACTS_FAILED)
        self._lock = threading.Lock()
        # (namespace, schedule) -> what its series say beside its name
        self._seen: dict[tuple[str, str], set[tuple[str, ...]]] = {}

    def count(self, kind: str, ended: Manifest) -> None:
        """Count a run or backfill that has just ended. Whatever is wrong with it, nothing else
        must fail because of that.
        """
        try:
            self._count(kind, {**ended, "kind": kind})
        except Exception:
            log.exception("not counted", kind=kind, name=ended["metadata"].get("name"))

    def collect(self) -> Iterator[Metric]:
        """As it stands, without what is gone."""
        exist = LabelValues.read_once(self._store).exist
        with self._lock:
            self._seen = {
                (namespace, schedule): seen
                for (namespace, schedule), seen in self._seen.items()
                if exist({"namespace": namespace, "schedule": schedule})
            }
        kept: tuple[Tally | Distribution, ...] = (
            *self._ended.values(),
            self._durations,
            self._queued,
            self._nodes,
            self._artifacts_failed,
        )
        for each in kept:
            each.retain(exist)
            yield each.collect()

    def _count(self, kind: str, ended: Manifest) -> None:
        labels, status = self._values.find_run(ended), ended["status"]
        schedule = self._values.find_schedule(ended)
        end = (status["phase"], status.get("reason") or "")
        self._ended[kind].add(*labels, schedule, *self._limit(kind, labels, schedule, end))
        if (count_more := self._more.get(kind)) is not None:
            count_more(labels, status)

    def _limit(
        self, kind: str, labels: RunLabels, schedule: str, end: tuple[str, str]
    ) -> tuple[str, str]:
        """Phase and reason as they are, unless the schedule has series enough."""
        if not schedule:
            return end
        phase, _ = end
        with self._lock:
            seen = self._seen.setdefault((labels[0], schedule), set())
            known = (kind, *labels, *end)
            if known in seen:
                return end
            if len(seen) < MOST_ENDS:
                seen.add(known)
                return end
        return phase, OTHER

    def _count_run(self, labels: RunLabels, status: Manifest) -> None:
        namespace, _, target = labels
        if "startedAt" in status and "finishedAt" in status:
            took = parse_time(status["finishedAt"]) - parse_time(status["startedAt"])
            self._durations.observe(max(0.0, took.total_seconds()), *labels)
        if (queued := status.get("queuedSeconds")) is not None:
            self._queued.observe(queued, namespace, target)
        for field, word in _NODE_STATUSES.items():
            if number := (status.get("nodes") or {}).get(field):
                self._nodes.add(*labels, word, amount=number)
        conditions = {each["type"]: each["status"] for each in status.get("conditions") or ()}
        if conditions.get(ConditionType.ARTIFACTS_UPLOADED) == "False":
            self._artifacts_failed.add(*labels)
