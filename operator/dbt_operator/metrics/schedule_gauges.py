"""What the status of a schedule tells of it. All of it is there again as soon as somebody leads,
whatever has become of who led before: alerts are made of this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily

from dbt_operator.api.status import ConditionType, Reason
from dbt_operator.metrics.definitions import (
    SCHEDULE_DUE,
    SCHEDULE_DURATION,
    SCHEDULE_FAILED,
    SCHEDULE_LAST_SUCCESS,
    SCHEDULE_LATE,
    SCHEDULE_SUSPENDED,
    SCHEDULE_UNSUCCESSFUL,
    make_gauge,
)
from dbt_operator.metrics.label_values import LabelValues
from dbt_operator.planning.common.durations import parse_time, seconds

Manifest = Mapping[str, Any]

_WITHOUT_SUCCESS = ("Failed", "Cancelled", "Missed")
_OF_OCCURRENCES = (None, "Trigger", "Retry")  # causes; a run that somebody asks for is of none
_REASONS = frozenset(map(str, Reason))
# Ends of a run that nobody has to do anything about.
_NO_FAILURES = (Reason.CANCELLED, Reason.YIELDED, Reason.REPLACED)


class ScheduleGauges:
    """The gauges of schedules, as of one moment."""

    def __init__(self, values: LabelValues) -> None:
        self._values = values
        self._failed = make_gauge(SCHEDULE_FAILED)
        self._unsuccessful = make_gauge(SCHEDULE_UNSUCCESSFUL)
        self._last_success = make_gauge(SCHEDULE_LAST_SUCCESS)
        self._due = make_gauge(SCHEDULE_DUE)
        self._late = make_gauge(SCHEDULE_LATE)
        self._suspended = make_gauge(SCHEDULE_SUSPENDED)
        self._duration = make_gauge(SCHEDULE_DURATION)

    def add(self, schedule: Manifest) -> None:
        """Read a schedule."""
        metadata, status = schedule["metadata"], schedule.get("status") or {}
        run = self._values.find_work(metadata["namespace"], _find_work(schedule["spec"]))
        labels = (*run, metadata["name"])
        is_suspended = _is_suspended(schedule["spec"], status)
        self._suspended.add_metric(labels, int(is_suspended))
        reason = _find_failure(status)
        self._failed.add_metric((*labels, reason), int(bool(reason)))
        if not is_suspended:
            self._unsuccessful.add_metric(labels, count_unsuccessful(status))
            _add_moment(self._due, labels, _find_due(status))
        _add_moment(self._last_success, labels, status.get("lastSuccessTime"))
        _add_moment(self._late, labels, (status.get("late") or {}).get("since"))
        ended = (past["duration"] for past in status.get("history") or () if "duration" in past)
        if (took := next(ended, None)) is not None:
            self._duration.add_metric(labels, seconds(took))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All of them."""
        yield self._failed
        yield self._unsuccessful
        yield self._last_success
        yield self._due
        yield self._late
        yield self._suspended
        yield self._duration


def _add_moment(gauge: GaugeMetricFamily, labels: tuple[str, ...], moment: str | None) -> None:
    if moment:
        gauge.add_metric(labels, parse_time(moment).timestamp())


def _find_work(spec: Manifest) -> Manifest:
    """The spec of the runs of a schedule."""
    if (backfill := spec.get("backfillTemplate")) is not None:
        spec = backfill["spec"]
    found: Manifest = spec["runTemplate"]["spec"]
    return found


def _is_suspended(spec: Manifest, status: Manifest) -> bool:
    return (
        bool(spec.get("suspend")) or _find_condition(status, ConditionType.SUSPENDED)[0] == "True"
    )


def _find_condition(status: Manifest, kind: ConditionType) -> tuple[str, str]:
    """Status and reason of a condition; empty where there is none."""
    found = (each for each in status.get("conditions") or () if each["type"] == kind)
    return next(((each["status"], each["reason"]) for each in found), ("", ""))


def _find_failure(status: Manifest) -> str:
    """Why the last run failed; empty if it did not."""
    for past in status.get("history") or ():
        has_run = past.get("run") and past.get("cause") != "Backfill"
        if has_run and past["phase"] in ("Succeeded", "Failed"):
            return _read_reason(past.get("reason")) if past["phase"] == "Failed" else ""
    # The history does not reach back to it: other entries have come since.
    state, reason = _find_condition(status, ConditionType.LAST_RUN_SUCCEEDED)
    return _read_reason(reason) if state == "False" and reason not in _NO_FAILURES else ""


def _read_reason(text: str | None) -> str:
    """A reason that rules know."""
    return text if text and text in _REASONS else Reason.UNKNOWN


def count_unsuccessful(status: Manifest) -> int:
    """How many occurrences there were after the last success, as far as the history reaches."""
    success = status.get("lastSuccessOccurrence") or ""
    found: dict[str, int] = {}
    for past in status.get("history") or ():
        is_one = past["phase"] in _WITHOUT_SUCCESS and past.get("cause") in _OF_OCCURRENCES
        # Times are written in one way only, so that they can be compared as texts.
        if is_one and past.get("reason") != Reason.REPLACED and past["occurrence"] > success:
            found[past["occurrence"]] = past.get("count") or 1
    return sum(found.values())


def _find_due(status: Manifest) -> str | None:
    """When the oldest occurrence is due, or was, that has no run yet: that of one that could not be
    created has been decided, and the clock's next one has not.
    """
    not_created = (run["decidedAt"] for run in status.get("active") or () if not run.get("uid"))
    following = status.get("nextRunTimes") or ()
    return min((*not_created, *following[:1]), default=None)
