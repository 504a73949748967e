"""The channels that the chart's ``notifications.channels`` lists, as far as the operator has to
know them. What it takes to send on one only the notifier knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dbt_protocol.json_input import parse_json

REPEAT = 24 * 3600.0  # seconds
_ANY = "*"


@dataclass(frozen=True)
class Channel:
    """A channel, and who may use it."""

    name: str
    namespaces: tuple[str, ...] = ()  # none; * stands for all of them
    repeat: float = REPEAT  # seconds after which a failure that goes on is told again

    def admits(self, namespace: str) -> bool:
        """Whether objects of a namespace may use it."""
        return _ANY in self.namespaces or namespace in self.namespaces


def parse_channels(text: str) -> dict[str, Channel]:
    """Read them from JSON: names, each with ``namespaces`` and ``repeatHours``.

    Raises:
        ValueError: it is something else.
    """
    entries = parse_json(text.encode()) if text.strip() else {}
    if not isinstance(entries, dict):
        raise ValueError("must be an object of channels")  # noqa: TRY004 - of a setting
    return {name: _parse_channel(name, entry) for name, entry in entries.items()}


def _parse_channel(name: str, entry: object) -> Channel:
    if not isinstance(entry, Mapping):
        raise ValueError(f"{name} must be an object")  # noqa: TRY004 - of a setting
    namespaces = entry.get("namespaces") or ()
    if isinstance(namespaces, str) or not all(isinstance(each, str) for each in namespaces):
        raise ValueError(f"{name}.namespaces must be a list of names, or of *")
    return Channel(name, tuple(namespaces), _parse_repeat(name, entry))


def _parse_repeat(name: str, entry: Mapping[str, Any]) -> float:
    hours = entry.get("repeatHours", REPEAT / 3600)
    if isinstance(hours, bool) or not isinstance(hours, int | float) or hours <= 0:
        raise ValueError(f"{name}.repeatHours must be a number above 0")
    return float(hours) * 3600.0
