"""What a schedule has decided, and what became of it: the part of its status that must never be
lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from dbt_operator.api.kinds.schedule import (
    HISTORY,
    ActiveRun,
    Backlog,
    DbtScheduleStatus,
    LateOccurrence,
    PastOccurrence,
    Triggered,
    TriggerStatus,
    WaitingOccurrence,
)
from dbt_operator.api.parts.notify import Notification, Series
from dbt_operator.planning.common.durations import format_time, parse_time


@dataclass(frozen=True)
class Book:
    """The record of a schedule while its new status is put together."""

    cursor: datetime | None  # what is at or before it is decided; None: nothing has been yet
    active: tuple[ActiveRun, ...] = ()
    history: tuple[PastOccurrence, ...] = ()  # the newest first
    last_scheduled: str | None = None
    last_success: str | None = None
    waiting: WaitingOccurrence | None = None
    backlog: Backlog | None = None
    last_success_occurrence: str | None = None
    late: LateOccurrence | None = None
    last_run_now: str | None = None
    last_retry: str | None = None
    last_backfill: str | None = None
    paused_until: str | None = None
    triggers: tuple[TriggerStatus, ...] = ()
    triggered: Triggered | None = None
    last_test_message: str | None = None
    notifications: tuple[Notification, ...] = ()  # the last first
    series: tuple[Series, ...] = ()

    @classmethod
    def of(cls, status: DbtScheduleStatus) -> Book:
        """Begin with what the status says."""
        return cls(
            parse_time(status.cursor) if status.cursor else None,
            tuple(status.active or ()),
            tuple(status.history or ()),
            status.last_scheduled_time,
            status.last_success_time,
            status.waiting,
            status.backlog,
            status.last_success_occurrence,
            status.late,
            status.last_run_now,
            status.last_retry,
            status.last_backfill,
            status.paused_until,
            tuple(status.triggers or ()),
            status.triggered,
            status.last_test_message,
            tuple(status.notifications or ()),
            tuple(status.series or ()),
        )

    def move_cursor(self, moment: datetime) -> Book:
        """With everything up to a moment decided. It never goes back."""
        return replace(self, cursor=max(moment, self.cursor or moment))

    def forget_undone(self) -> Book:
        """Without what has not begun because of the clock: the times that it belongs to are not
        those of the schedule any more.
        """
        asked = self.waiting if self.waiting and self.waiting.cause else None
        return replace(self, waiting=asked, backlog=None)

    def replace_active(self) -> Book:
        """With its runs asked to end."""
        asked = tuple(run.model_copy(update={"replaced": True}) for run in self.active)
        return replace(self, active=asked)

    def begin(self, run: ActiveRun) -> Book:
        """With a run that is to be created."""
        is_asked_for = run.cause in ("RunNow", "Retry", "Backfill")
        last = self.last_scheduled if is_asked_for else run.occurrence
        return replace(self, active=(*self.active, run), last_scheduled=last)

    def know(self, run: ActiveRun, uid: str) -> Book:
        """With the UID of a run that has been created."""
        known = run.model_copy(update={"uid": uid})
        return replace(self, active=tuple(known if each is run else each for each in self.active))

    def replace_entry(self, run: ActiveRun, other: ActiveRun) -> Book:
        """With another run for what one was to be created for."""
        return replace(self, active=tuple(other if each is run else each for each in self.active))

    def end(self, run: ActiveRun, past: PastOccurrence) -> Book:
        """With a run that has ended: it leaves ``active`` only into ``history``."""
        book = replace(self, active=tuple(each for each in self.active if each is not run))
        if past.phase == "Succeeded" and past.cause != "Backfill":  # which is of the past
            latest = max(past.occurrence, self.last_success_occurrence or past.occurrence)
            book = replace(book, last_success=past.finished_at, last_success_occurrence=latest)
        return replace(book, history=_add(past, book.history))

    def give_up(self, run: ActiveRun, past: PastOccurrence) -> Book:
        """With a run that was never created."""
        rest = tuple(each for each in self.active if each is not run)
        return replace(self, active=rest).pass_over([parse_time(run.occurrence)], past)

    def pass_over(self, occurrences: list[datetime], past: PastOccurrence) -> Book:
        """With occurrences that there was no run for. What follows on the last entry and ended
        alike shares it: an entry each would drive the runs out of the history within minutes.
        """
        if not occurrences:
            return self
        last, count = self.history[0] if self.history else None, len(occurrences)
        first, until = format_time(occurrences[0]), format_time(occurrences[-1])
        before = self.history
        if last and last.run is None and _ended_alike(last, past):
            first = min(first, last.occurrence)
            until = max(until, last.until or last.occurrence)
            count += last.count or 1
            before = before[1:]
        several = {"until": until, "count": count} if count > 1 else {}
        past = past.model_copy(update={"occurrence": first, **several})
        return replace(self, history=_add(past, before))

    def fields(self) -> dict[str, object]:
        """The fields of status that hold it."""
        return {
            "cursor": format_time(self.cursor) if self.cursor else None,
            "active": list(self.active) or None,
            "history": list(self.history) or None,
            "last_scheduled_time": self.last_scheduled,
            "last_success_time": self.last_success,
            "waiting": self.waiting,
            "backlog": self.backlog,
            "last_success_occurrence": self.last_success_occurrence,
            "late": self.late,
            "last_run_now": self.last_run_now,
            "last_retry": self.last_retry,
            "last_backfill": self.last_backfill,
            "paused_until": self.paused_until,
            "triggers": list(self.triggers) or None,
            "triggered": self.triggered,
            "last_test_message": self.last_test_message,
            "notifications": list(self.notifications) or None,
            "series": list(self.series) or None,
        }


def _ended_alike(one: PastOccurrence, other: PastOccurrence) -> bool:
    return (one.phase, one.reason, one.cause) == (other.phase, other.reason, other.cause)


def _add(past: PastOccurrence, history: tuple[PastOccurrence, ...]) -> tuple[PastOccurrence, ...]:
    return (past, *history)[:HISTORY]
