"""Kinds of others that a run may wait for, as the chart's ``waitFor.kinds`` lists them: where they
are asked for, and how their success is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dbt_protocol.json_input import parse_json

_NAMES = ("group", "version", "plural", "kind")


@dataclass(frozen=True)
class AwaitedKind:
    """A kind of others. Its success is told by a condition that is True, or by a field that has one
    of some values.
    """

    group: str
    version: str
    plural: str
    kind: str
    condition: str = ""
    field: str = ""  # a path such as status.phase
    values: tuple[str, ...] = ()
    completed_at: str = ""  # a path such as status.finishedAt; default: when the condition turned

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> AwaitedKind:
        """Read an entry of the chart's values.

        Raises:
            ValueError: it is none.
        """
        found = cls(
            **{name: str(entry.get(name, "")) for name in (*_NAMES, "condition", "field")},
            values=tuple(map(str, entry.get("values") or ())),
            completed_at=str(entry.get("completedAt", "")),
        )
        missing = [name for name in _NAMES if not getattr(found, name)]
        if missing:
            raise ValueError(f"{found.kind or 'an entry'} needs {' and '.join(missing)}")
        if bool(found.condition) == bool(found.field):
            raise ValueError(f"{found.kind} needs either condition or field")
        if found.field and not (found.values and found.completed_at):
            raise ValueError(f"{found.kind} with field needs values and completedAt as well")
        return found


def parse_kinds(text: str) -> tuple[AwaitedKind, ...]:
    """Read a list of them, as JSON.

    Raises:
        ValueError: it is none.
    """
    entries = parse_json(text.encode()) if text.strip() else []
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise ValueError("it is no list of kinds")
    return tuple(AwaitedKind.parse(entry) for entry in entries)
