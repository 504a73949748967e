"""What a schedule hears of its runs."""

from __future__ import annotations

from datetime import datetime, timedelta

from dbt_operator.api.kinds.schedule import ActiveRun, PastOccurrence
from dbt_operator.api.registry import RUN
from dbt_operator.api.status import Phase, Reason
from dbt_operator.api.texts import cut
from dbt_operator.planning.common.durations import format_time, parse_time, seconds
from dbt_operator.planning.common.manifests import comparable
from dbt_operator.planning.common.plan import CreateRun, DeleteRun
from dbt_operator.planning.common.timetable import Timetable
from dbt_operator.planning.run.admission import START_TIMEOUT
from dbt_operator.planning.schedule.book import Book
from dbt_operator.planning.schedule.concurrency import (
    Wanted,
    is_past_deadline,
    make_entry,
    make_missed,
)
from dbt_operator.planning.schedule.facts import ScheduleFacts
from dbt_operator.planning.schedule.occurrence_messages import hear_messages
from dbt_operator.planning.schedule.runs import Status, kind_of, make_manifest, read_mark

_MESSAGE = 300  # characters of a run's


def find_due_actions(
    facts: ScheduleFacts, timetable: Timetable, now: datetime
) -> tuple[CreateRun | DeleteRun, ...]:
    """What is to be done about runs that stand in the status and whose UID does not.

    One that has the name and is not the one to be created, since the template was edited or the
    status lost in between, has begun nothing and never will: it goes, and the right one follows.
    """
    found: list[CreateRun | DeleteRun] = []
    for entry in facts.status.active or ():
        run, kind = facts.runs.get(entry.name), entry.kind or RUN.kind
        if entry.uid is not None or (run is None and is_past_deadline(facts.spec, entry, now)):
            continue
        manifest = make_manifest(facts.identity, facts.spec, timetable, entry)
        fits = kind == manifest["kind"]
        if run is None:
            found += [CreateRun(manifest)] if fits else []
            continue
        is_wanted = fits and run.spec == comparable(kind, manifest["spec"])
        if run.owner_uid == facts.identity.uid and not is_wanted:
            found.append(DeleteRun(entry.name, run.uid, kind))
    return tuple(found)


def hear_runs(facts: ScheduleFacts, book: Book, problem: str, now: datetime) -> Book:
    """With what is known of the runs.

    Args:
        facts: of the schedule.
        book: as it stands.
        problem: why no run can be created; empty if nothing is known to speak against it.
        now: the time.
    """
    for entry in book.active:
        book = _hear(facts, book, entry, problem, now)
    return book


def _hear(facts: ScheduleFacts, book: Book, entry: ActiveRun, problem: str, now: datetime) -> Book:
    run = facts.runs.get(entry.name)
    if entry.uid is None:
        return _hear_of_new(facts, book, entry, problem, now)
    if run is None or run.uid != entry.uid:
        why = f"{_tell(entry)} was deleted before its end was seen"
        return book.end(entry, _fail(entry, Reason.UNKNOWN, why, now))
    if run.status is None or not run.has_ended:
        return book
    book = hear_messages(book, entry, run)
    return book.end(entry, _tell_end(entry, run.status, now))


def _hear_of_new(
    facts: ScheduleFacts, book: Book, entry: ActiveRun, problem: str, now: datetime
) -> Book:
    """Of a run whose UID is not written down yet."""
    run = facts.runs.get(entry.name)
    if run is not None and run.owner_uid == facts.identity.uid:
        return book.know(entry, run.uid)
    if run is not None:
        why = (
            f"a {_tell(entry)} exists that is not of this schedule: delete it, and the next"
            " occurrence has a run again"
        )
        return book.end(entry, _fail(entry, Reason.NAME_CONFLICT, why, now))
    if (entry.kind or RUN.kind) != kind_of(facts.spec, entry.days):
        return book.replace_entry(entry, _decide_anew(facts, entry))
    if is_past_deadline(facts.spec, entry, now):
        return book.give_up(entry, make_missed(entry.occurrence, entry.cause))
    if now < parse_time(entry.decided_at) + timedelta(seconds=seconds(START_TIMEOUT)):
        return book
    why = f"{_tell(entry)} cannot be created: {problem or 'nothing is known of why'}"
    return book.end(entry, _fail(entry, Reason.CONFIG_ERROR, why, now))


def _decide_anew(facts: ScheduleFacts, entry: ActiveRun) -> ActiveRun:
    """The run of the same occurrence, of the kind that the schedule has a template for now."""
    mark = read_mark(facts.identity, entry.name)
    start = parse_time(entry.start) if entry.start else None
    wanted = Wanted(parse_time(entry.occurrence), mark, entry.cause, start, entry.days)
    return make_entry(facts, wanted, parse_time(entry.decided_at))


def _tell(entry: ActiveRun) -> str:
    return f"{entry.kind or RUN.kind} {entry.name}"


def _fail(entry: ActiveRun, reason: Reason, message: str, now: datetime) -> PastOccurrence:
    return PastOccurrence(
        occurrence=entry.occurrence,
        start=entry.start,
        cause=entry.cause,
        kind=entry.kind,
        run=entry.name,
        days=entry.days,
        phase="Failed",
        reason=reason,
        message=message,
        finished_at=format_time(now),
    )


def _tell_end(entry: ActiveRun, status: Status, now: datetime) -> PastOccurrence:
    phase = str(status.phase)
    succeeded = phase == Phase.SUCCEEDED
    return PastOccurrence.model_validate(
        {
            "occurrence": entry.occurrence,
            "start": entry.start,
            "cause": entry.cause,
            "kind": entry.kind,
            "run": entry.name,
            "days": entry.days,
            "phase": phase,
            "reason": None if succeeded else str(status.reason or Reason.UNKNOWN),
            "message": None if succeeded else cut(status.message or "", _MESSAGE),
            "finished_at": status.finished_at or format_time(now),
            "duration": status.duration,
        }
    )
