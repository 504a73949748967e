"""Names in lists, in which ``*`` stands for any characters."""

from __future__ import annotations

from collections.abc import Iterable


def is_among(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name is one that a list allows, or one that a list refuses."""
    return any(_matches(name, pattern) for pattern in patterns)


def _matches(name: str, pattern: str) -> bool:
    """Whether the parts between the pattern's ``*`` come one after another in a name, from its
    start to its end.
    """
    first, *others = pattern.split("*")
    if not others:
        return name == pattern
    *middle, last = others
    start, end = len(first), len(name) - len(last)
    if start > end or not (name.startswith(first) and name.endswith(last)):
        return False
    for part in middle:
        found = name.find(part, start, end)
        if found < 0:
            return False
        start = found + len(part)
    return True
