"""What the status of a run's owner knows of it."""

from __future__ import annotations

from dataclasses import dataclass

from dbt_operator.api.parts.notify import Series


@dataclass(frozen=True)
class Record:
    """Whether the status of the backfill or schedule that a run says it is of knows its UID."""

    owner: str  # its kind and name
    place: str  # where in its status the run should stand
    stands: bool = False
    replaced: bool = False  # it is to end, since a later occurrence of the schedule is to begin
    gone: bool = False  # there is no such owner (any more)
    # Failures before, of which channels were told; none where the run is none of these.
    series: tuple[Series, ...] = ()
    unreadable: str = ""  # what is wrong with its status: what it says is not known
