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
    PastOccurrence,
    WaitingOccurrence,
)
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
        )

    def move_cursor(self, moment: datetime) -> Book:
        """With everything up to a moment decided. It never goes back."""
        return replace(self, cursor=max(moment, self.cursor or moment))

    def forget_undone(self) -> Book:
        """Without what has not begun: the times that it belongs to are not those of the schedule
        any more.
        """
        return replace(self, waiting=None, backlog=None)

    def replace_active(self) -> Book:
        """With its runs asked to end."""
        asked = tuple(run.model_copy(update={"replaced": True}) for run in self.active)
        return replace(self, active=asked)

    def begin(self, run: ActiveRun) -> Book:
        """With a run that is to be created."""
        return replace(self, active=(*self.active, run), last_scheduled=run.occurrence)

    def know(self, run: ActiveRun, uid: str) -> Book:
        """With the UID of a run that has been created."""
        known = run.model_copy(update={"uid": uid})
        return replace(self, active=tuple(known if each is run else each for each in self.active))

    def end(self, run: ActiveRun, past: PastOccurrence) -> Book:
        """With a run that has ended: it leaves ``active`` only into ``history``."""
        book = replace(self, active=tuple(each for each in self.active if each is not run))
        if past.phase == "Succeeded":
            book = replace(book, last_success=past.finished_at)
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
        if last and last.run is None and (last.phase, last.reason) == (past.phase, past.reason):
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
        }


def _add(past: PastOccurrence, history: tuple[PastOccurrence, ...]) -> tuple[PastOccurrence, ...]:
    return (past, *history)[:HISTORY]
