"""Where ``$(window.start)`` and the like stand in the run of a backfill or a schedule, whether they
mean anything there, and what they stand for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dbt_operator.api.base import Model
from dbt_operator.api.parts.run_template import RunTemplateSpec
from dbt_operator.api.parts.windows import Windows

OF_DATES = ("window.key", "window.start", "window.end")
OF_KEYS = ("window.key",)
OF_WINDOWS_OF_OCCURRENCES = (*OF_DATES, "window.date")

OF_MOMENTS = ("scheduled.time", "scheduled.date")
OF_OCCURRENCES = (*OF_MOMENTS, "interval.start", "interval.end")

_PATH = "spec.runTemplate.spec"
# One that is not closed reaches to the end, and nothing after it is looked at again: each beginning
# would be followed to the end for nothing.
_PLACEHOLDER = re.compile(r"\$\(((?:window|scheduled|interval)\.[^)]*)(\)|\Z)")
_SHOWN_KEY = 100  # characters of a key in a path: it is copied for everything below
_MEANT = re.compile(
    r"\.vars\b|\.eventTime\b|\.steps\[\d+\]\.\w+\.(select|exclude|selector|args)\b"
    r"|\.waitFor\[\d+\]\.(newerThan|begunAfter)$"
)


def wrong(spec: RunTemplateSpec, known: tuple[str, ...], path: str = _PATH) -> str:
    """What is wrong with the placeholders of a run, in a sentence that names the field; empty if
    nothing is.

    Args:
        spec: the run.
        known: the names that mean something there.
        path: of the run in the object.
    """
    for place, name in _find(spec.to_dict(), path):
        if not _MEANT.search(place):
            return (
                f"{place}: $({name}) means nothing there: it does in vars, eventTime, selections"
                " and waitFor"
            )
        if name not in known:
            return f"{place}: $({name}) means nothing: there {_are(known)}"
    return ""


def find_known(windows: Windows) -> tuple[str, ...]:
    """The names that mean something in the run of windows."""
    if windows.keys:
        return OF_KEYS
    return OF_WINDOWS_OF_OCCURRENCES if windows.occurrences else OF_DATES


def find_used(spec: Model) -> set[str]:
    """The names of the placeholders that stand in a run, or in a backfill."""
    return {name for _, name in _find(spec.to_dict(), "")}


def with_interval(spec: RunTemplateSpec) -> RunTemplateSpec:
    """The run of a schedule as it is meant: what it waits for has to have begun within the interval
    of its occurrence, unless that is said otherwise.
    """
    if not spec.wait_for:
        return spec
    upstreams = [
        each
        if each.newer_than or each.begun_after
        else each.model_copy(update={"begun_after": "$(interval.start)"})
        for each in spec.wait_for
    ]
    return spec.model_copy(update={"wait_for": upstreams})


def missing(known: tuple[str, ...], path: str = _PATH) -> str:
    """What is wrong with a run that has no placeholder although each window should differ."""
    remedy = f"use {_list(known)} in vars, eventTime or selections"
    return f"{path}: every window would do the same: {remedy}"


def fill(value: Any, values: Mapping[str, str]) -> Any:
    """A part of a manifest with what its placeholders stand for; others stay, as they stand for
    something later.
    """
    if isinstance(value, Mapping):
        return {key: fill(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [fill(inner, values) for inner in value]
    if isinstance(value, str):
        return _PLACEHOLDER.sub(
            lambda match: values.get(match[1], match[0]) if match[2] else match[0], value
        )
    return value


def _are(known: tuple[str, ...]) -> str:
    return f"{'are' if len(known) > 1 else 'is'} {_list(known)}"


def _list(known: tuple[str, ...]) -> str:
    return ", ".join(f"$({name})" for name in known)


def _find(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Paths and names of all placeholders."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _find(inner, f"{path}.{key[:_SHOWN_KEY]}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _find(inner, f"{path}[{number}]")
    elif isinstance(value, str):
        for match in _PLACEHOLDER.finditer(value):
            if match[2]:
                yield path, match[1]
