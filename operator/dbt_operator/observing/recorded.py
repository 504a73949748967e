"""Reads what a schedule knows of a run or a backfill that says it is of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dbt_operator.api.kinds.schedule import DbtSchedule, DbtScheduleStatus
from dbt_operator.observing.reader import Reader
from dbt_operator.planning.common.manifests import schedule_of
from dbt_operator.planning.common.reading import UnreadableError, read_part
from dbt_operator.planning.common.record import Record


def find_record(reader: Reader, manifest: Mapping[str, Any]) -> Record | None:
    """What the schedule that a run or backfill says it is of knows of it; None for one that says no
    such thing.
    """
    if (owner := schedule_of(manifest)) is None:
        return None
    name, uid = owner
    record = Record(f"DbtSchedule {name}", "status.active")
    found = reader.whole("DbtSchedule", manifest["metadata"]["namespace"], name)
    if found is None or found["metadata"]["uid"] != uid:
        return replace(record, gone=True)
    try:
        status: DbtScheduleStatus = read_part(DbtSchedule, found, "status") or DbtScheduleStatus()
    except UnreadableError as error:
        return replace(record, unreadable=error.why)
    uid = manifest["metadata"]["uid"]
    mine = next((run for run in status.active or () if run.uid == uid), None)
    if mine is None:
        return record
    # One over days of the past tells nothing of how things stand now.
    series = () if mine.cause == "Backfill" else tuple(status.series or ())
    return replace(record, stands=True, replaced=bool(mine.replaced), series=series)
