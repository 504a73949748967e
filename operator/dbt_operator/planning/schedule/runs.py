"""The runs of a schedule, which are DbtRuns or DbtBackfills: how they are made, and what is read of
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from dbt_operator.api.base import API_VERSION, Model
from dbt_operator.api.kinds.backfill import DbtBackfillStatus
from dbt_operator.api.kinds.run import DbtRunStatus
from dbt_operator.api.kinds.schedule import ActiveRun, DbtScheduleSpec, RunKind, TemplateMetadata
from dbt_operator.api.registry import BY_NAME
from dbt_operator.planning.common import placeholders
from dbt_operator.planning.common.durations import format_time, parse_time
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.manifests import comparable, controller_uid
from dbt_operator.planning.common.names import KUEUE, MANAGED_BY, SCHEDULE_LABEL, short_uid
from dbt_operator.planning.common.reading import UnreadableError, read_part
from dbt_operator.planning.common.timetable import Timetable
from dbt_operator.planning.schedule.marks import find_marks

Manifest = Mapping[str, Any]
Status = DbtRunStatus | DbtBackfillStatus

_DIGEST = 10  # characters
# What stands for an occurrence where each is a window.
_OF_A_WINDOW = {
    "scheduled.time": "$(window.end)",
    "scheduled.date": "$(window.date)",
    "interval.start": "$(window.start)",
    "interval.end": "$(window.end)",
}


@dataclass(frozen=True)
class ScheduledRun:
    """What is known of a run of a schedule, or of one that has the name of such a run."""

    uid: str
    owner_uid: str
    status: Status | None = None  # None where it cannot be read
    spec: Model | None = None  # None where it cannot be read

    @property
    def has_ended(self) -> bool:
        """Whether it has come to an end, as far as is known."""
        return bool(self.status and self.status.phase and self.status.phase.finished)


def read_run(manifest: Manifest) -> ScheduledRun:
    """Read a run. What is wrong with it is its own trouble, and no reason to stop the schedule."""
    metadata, kind = manifest["metadata"], manifest["kind"]
    row = BY_NAME[kind]
    try:
        status = read_part(row.model, manifest, "status") or row.status_model()
    except UnreadableError:
        status = None
    return ScheduledRun(
        metadata["uid"], controller_uid(manifest), status, comparable(kind, manifest["spec"])
    )


def kind_of(spec: DbtScheduleSpec, days: str | None = None) -> RunKind:
    """Of what kind a run is that is created now; with ``days`` it goes over the occurrences of
    these.
    """
    return "DbtRun" if spec.backfill_template is None and days is None else "DbtBackfill"


def metadata_of(spec: DbtScheduleSpec) -> TemplateMetadata | None:
    """The labels and annotations that runs are to have."""
    template = spec.backfill_template or spec.run_template
    return template.metadata if template else None


# Names


def make_name(schedule: Identity, kind: str, mark: str) -> str:
    """The name of a run: the same whenever it is asked for, so that no occurrence can get two. The
    UID in it tells apart schedules whose names have to be cut.
    """
    rest = f"-{short_uid(schedule.uid)}-{mark}"
    return schedule.name[: BY_NAME[kind].name_length - len(rest)].rstrip("-.") + rest


def mark_occurrence(occurrence: datetime) -> str:
    """How the name of an occurrence's run ends."""
    return occurrence.astimezone(UTC).strftime("%Y%m%d%H%M")


def mark_request(value: str, decided_at: datetime, letter: str = "n") -> str:
    """How the name of a run ends that an annotation asks for. It is written down before the run is
    created, so it may tell apart two requests of one value.
    """
    digest = sha256(f"{value} {format_time(decided_at)}".encode()).hexdigest()[:_DIGEST]
    return f"{letter}{digest}"


def mark_trigger(causes: Iterable[str]) -> str:
    """How the name of a run ends that follows on triggers."""
    return f"t{sha256(' '.join(sorted(causes)).encode()).hexdigest()[:_DIGEST]}"


def mark_retry(schedule: Identity, run: str, taken: Iterable[str]) -> str:
    """How the name of another run for the occurrence of a run ends: as none of these does."""
    first, _ = _split(schedule, run)
    marks = [_split(schedule, name) for name in taken]
    numbers = [number for mark, number in marks if mark == first]
    return f"{first}-r{max(numbers, default=0) + 1}"


