"""What all kinds read of their entry in channels.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ChannelError(Exception):
    """A channel is declared wrongly; the message names the channel and the field."""


# What is there for every kind, and is read elsewhere.
_COMMON = frozenset({"kind", "namespaces"})


def refuse_unknown(name: str, entry: Mapping[str, Any], *known: str) -> None:
    """See that an entry has no field that its kind does not know.

    Raises:
        ChannelError: it has.
    """
    if unknown := sorted(set(entry) - _COMMON - set(known)):
        allowed = ", ".join(sorted(known)) or "no more fields"
        raise ChannelError(f"{name}.{unknown[0]}: kind {entry['kind']} knows {allowed}")


def read_text(name: str, entry: Mapping[str, Any], field: str, default: str = "") -> str:
    """A field that is a text.

    Raises:
        ChannelError: it is none, or is missing and has no default.
    """
    found = entry.get(field, default)
    if not isinstance(found, str) or not found:
        raise ChannelError(f"{name}.{field}: must be a text that is not empty")
    return found


def read_texts(name: str, entry: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """A field that is a list of texts.

    Raises:
        ChannelError: it is none.
    """
    found = entry.get(field) or []
    if not isinstance(found, list) or not all(isinstance(each, str) and each for each in found):
        raise ChannelError(f"{name}.{field}: must be a list of texts")
    return tuple(found)


def read_map(name: str, entry: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """A field that has names, each with something.

    Raises:
        ChannelError: it has not.
    """
    found = entry.get(field) or {}
    if not isinstance(found, Mapping):
        raise ChannelError(f"{name}.{field}: must say who stands for which owner")
    return found
