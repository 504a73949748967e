"""Every metric there is. docs/metrics.md is the same list for people, and a test compares them.

There are two sorts. Counters and histograms are kept in memory and begin anew with the process, so
whatever has to be known at once after a restart is no counter: alerts use gauges that are read from
the status of objects when Prometheus asks. A counter is born at its first increment as well, and
``increase()`` does not see that one: the first failure ever would be no alert.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

MINUTE, HOUR = 60.0, 3600.0
# Of runs, from 10 s to 6 h.
RUN_BUCKETS = (
    10.0, 30.0, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 30 * MINUTE, HOUR,
    2 * HOUR, 4 * HOUR, 6 * HOUR,
)  # fmt: skip
# Of reconciliations, which are a few requests to the API server each.
RECONCILE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_RUN = ("namespace", "project", "target")
_SCHEDULE = (*_RUN, "schedule")
_TARGET = ("namespace", "target")


@dataclass(frozen=True)
class Definition:
    """A metric: its name as it stands in queries, and what it means."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()  # of a histogram
    only_leader: bool = False  # whether it is shown by the operator that leads alone


def _counter(name: str, meaning: str, *labels: str) -> Definition:
    return Definition(f"dbt_operator_{name}", "counter", meaning, labels)


def _gauge(name: str, meaning: str, *labels: str) -> Definition:
    return Definition(f"dbt_operator_{name}", "gauge", meaning, labels)


def _of_objects(name: str, meaning: str, *labels: str) -> Definition:
    return Definition(f"dbt_operator_{name}", "gauge", meaning, labels, only_leader=True)


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Definition:
    return Definition(f"dbt_operator_{name}", "histogram", meaning, labels, buckets)


# Counted by the operator that has written the end.

RUNS_ENDED = _counter(
    "runs_ended_total",
    "DbtRuns that have ended. The runs of a backfill are of no schedule.",
    *_SCHEDULE,
    "phase",
    "reason",
)
BACKFILLS_ENDED = _counter(
    "backfills_ended_total", "DbtBackfills that have ended.", *_SCHEDULE, "phase", "reason"
)
RUN_DURATION = _histogram(
    "run_duration_seconds",
    "How long DbtRuns took that have begun, from the start of dbt to their end.",
    RUN_BUCKETS,
    *_RUN,
)
RUN_QUEUED = _histogram(
    "run_queued_seconds",
    "How long DbtRuns had waited for a slot of their target when they ended, all times added up.",
    RUN_BUCKETS,
    *_TARGET,
)
NODES = _counter(
    "nodes_total",
    "Nodes of DbtRuns that have ended, by how they ended: success, error, skipped, pass, warn,"
    " fail, no_op.",
    *_RUN,
    "status",
)
ARTIFACTS_FAILED = _counter(
    "artifacts_failed_total", "DbtRuns whose artifacts did not all arrive.", *_RUN
)
NOTIFICATIONS = _counter(
    "notifications_total",
    "Tries to send a message, by channel and result: Sent, Refused, Misconfigured, Unavailable."
    " Each channel of the chart's values has all four from the start, so that increase() sees the"
    " first failure.",
    "channel",
    "result",
)

# Of the process.

RECONCILE_DURATION = _histogram(
    "reconcile_duration_seconds",
    "How long it took to reconcile an object.",
    RECONCILE_BUCKETS,
    "kind",
)
RECONCILE_ERRORS = _counter(
    "reconcile_errors_total", "Reconciliations that failed and are tried again.", "kind"
)
API_REQUESTS = _counter(
    "api_requests_total",
    "Requests to the API server, by their HTTP method and the code of the answer; none: there was"
    " no answer. Requests of the watches are not among them.",
    "verb",
    "code",
)
LEADER = _gauge("leader", "Whether this operator leads: 1 or 0.")
WORKQUEUE = _gauge(
    "workqueue_keys",
    "Objects in the work queue: ready for a worker, working, delayed until a time; failing are"
    " those of all of them whose last reconciliation failed.",
    "state",
)
WATCH_AGE = _gauge(
    "watch_age_seconds",
    "How long ago the API server has last answered a request of a watch. A watch asks at least"
    " every 330 seconds. Without a namespace: it is of all of them.",
    "namespace",
    "resource",
)

# Read from the objects when Prometheus asks.

