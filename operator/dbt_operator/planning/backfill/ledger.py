"""The ledger of a backfill: how each window stands, and which run it was given to. Pure.

The record is one character for each window (:mod:`dbt_protocol.window_codes`), so ten thousand of
them take ten kilobytes. A window goes to a run by a write to this ledger *before* that run is
created, and is free again only when that run has ended and tells that it was not begun. What is
done stays done, whatever is heard later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from dbt_operator.api.kinds.backfill import LEDGER, LedgerEntry, WindowRun
from dbt_operator.api.status import Reason
from dbt_operator.planning.common.window_states import DONE
from dbt_protocol.window_codes import PENDING, RUNNING, SKIPPED, SUCCEEDED, code_of, reason_of

LARGEST_SHARE = (
    50  # windows that Auto gives to one pod: a boundary between pods is a chance for everybody else
)

# A run that ended like this has left windows to somebody else.
_LEAVES = (Reason.YIELDED, Reason.CANCELLED)

_OF_THE_WHOLE = (Reason.CONFIG_ERROR, Reason.UPLOAD_FAILED)
# The next run may have more luck. One window of it fails, though, so that it does not go on for
# ever.
_OF_THE_NODE = (Reason.INFRASTRUCTURE, Reason.OOM_KILLED)

EntryPhase = Literal["Pending", "Running", "Succeeded", "Failed", "Cancelled", "Skipped"]
_PHASES: dict[str, EntryPhase] = {
    PENDING: "Pending",
    RUNNING: "Running",
    SUCCEEDED: "Succeeded",
    SKIPPED: "Skipped",
    code_of(Reason.CANCELLED): "Cancelled",
}


@dataclass(frozen=True)
class Heard:
    """What a run says of its windows."""

    states: str = ""  # one character for each; empty if it says nothing
    ended: bool = False
    reason: Reason | None = None  # of its end; None if it succeeded


@dataclass(frozen=True)
class Ledger:
    """How the windows of a backfill stand."""

    states: str
    runs: Sequence[WindowRun] = ()  # that have not ended
    given: Mapping[int, str] = field(
        default_factory=dict
    )  # the last run of a window, as far as is known

    @property
    def failed(self) -> list[int]:
        """The windows that failed."""
        return [place for place, code in enumerate(self.states) if reason_of(code)]

    @property
    def ended(self) -> int:
        """How many windows have ended."""
        return sum(1 for code in self.states if code not in (PENDING, RUNNING))

    @property
    def free(self) -> list[int]:
        """The windows that no run has, and that have to be done."""
        taken = {place for run in self.runs for place in run.windows}
        return [
            place
            for place, code in enumerate(self.states)
            if code == PENDING and place not in taken
        ]


def advance(ledger: Ledger, heard: Mapping[str, Heard]) -> Ledger:
    """Take in what runs say, by their names. One that has ended is not among the runs any more."""
    states = list(ledger.states)
    for run in ledger.runs:
        if (news := heard.get(run.name)) is None:
            continue
        codes, whole = _codes(run, news), _failed_as_a_whole(news)
        for place, code in zip(run.windows, codes, strict=True):
            if whole and code in DONE:
                states[place] = code_of(str(news.reason))
            elif states[place] not in DONE:
                states[place] = code
    left = [run for run in ledger.runs if run.name not in heard or not heard[run.name].ended]
    return Ledger("".join(states), left, ledger.given)


def _failed_as_a_whole(news: Heard) -> bool:
    """Whether a run failed for what none of its windows tells: they ran another image, or left no
    artifacts although they have to. So none of them is done.
    """
    return news.ended and news.reason in _OF_THE_WHOLE and not any(map(reason_of, news.states))


def _codes(run: WindowRun, news: Heard) -> str:
    """How a run's windows stand. What it says of another number of windows says nothing."""
    said = news.states if len(news.states) == len(run.windows) else PENDING * len(run.windows)
    if not news.ended:
        return said
    if news.reason is None:  # succeeded: whatever it has not done it would have had to
        return "".join(code if code in DONE else code_of(Reason.UNKNOWN) for code in said)
    failed = code_of(news.reason)
    if news.reason in _LEAVES:
        return said.replace(RUNNING, code_of(Reason.CANCELLED))
    said = said.replace(RUNNING, failed).replace(
        code_of(Reason.CANCELLED), failed
    )  # interrupted by the run's end
    if said.strip(PENDING):
        return said
    if news.reason in _OF_THE_NODE:
        return failed + said[1:]
    return failed * len(said)  # it got to none of them: the next one would not either


def give(ledger: Ledger, runs: Iterable[WindowRun]) -> Ledger:
    """Give windows to new runs."""
    new = list(runs)
    given = {place: run.name for run in new for place in run.windows}
    return Ledger(ledger.states, [*ledger.runs, *new], {**ledger.given, **given})


def shares(free: Sequence[int], lanes: int, at_once: int, per_pod: int | None) -> list[list[int]]:
    """The windows of the runs that are to be created now.

    Runs take turns, so that those that work side by side are at neighbouring windows, and the order
    holds.

    Args:
        free: windows, in the order in which they are to be done.
        lanes: how many runs may be created.
        at_once: how many there may be in all.
        per_pod: how many windows one gets at most; None: as many as share them out evenly.
    """
    size = per_pod or min(LARGEST_SHARE, -(-len(free) // max(1, at_once)))
    lanes = min(lanes, len(free))
    taken = free[: lanes * size]
    return [list(taken[lane::lanes]) for lane in range(lanes)]


def phase_of(code: str) -> EntryPhase:
    """Where a window stands."""
    return _PHASES.get(code, "Failed")


def entries(ledger: Ledger, keys: Sequence[str]) -> list[LedgerEntry]:
    """The ledger as people read it: an entry for each window, or folded where there are too
    many.
    """
    if len(keys) <= LEDGER:
        return [_entry([place], ledger, keys) for place in range(len(keys))]
    alike = groupby(range(len(keys)), lambda place: _likeness(ledger, place))
    return [_entry(list(places), ledger, keys) for _, places in alike][:LEDGER]


def _likeness(ledger: Ledger, place: int) -> tuple[str, str]:
    """Windows that stand alike share an entry; of those that are of interest one by one, only those
    of one run.
    """
    code = ledger.states[place]
    return code, "" if code in (*DONE, PENDING) else ledger.given.get(place, "")


def _entry(places: Sequence[int], ledger: Ledger, keys: Sequence[str]) -> LedgerEntry:
    first, code = places[0], ledger.states[places[0]]
    runs = {ledger.given.get(place) for place in places}
    several = len(places) > 1
    reason = reason_of(code)
    return LedgerEntry(
        window=keys[first],
        until=keys[places[-1]] if several else None,
        count=len(places) if several else None,
        phase=phase_of(code),
        run=runs.pop() if len(runs) == 1 else None,
        reason=Reason(reason) if reason else None,
    )


def read(
    states: str, runs: Iterable[WindowRun], entries: Iterable[LedgerEntry], keys: Sequence[str]
) -> Ledger:
    """The ledger that status holds. Which run had a window that has ended is remembered as far as
    entries tell.
    """
    places = {key: place for place, key in enumerate(keys)}
    given: dict[int, str] = {}
    for entry in entries:
        if entry.run and entry.window in places:
            first = places[entry.window]
            given |= dict.fromkeys(range(first, first + (entry.count or 1)), entry.run)
    return Ledger(states, list(runs), given)
