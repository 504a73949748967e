"""What objects say of themselves, read from the store when Prometheus asks. The API server is asked
nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric

from dbt_operator.api.registry import BACKFILL, RUN, SCHEDULE, TARGET
from dbt_operator.api.status import Phase
from dbt_operator.cluster.projection import PROJECTED
from dbt_operator.cluster.store import Store
from dbt_operator.metrics.definitions import (
    BACKFILL_WINDOWS,
    BACKFILLS,
    NOTIFYING,
    NOTIFYING_SINCE,
    RUNS,
    TARGET_HOLDERS,
    TARGET_QUEUED,
    TARGET_QUEUED_SINCE,
    TARGET_SLOTS,
    Definition,
    make_gauge,
)
from dbt_operator.metrics.label_values import LabelValues, RunLabels
from dbt_operator.metrics.schedule_gauges import ScheduleGauges
from dbt_operator.planning.common.durations import parse_time

log = structlog.get_logger()

Manifest = Mapping[str, Any]

_WINDOW_STATES = ("pending", "running", "succeeded", "failed", "skipped")
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError)


class ObjectGauges:
    """The gauges of all objects, in the operator that leads."""

    def __init__(self, store: Store, is_shown: Callable[[], bool]) -> None:
        """``is_shown`` tells whether this operator leads, and knows of everything."""
        self._store = store
        self._is_shown = is_shown

    def collect(self) -> Iterator[Metric]:
        """As the objects are now."""
        if not self._is_shown():
            return
        values = LabelValues.read_once(self._store)
        schedules = ScheduleGauges(values)
        _read_all(schedules.add, self._store.all(SCHEDULE.kind))
        yield from schedules.collect()
        work = _Work(values)
        _read_all(work.add, self._store.all_unfinished())
        yield from work.collect()
        targets = _Targets(work)
        _read_all(targets.add, self._store.all(TARGET.kind))
        yield from targets.collect()
        messages = _Messages()
        _read_all(messages.add, self._store.find_notifying())
        yield from messages.collect()


def _read_all(add: Callable[[Manifest], None], manifests: list[Manifest]) -> None:
    """Manifests come here as they are, and one that cannot be read must not hide the others."""
    for manifest in manifests:
        try:
            add(manifest)
        except _UNREADABLE:
            metadata = manifest["metadata"]
            log.debug("not measured", kind=manifest["kind"], name=metadata["name"])


class _Work:
    """Runs and backfills that have not ended."""

    def __init__(self, values: LabelValues) -> None:
        self._values = values
        self._phases = {
            RUN.kind: Counter[tuple[str, ...]](),
            BACKFILL.kind: Counter[tuple[str, ...]](),
        }
        self._windows = Counter[tuple[str, ...]]()
        # Windows of runs are those of their backfills.
        self._more = {BACKFILL.kind: self._count_windows}
        self.queued = Counter[tuple[str, str]]()  # by namespace and target
        self.queued_since: dict[tuple[str, str], str] = {}

    def add(self, run: Manifest) -> None:
        """Read a run or backfill."""
        status = run.get("status") or {}
        labels = self._values.find_run(run)
        phase = status.get("phase") or Phase.PENDING
        self._phases[run["kind"]][*labels, str(phase)] += 1
        if (count_more := self._more.get(run["kind"])) is not None:
            count_more(labels, status)
        if phase == Phase.QUEUED:
            target = (labels[0], labels[2])
            self.queued[target] += 1
            since = (status.get("queue") or {}).get("since")
            if since:
                self.queued_since[target] = min(since, self.queued_since.get(target, since))

    def _count_windows(self, labels: RunLabels, status: Manifest) -> None:
        for state in _WINDOW_STATES:
            self._windows[*labels, state] += (status.get("windows") or {}).get(state, 0)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All of them but what is said of targets."""
        yield _make(RUNS, self._phases[RUN.kind])
        yield _make(BACKFILLS, self._phases[BACKFILL.kind])
        yield _make(BACKFILL_WINDOWS, self._windows)


class _Targets:
    """The slots of targets, and who waits for them."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._slots, self._holders = make_gauge(TARGET_SLOTS), make_gauge(TARGET_HOLDERS)
        self._queued, self._since = make_gauge(TARGET_QUEUED), make_gauge(TARGET_QUEUED_SINCE)

    def add(self, target: Manifest) -> None:
        """Read a target."""
        labels = (target["metadata"]["namespace"], target["metadata"]["name"])
        self._slots.add_metric(labels, target["spec"].get("maxConcurrentRuns") or 1)
        holders = (target.get("status") or {}).get("holders") or ()
        self._holders.add_metric(labels, len({each["uid"] for each in holders}))
        self._queued.add_metric(labels, self._work.queued[labels])
        if since := self._work.queued_since.get(labels):
            self._since.add_metric(labels, parse_time(since).timestamp())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All of them."""
        yield from (self._slots, self._holders, self._queued, self._since)


class _Messages:
    """What is still to be told."""

    def __init__(self) -> None:
        self._objects = Counter[tuple[str, ...]]()
        self._since: dict[str, str] = {}  # by namespace

    def add(self, manifest: Manifest) -> None:
        """Read an object about which a message is to be sent."""
        namespace, status = manifest["metadata"]["namespace"], manifest["status"]
        self._objects[namespace,] += 1
        if manifest.get(PROJECTED):
            since = status["finishedAt"]  # when its messages were decided on
        else:
            messages = status["notifications"]
            since = min(each["since"] for each in messages if each["state"] == "Pending")
        self._since[namespace] = min(since, self._since.get(namespace, since))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All of them."""
        yield _make(NOTIFYING, self._objects)
        oldest = make_gauge(NOTIFYING_SINCE)
        for namespace, since in self._since.items():
            oldest.add_metric((namespace,), parse_time(since).timestamp())
        yield oldest


def _make(definition: Definition, values: Mapping[tuple[str, ...], int]) -> GaugeMetricFamily:
    found = make_gauge(definition)
    for labels, value in values.items():
        found.add_metric(labels, value)
    return found