RUNS = _of_objects("runs", "DbtRuns that have not ended, by phase.", *_RUN, "phase")
BACKFILLS = _of_objects("backfills", "DbtBackfills that have not ended, by phase.", *_RUN, "phase")
BACKFILL_WINDOWS = _of_objects(
    "backfill_windows",
    "Windows of DbtBackfills that have not ended, by state: pending, running, succeeded, failed,"
    " skipped.",
    *_RUN,
    "state",
)
TARGET_SLOTS = _of_objects(
    "target_slots", "How many runs may work on a target at a time.", *_TARGET
)
TARGET_HOLDERS = _of_objects("target_holders", "How many slots of a target are held.", *_TARGET)
TARGET_QUEUED = _of_objects(
    "target_queued", "How many runs and backfills wait for a slot of a target.", *_TARGET
)
TARGET_QUEUED_SINCE = _of_objects(
    "target_queued_since_timestamp_seconds",
    "Since when the one waits that waits longest; absent if none does.",
    *_TARGET,
)
NOTIFYING = _of_objects(
    "notifying_objects", "Objects about which a message is still to be sent.", "namespace"
)
NOTIFYING_SINCE = _of_objects(
    "notifications_pending_since_timestamp_seconds",
    "Since when the oldest message is to be sent that was not; absent if there is none.",
    "namespace",
)
SCHEDULE_FAILED = _of_objects(
    "schedule_last_run_failed",
    "Whether the last run of a schedule that succeeded or failed has failed: 1, with its reason,"
    " or 0. One that was cancelled or had nothing to do changes nothing.",
    *_SCHEDULE,
    "reason",
)
SCHEDULE_UNSUCCESSFUL = _of_objects(
    "schedule_occurrences_since_success",
    "How many occurrences after the last that succeeded have failed, were cancelled or missed; as"
    " far as status.history reaches. Those that were skipped, or had nothing to do (NotFresh), do"
    " not count. Absent while the schedule is suspended.",
    *_SCHEDULE,
)
SCHEDULE_LAST_SUCCESS = _of_objects(
    "schedule_last_success_timestamp_seconds",
    "When the last run of a schedule that succeeded has ended; absent if none has succeeded.",
    *_SCHEDULE,
)
SCHEDULE_DUE = _of_objects(
    "schedule_occurrence_due_timestamp_seconds",
    "When the oldest occurrence is due, or was, that has no run and was not decided otherwise."
    " Absent while the schedule is suspended, or if nothing is due by its clock.",
    *_SCHEDULE,
)
SCHEDULE_LATE = _of_objects(
    "schedule_late_since_timestamp_seconds",
    "When the oldest occurrence was to have succeeded that should have by now, as finishWithin or"
    " finishAt say; absent if none is late.",
    *_SCHEDULE,
)
SCHEDULE_SUSPENDED = _of_objects(
    "schedule_suspended", "Whether a schedule is suspended or paused: 1 or 0.", *_SCHEDULE
)
SCHEDULE_DURATION = _of_objects(
    "schedule_last_run_duration_seconds",
    "How long the last run of a schedule took that has ended; absent if none has.",
    *_SCHEDULE,
)

DEFINITIONS = (
    RUNS_ENDED,
    BACKFILLS_ENDED,
    RUN_DURATION,
    RUN_QUEUED,
    NODES,
    ARTIFACTS_FAILED,
    NOTIFICATIONS,
    RECONCILE_DURATION,
    RECONCILE_ERRORS,
    API_REQUESTS,
    LEADER,
    WORKQUEUE,
    WATCH_AGE,
    RUNS,
    BACKFILLS,
    BACKFILL_WINDOWS,
    TARGET_SLOTS,
    TARGET_HOLDERS,
    TARGET_QUEUED,
    TARGET_QUEUED_SINCE,
    NOTIFYING,
    NOTIFYING_SINCE,
    SCHEDULE_FAILED,
    SCHEDULE_UNSUCCESSFUL,
    SCHEDULE_LAST_SUCCESS,
    SCHEDULE_DUE,
    SCHEDULE_LATE,
    SCHEDULE_SUSPENDED,
    SCHEDULE_DURATION,
)


def make_gauge(definition: Definition) -> GaugeMetricFamily:
    """A gauge without samples."""
    return GaugeMetricFamily(definition.name, definition.meaning, labels=definition.labels)


def make_counter(definition: Definition) -> CounterMetricFamily:
    """A counter without samples."""
    return CounterMetricFamily(definition.name, definition.meaning, labels=definition.labels)


def make_histogram(definition: Definition) -> HistogramMetricFamily:
    """A histogram without samples."""
    return HistogramMetricFamily(definition.name, definition.meaning, labels=definition.labels)