def read_mark(schedule: Identity, run: str) -> str:
    """How the name of a run ends; empty where it is not the name of a run of this schedule."""
    return run.rpartition(f"-{short_uid(schedule.uid)}-")[2] if "-" in run else ""


def _split(schedule: Identity, run: str) -> tuple[str, int]:
    """What in the name of a run tells its occurrence, and which retry of it it is."""
    mark, _, number = read_mark(schedule, run).partition("-r")
    return mark, int(number) if number.isdecimal() else 0


# Manifests


def make_manifest(
    schedule: Identity, spec: DbtScheduleSpec, timetable: Timetable, run: ActiveRun
) -> dict[str, Any]:
    """The run of an occurrence, of the kind that the schedule has a template for."""
    kueue = {label: value for label, value in schedule.labels.items() if label.startswith(KUEUE)}
    marks = find_marks(metadata_of(spec))
    return {
        "apiVersion": API_VERSION,
        "kind": kind_of(spec, run.days),
        "metadata": {
            "name": run.name,
            "namespace": schedule.namespace,
            "labels": {**marks.labels, **kueue, **MANAGED_BY, SCHEDULE_LABEL: schedule.name},
            **({"annotations": marks.annotations} if marks.annotations else {}),
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
        "spec": _name_listeners(
            spec, _make_backfill(spec, run.days) if run.days else _fill_spec(spec, timetable, run)
        ),
    }


def _name_listeners(schedule: DbtScheduleSpec, spec: dict[str, Any]) -> dict[str, Any]:
    """The spec of a run, with whom the schedule says is to be told."""
    if schedule.notify is None or not spec:
        return spec
    return {**spec, "notify": [notify.to_dict() for notify in schedule.notify]}


def _make_backfill(schedule: DbtScheduleSpec, days: str) -> dict[str, Any]:
    """The spec of a backfill over the occurrences of some days. It waits for nothing that its
    template waits for: all of that is of the past.
    """
    if schedule.run_template is None:
        return {}  # it was edited since
    run = schedule.run_template.spec.model_copy(update={"wait_for": None})
    first, _, last = days.partition("/")
    when = {"schedules": schedule.schedules, "from": first, "to": last}
    if schedule.timezone:
        when["timezone"] = schedule.timezone
    return {
        "runTemplate": {"spec": placeholders.fill(run.to_dict(), _OF_A_WINDOW)},
        "windows": {"occurrences": when},
    }


def _find_template(schedule: DbtScheduleSpec, run: ActiveRun) -> Model | None:
    """The spec that a run is made of, with what stands for what it leaves out."""
    if schedule.backfill_template is not None:
        return schedule.backfill_template.spec
    if schedule.run_template is None:
        return None
    has_interval = bool(schedule.schedules) or run.start is not None
    spec = schedule.run_template.spec
    return placeholders.with_interval(spec) if has_interval else spec


def _fill_spec(schedule: DbtScheduleSpec, timetable: Timetable, run: ActiveRun) -> dict[str, Any]:
    """The spec of a run, with what the placeholders stand for."""
    template = _find_template(schedule, run)
    if template is None:
        return {}  # the schema refuses that
    spec, occurrence = template.to_dict(), parse_time(run.occurrence)
    dates = spec.get("windows", {}).get("dates", {})
    if "last" in dates:
        dates.setdefault("asOf", format_time(occurrence))
    used = placeholders.find_used(template)
    if not used:
        return spec
    before = parse_time(run.start) if run.start else None
    if before is None and "interval.start" in used:
        before = timetable.find_before(occurrence)
    values = {
        "scheduled.time": format_time(occurrence),
        "scheduled.date": timetable.to_local(occurrence).date().isoformat(),
        "interval.start": format_time(before or occurrence),
        "interval.end": format_time(occurrence),
    }
    filled: dict[str, Any] = placeholders.fill(spec, values)
    if "eventTime" in spec:
        # dbt takes it in UTC and without saying so.
        bare = {name: value.removesuffix("Z") for name, value in values.items()}
        filled["eventTime"] = placeholders.fill(spec["eventTime"], bare)
    return filled
