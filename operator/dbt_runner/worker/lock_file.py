"""package-lock.yml, where dbt deps may install nothing but what it pins.

dbt installs what stands in the lock file, if that was made for the packages that are declared; if
not, it resolves them anew and writes another one. So the lock was in force exactly if it is the
same afterwards. dbt deps runs nothing of what it installs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from dbt_runner.worker.deps import LOCK_FILE
from dbt_runner.worker.failure import CannotRunError
from dbt_runner.worker_messages import DbtEnd

# As dbt writes it. There may be no YAML parser here; what is written otherwise is refused.
_TOP = re.compile(r"packages:( \[\])?|sha1_hash: \S+|#.*|")
_ENTRY = re.compile(r"(?P<first> *- )? *(?P<key>[a-z][a-z0-9_-]*): (?P<value>\S.*)")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_VERSION = re.compile(r"[0-9]+\.[0-9A-Za-z.+-]+")
_REMEDY = (
    "run dbt deps and commit the package-lock.yml that it writes, or put the packages into the "
    "image and set deps: Never in the DbtProject"
)


def read_lock(project: Path) -> bytes:
    """The lock file, which pins all packages.

    Raises:
        CannotRunError: there is none, or it does not.
    """
    try:
        content = (project / LOCK_FILE).read_bytes()
    except FileNotFoundError:
        raise _refuse(f"there is no {LOCK_FILE}") from None
    if unpinned := find_unpinned(content.decode("utf-8", "replace")):
        raise _refuse(unpinned)
    return content


def require_unchanged(project: Path, before: bytes) -> None:
    """Check that dbt deps has installed what the lock file pins.

    Raises:
        CannotRunError: it has resolved the packages anew.
    """
    if (project / LOCK_FILE).read_bytes() != before:
        raise _refuse(f"{LOCK_FILE} was not made for the packages that are declared now")


def find_unpinned(lock: str) -> str:
    """What a lock file leaves open; empty if it pins everything."""
    entries: list[dict[str, str]] = []
    for line in lock.splitlines():
        if _TOP.fullmatch(line):
            continue
        found = _ENTRY.fullmatch(line)
        if found is None or not (found["first"] or entries):
            return f"{LOCK_FILE} is not as dbt deps writes it"
        if found["first"]:
            entries.append({})
        entries[-1][found["key"]] = found["value"].strip().strip("'\"")
    return next((text for text in map(_describe_unpinned, entries) if text), "")


def _describe_unpinned(entry: Mapping[str, str]) -> str:
    name = next((entry[key] for key in ("name", "package") if key in entry), "a package")
    if "tarball" in entry:
        return f"{name} comes as a tarball, which {LOCK_FILE} cannot pin"
    if "package" in entry:
        is_pinned = _VERSION.fullmatch(entry.get("version", ""))
        return "" if is_pinned else f"{LOCK_FILE} names no version of {name}"
    if "local" in entry:
        return ""
    is_pinned = _COMMIT.fullmatch(entry.get("revision", ""))
    return "" if is_pinned else f"{LOCK_FILE} names no commit of {name}"


def _refuse(what: str) -> CannotRunError:
    message = (
        f"{what}, so packages would be installed that nothing pins, and the target is protected: "
        f"{_REMEDY}"
    )
    return CannotRunError(DbtEnd(reason="ConfigError", message=message))
