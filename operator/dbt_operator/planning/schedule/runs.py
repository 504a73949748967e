"""The runs of a schedule: how they are made, and what is read of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dbt_operator.api.base import API_VERSION
from dbt_operator.api.kinds.run import DbtRun, DbtRunSpec, DbtRunStatus
from dbt_operator.api.kinds.schedule import ActiveRun, DbtScheduleSpec
from dbt_operator.planning.common import placeholders
from dbt_operator.planning.common.durations import format_time, parse_time
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.manifests import comparable, controller_uid
from dbt_operator.planning.common.names import KUEUE, MANAGED_BY, SCHEDULE_LABEL, short_uid
from dbt_operator.planning.common.reading import UnreadableError, read_part
from dbt_operator.planning.schedule.timetable import Timetable

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class ScheduledRun:
    """What is known of a run of a schedule, or of one that has the name of such a run."""

    uid: str
    owner_uid: str
    status: DbtRunStatus | None = None  # None where it cannot be read
    spec: DbtRunSpec | None = None  # None where it cannot be read

    @property
    def has_ended(self) -> bool:
        """Whether it has come to an end, as far as is known."""
        return bool(self.status and self.status.phase and self.status.phase.finished)


def read_run(manifest: Manifest) -> ScheduledRun:
    """Read a run. What is wrong with it is its own trouble, and no reason to stop the schedule."""
    metadata = manifest["metadata"]
    try:
        status = read_part(DbtRun, manifest, "status") or DbtRunStatus()
    except UnreadableError:
        status = None
    return ScheduledRun(
        metadata["uid"], controller_uid(manifest), status, comparable(manifest["spec"])
    )


def name_run(schedule: Identity, occurrence: datetime) -> str:
    """The name of an occurrence's run: the same whenever it is asked for, so that no occurrence can
    get two. At most 62 characters, as a schedule's name has at most 40.
    """
    stamp = occurrence.astimezone(UTC).strftime("%Y%m%d%H%M")
    return f"{schedule.name}-{short_uid(schedule.uid)}-{stamp}"


def make_manifest(
    schedule: Identity, spec: DbtScheduleSpec, timetable: Timetable, run: ActiveRun
) -> dict[str, Any]:
    """The run of an occurrence."""
    kueue = {label: value for label, value in schedule.labels.items() if label.startswith(KUEUE)}
    return {
        "apiVersion": API_VERSION,
        "kind": "DbtRun",
        "metadata": {
            "name": run.name,
            "namespace": schedule.namespace,
            "labels": {**kueue, **MANAGED_BY, SCHEDULE_LABEL: schedule.name},
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "DbtSchedule",
                    "name": schedule.name,
                    "uid": schedule.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": _fill_spec(spec, timetable, parse_time(run.occurrence)),
    }


def _fill_spec(
    schedule: DbtScheduleSpec, timetable: Timetable, occurrence: datetime
) -> dict[str, Any]:
    """The spec of a run, with what the placeholders stand for."""
    template = placeholders.with_interval(schedule.run_template.spec)
    spec = template.to_dict()
    used = placeholders.find_used(template)
    if not used:
        return spec
    before = timetable.find_before(occurrence) if "interval.start" in used else None
    start = before or occurrence
    values = {
        "scheduled.time": format_time(occurrence),
        "scheduled.date": timetable.to_local(occurrence).date().isoformat(),
        "interval.start": format_time(start),
        "interval.end": format_time(occurrence),
    }
    filled: dict[str, Any] = placeholders.fill(spec, values)
    if "eventTime" in spec:
        # dbt takes it in UTC and without saying so.
        bare = {name: value.removesuffix("Z") for name, value in values.items()}
        filled["eventTime"] = placeholders.fill(spec["eventTime"], bare)
    return filled
