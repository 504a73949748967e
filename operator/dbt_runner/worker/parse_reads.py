"""What a parse has read that another command, or another run, may give another value.

dbt's Jinja is a function of what it reads: a command that gives every read the same value would
parse the same. So each read is kept by its name and a digest of its value, under the file that was
being parsed. A partial parse renders no more than what has changed: what it takes over keeps its
reads, what it renders anew has new ones, and what was read outside of any file counts for all.

A name is ``root`` or ``root.part``: ``flags.WHICH``, ``var.ds``, ``target.name``; the root alone
stands for all of its parts. What is never the same has no digest: the time, an invocation's ID,
what is random. It does not keep the steps of one run from sharing a parse, since they are one
invocation to what is parsed, but it keeps a parse from being used by anything else.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from datetime import date
from enum import Enum
from pathlib import PurePath
from typing import Any

NEVER = ""  # instead of the digest of a value that is never the same
NO_FILE = ""  # instead of a file, of what is read outside of any
# What is read of the values of an invocation; all else is never the same.
ROOTS = ("dbt_metadata_envs", "env_var", "flags", "invocation_args_dict", "target", "var")

Reads = dict[str, dict[str, str]]  # file -> name -> digest


class Values:
    """What a command gives the reads of a parse."""

    def __init__(self, roots: Mapping[str, Mapping[str, Any]], threads: object = None) -> None:
        """Take the values.

        Args:
            roots: what is known, by the names of :data:`ROOTS`.
            threads: what the command line says of them, which is all of ``target`` that differs
                between the commands of a run.
        """
        self._roots = roots
        self._threads = threads
        self._digests: dict[str, str] = {}

    def find_digest(self, name: str) -> str:
        """The digest of a value; :data:`NEVER` if it is equal to none."""
        if name not in self._digests:
            self._digests[name] = self._compute(name)
        return self._digests[name]

    def borrow_target(self, other: Values) -> Values:
        """These values with the ``target`` of another command of the run, which costs a rendered
        profile to find.
        """
        target = dict(other._roots["target"])
        if self._threads != other._threads:
            target.pop("threads", None)  # which then is like none
        return Values({**self._roots, "target": target}, self._threads)

    def _compute(self, name: str) -> str:
        root, dot, part = name.partition(".")
        values = self._roots.get(root)
        if values is None:
            return NEVER
        if dot:
            return make_digest([values[part]] if part in values else [])
        return make_digest(sorted([str(key), value] for key, value in values.items()))


def make_digest(value: object) -> str:
    """The digest of a value; :data:`NEVER` for one that cannot be told from others of its kind."""
    try:
        text = json.dumps(_make_plain(value))
    except (TypeError, ValueError, RecursionError):
        return NEVER
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _make_plain(value: Any) -> Any:
    """A value as JSON, with its type where JSON has none of that kind.

    Raises:
        TypeError: it is an object of which nothing is known.
    """
    if isinstance(value, Enum):
        return {"enum": [type(value).__name__, value.name]}
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [_make_plain(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return {"set": sorted(json.dumps(_make_plain(each)) for each in value)}
    if isinstance(value, Mapping):
        return {"map": [[_make_plain(key), _make_plain(each)] for key, each in value.items()]}
    if isinstance(value, PurePath):
        return {"path": str(value)}
    if isinstance(value, date):  # a datetime, too
        return {"date": value.isoformat()}
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {type(value).__name__: _make_plain(fields)}
    raise TypeError(type(value).__name__)


def find_difference(reads: Reads, values: Values, *, within_run: bool = False) -> str:
    """A read that these values do not give what the parse has read, as a clause; empty if there is
    none.

    Args:
        reads: of the parse.
        values: of the command that might use it.
        within_run: they are of one run, so what is never the same is the same.
    """
    for file, names in sorted(reads.items()):
        for name, found in sorted(names.items()):
            if found == NEVER and within_run and name.partition(".")[0] not in ROOTS:
                continue
            if found == NEVER or values.find_digest(name) != found:
                return describe(file, name)
    return ""


def find_unrepeatable(reads: Reads) -> str:
    """A read that is never the same again, as a clause; empty if there is none."""
    found = [
        (file, name) for file, names in reads.items() for name in names if names[name] == NEVER
    ]
    return describe(*min(found)) if found else ""


def find_secret(reads: Reads, env: Mapping[str, str], secrets: Collection[str]) -> str:
    """A read of a secret, as a clause; empty if there is none. Words could be tried on its digest
    by whoever may read the bucket.
    """
    for file, names in sorted(reads.items()):
        for name in sorted(names):
            root, _, part = name.partition(".")
            if root == "env_var" and any(secret in env.get(part, "") for secret in secrets):
                return describe(file, name)
    return ""


def describe(file: str, name: str) -> str:
    """Say which file has read what."""
    root, _, part = name.partition(".")
    what = f"{root}('{part}')" if root in ("var", "env_var") and part else name
    return f"{file.partition('://')[2] or file or 'the project'} asks for {what} while it is parsed"


def take_over(old: Reads, new: Reads, rendered: Collection[str], present: Collection[str]) -> Reads:
    """The reads of a partial parse.

    Args:
        old: of the parse that it began with.
        new: its own.
        rendered: the files that it has parsed as a whole; of YAML it parses only what has changed.
        present: the files of the project.
    """
    found: Reads = {}
    for file, names in old.items():
        if file == NO_FILE or (file in present and file not in rendered):
            found[file] = dict(names)
    for file, names in new.items():
        found.setdefault(file if file in present else NO_FILE, {}).update(names)
    return found
