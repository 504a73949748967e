"""Failures that many runs share: when the warehouse or a node is away, one message says so, and not
one for each run.

Messages about such failures wait for two minutes. If there are more than five by then on a channel,
they become one: what they have in common, the key of the first, is written into each of them before
it is sent, so that an operator that goes on with it sends the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dbt_operator.api.parts.notify import Notification
from dbt_operator.api.status import Reason
from dbt_operator.common.keys import Key
from dbt_operator.planning.common.durations import parse_time

Manifest = Mapping[str, Any]
Letter = tuple[Key, str]  # an object, and the key of a message about it

_REASONS = (Reason.UNAVAILABLE, Reason.INFRASTRUCTURE)
_WINDOW = timedelta(minutes=2)
_MOST_ALONE = 5
# An operator that takes over hears of one object after the other: seconds until it has, more than
# enough for ten thousand.
_HEARING = timedelta(seconds=30)


def is_shared(manifest: Manifest, notification: Notification) -> bool:
    """Whether a message is about what may have struck many runs."""
    reason = manifest["status"].get("reason")
    return notification.event == "Failed" and (notification.group is not None or reason in _REASONS)


@dataclass(frozen=True)
class Waiting:
    """A message that waits for others."""

    since: datetime
    group: str | None
    heard_at: datetime


class Bursts:
    """The messages of one channel that are about such failures. For one thread."""

    def __init__(self) -> None:
        self._waiting: dict[Letter, Waiting] = {}

    def hear(self, letter: Letter, notification: Notification, now: datetime) -> None:
        """A message is to be sent."""
        known = self._waiting.get(letter)
        heard_at = known.heard_at if known and known.group == notification.group else now
        since = parse_time(notification.since)
        self._waiting[letter] = Waiting(since, notification.group, heard_at)

    def forget(self, letter: Letter) -> None:
        """A message has been sent, or is not to be."""
        self._waiting.pop(letter, None)

    def find_wait(self, letter: Letter, now: datetime) -> float:
        """The seconds that a message waits for others, or for the one that speaks for it."""
        mine = self._waiting[letter]
        alike = (each for each in self._waiting.values() if each.group == mine.group)
        heard = max(each.heard_at for each in alike) + _HEARING
        due = heard if mine.group else max(mine.since + _WINDOW, mine.heard_at + _HEARING)
        return max(0.0, (due - now).total_seconds())

    def find_others(self, letter: Letter) -> list[Letter]:
        """Messages that are to become one with this one, as there are many of them; none if there
        are few.
        """
        mine = self._waiting[letter]
        found = [
            other
            for other, each in self._waiting.items()
            if other != letter and each.group is None and abs(each.since - mine.since) <= _WINDOW
        ]
        return found if len(found) >= _MOST_ALONE else []

    def list_group(self, group: str) -> list[Letter]:
        """The messages that have become one, the one that speaks for all first."""
        found = [letter for letter, each in self._waiting.items() if each.group == group]
        return sorted(found, key=lambda letter: (letter[1] != group, letter[1]))
