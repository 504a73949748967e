"""Finds what an error of a warehouse's means.

The code of an error says that, and where it has none its words. Of those only the fixed part
counts, never what is a name or a value: a column may be called connection_id, and a statement may
be wrong on line 503. The rules themselves are in :mod:`dbt_runner.outcome.ending_tables`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from dbt_runner.outcome.ending_kinds import AGAIN, NO, ONCE, Ending, away, failed
from dbt_runner.outcome.ending_tables import (
    BY_SYSTEM,
    CERTAIN_CLASSES,
    CERTAIN_WORDS,
    CLASSES,
    HTTP,
    SQLSTATES,
    SYSTEM,
    WORDS,
)

_WORDS = [(re.compile(words.replace("<name>", '""')), ending) for words, ending in WORDS]
_CERTAIN = [(system, re.compile(words), ending) for system, words, ending in CERTAIN_WORDS]
# Of clients that give no code to what goes wrong with a connection: in another language the words
# say nothing. Once more does no harm; as often as an account allows wrong passwords would.
UNKNOWN_CONNECTION = away("the connection failed, in words that are not known", ONCE, lost=True)
_EXPIRED = away("the login has expired", ONCE)
# DuckDB's are about files.
_WITHOUT_CONNECTIONS = ("duckdb",)
_CONNECTING = ("OperationalError", "InterfaceError", "FailedToConnectError")
_QUOTED = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'|`[^`\n]*`")
# What PostgreSQL shows of the statement and of its values.
_SHOWN = re.compile(r"^(?:LINE \d+:|DETAIL:|HINT:|CONTEXT:|QUERY:|STATEMENT:)")
_PLACE = re.compile(r" in \w+ \S+ \([^()\n]*\)")  # where dbt says which file it is about
_LONGEST = 4_000
OTHER = failed("anything else that a statement does wrong")


def find_ending(cause: Mapping[str, str], *, logged_in: bool) -> Ending:
    """What an error of a warehouse's client means.

    Args:
        cause: as :mod:`dbt_runner.worker.invocation.driver_errors` has taken it down.
        logged_in: the warehouse had answered before in this attempt. A login that is then refused
            has expired, and a new pod reads its Secret anew.
    """
    codes, classes = cause.get("codes", "").split(), cause.get("classes", "").split()
    system = cause.get("system", "")
    text = cause.get("text", "")
    found = (
        _find_by_code(classes, CERTAIN_CLASSES)
        or _find_by_certain_words(system, text)
        or (None if codes else find_ending_of_words(text))
        or _find_by_code(codes, BY_SYSTEM.get(system, {}))
        or _find_by_code(codes, HTTP)
        or _find_by_code(codes, SYSTEM)
        or _find_by_code(classes, BY_SYSTEM.get(system, {}))
        or _find_by_code(classes, CLASSES)
        or _find_by_code(codes, SQLSTATES)
    )
    if found is None:
        connecting = set(classes).intersection(_CONNECTING) and system not in _WITHOUT_CONNECTIONS
        found = UNKNOWN_CONNECTION if connecting and not codes else OTHER
    if found.login and logged_in:
        return _EXPIRED
    if found.lost and cause.get("lasting"):
        return replace(found, again=NO)
    return found


def find_ending_of_words(message: str) -> Ending | None:
    """What a message means where there is nothing but words; None: nothing that is known."""
    fixed = keep_fixed_part(message)
    found = _find_by_certain_words("", message)
    return found or next((ending for words, ending in _WORDS if words.search(fixed)), None)


def _find_by_certain_words(system: str, text: str) -> Ending | None:
    """What words mean whatever the code is, which some warehouses have the same for much."""
    fixed = keep_fixed_part(text)
    known = [(words, ending) for of, words, ending in _CERTAIN if of in ("", system)]
    return next((ending for words, ending in known if words.search(fixed)), None)


def find_again(endings: Iterable[Ending]) -> str:
    """Whether another attempt may do better, where several things went wrong: as often as with the
    worst of them.
    """
    return min((each.again for each in endings), key=AGAIN.index, default=NO)


def _find_by_code(codes: Iterable[str], known: Mapping[str, Ending]) -> Ending | None:
    for code in codes:
        if code in known:
            return known[code]
        fitting = [key for key in known if key.endswith("*") and code.startswith(key[:-1])]
        if fitting:
            return known[max(fitting, key=len)]
    return None


def keep_fixed_part(text: str) -> str:
    """The words of a message that are the warehouse's own, in lower case: without names and values
    in quotes, and without what is shown of the statement.
    """
    lines = []
    for line in text[:_LONGEST].splitlines():
        if _SHOWN.match(line):
            break
        lines.append(_QUOTED.sub('""', _PLACE.sub("", line)))
    return "\n".join(lines).lower()
