"""How messages speak of nodes, and what is kept of what dbt says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from dbt_protocol.result_file import NodeResult

_BLANKS = re.compile(r"\s+")
_LOCATION = re.compile(r"^(compiled code at|in macro|> in macro|> called by)\b", re.IGNORECASE)
# Of a stack trace of Java's, as Spark's servers pass it on.
_PLACE = re.compile(r"^(?:at [\w.$<>/]{1,400}\(|\.\.\. \d{1,9} more$)")
_CAUSE = "Caused by: "


def describe_results(results: Sequence[NodeResult]) -> str:
    """Which nodes have a status, and what the first of them says."""
    first = results[0]
    text = first_lines(first.message)
    return (
        f"{list_names(results)} {'has' if len(results) == 1 else 'have'} status {first.status}"
        + (f": {text}" if text else "")
    )


def list_names(results: Iterable[NodeResult]) -> str:
    """The names of the first nodes, and how many more there are."""
    return list_first([result.unique_id for result in results])


def list_first(ids: Sequence[str]) -> str:
    """The first names and how many more there are."""
    more = f" and {len(ids) - 2} more" if len(ids) > 2 else ""
    return ", ".join(ids[:2]) + more


def first_lines(text: str, size: int = 300) -> str:
    """The lines of an error message that say what is wrong, as one line of at most ``size``
    characters.

    dbt's messages start with a line such as "Database Error in model orders (models/orders.sql)"
    and end in the places where compiled code and macros are, which help nobody who has no shell in
    the pod.
    """
    lines = _leave_out_stack([line.strip() for line in text.strip().splitlines()])
    useful = [
        line for line in lines if line and not _LOCATION.match(line) and not set(line) <= set("^~ ")
    ]
    head, rest = useful[:1], " ".join(useful[1:4])
    joined = _BLANKS.sub(" ", ": ".join([*head, rest] if rest else head))
    return joined if len(joined) <= size else joined[: size - 3] + "..."


def _leave_out_stack(lines: Sequence[str]) -> Sequence[str]:
    """Of a stack trace, its title and what it was caused by in the end."""
    places = [number for number, line in enumerate(lines) if _PLACE.match(line)]
    causes = [number for number, line in enumerate(lines) if line.startswith(_CAUSE)]
    if not places or not causes:
        return [line for line in lines if not _PLACE.match(line)]
    last = causes[-1]
    end = next((number for number in places if number > last), len(lines))
    return [lines[0], lines[last].removeprefix(_CAUSE), *lines[last + 1 : end]]
