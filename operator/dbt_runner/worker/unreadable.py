"""Names the file that dbt could not read: its errors say what is wrong, and rarely with which file.

Nobody sees dbt read. But Python's words about a file tell where in it the first wrong byte is, or
which path led nowhere. So the files that dbt may have read are read here again, and the one whose
error has the very words of dbt's is it. That holds whichever process dbt is in.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dbt_runner.outcome.classify import UNREADABLE_FILE, UNREADABLE_PROFILE
from dbt_runner.worker_messages import DbtEnd

_SUFFIXES = (".sql", ".py", ".yml", ".yaml", ".csv", ".md", ".dbtignore", ".env")
_UNDECODABLE = "codec can't decode byte"
_UNREADABLE = "[Errno "
_UNNAMED = "surrogates not allowed"
_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_REMEDY = "save it as UTF-8"


@dataclass(frozen=True)
class _Unreadable:
    """A file that cannot be read, and what is to be said of it."""

    kind: str
    message: str


def name_unreadable_file(end: DbtEnd) -> DbtEnd:
    """Have an end of dbt say which file it is about, if it is about one that cannot be read, and so
    the results that dbt has reported.

    The project and the profile are where dbt itself takes them to be.
    """
    raised = [_name_in_result(row) for row in end.raised]
    found = _find(end.message) if end.exception else None
    if found is None:
        return replace(end, raised=raised)
    exception = [found.kind, *end.exception]
    return replace(end, raised=raised, message=found.message, exception=exception)


def names_file(end: DbtEnd) -> bool:
    """Whether an end is about a file that cannot be read."""
    return bool({UNREADABLE_FILE, UNREADABLE_PROFILE}.intersection(end.exception))


def _name_in_result(row: dict[str, str]) -> dict[str, str]:
    found = _find(row["message"])
    return row if found is None else {**row, "message": found.message}


def _find(text: str) -> _Unreadable | None:
    """The file that dbt speaks of, if it speaks of one that cannot be read."""
    if not any(words in text for words in (_UNDECODABLE, _UNREADABLE, _UNNAMED)):
        return None
    project = Path.cwd()
    profile = Path(os.environ.get("DBT_PROFILES_DIR", project), "profiles.yml")
    for path in (profile, *_list_files(project)):
        name = path.name if path == profile else os.fspath(path.relative_to(project))
        if _UNNAMED in text:
            complaint = "" if _show(name) == name else "has a name that is no UTF-8: rename it"
        else:
            said, complaint = _find_fault(path)
            # Of a part of a large file dbt tells the place in that part, and the file's name.
            is_it = said in text or (name in text and _UNDECODABLE in text)
            complaint = complaint if is_it else ""
        if complaint:
            kind = UNREADABLE_PROFILE if path == profile else UNREADABLE_FILE
            return _Unreadable(kind, f"{_show(name)} {complaint}")
    return None


def _show(name: str) -> str:
    """A name that can go into a message."""
    return os.fsencode(name).decode("utf-8", "replace")


def _list_files(project: Path) -> Iterator[Path]:
    """What dbt may take for its files: also links that lead nowhere, and folders called like
    files.
    """
    for folder, inner, names in os.walk(project):
        inner[:] = sorted(name for name in inner if name != ".git")
        found = (name for name in (*inner, *names) if name.endswith(_SUFFIXES))
        yield from (Path(folder, name) for name in sorted(found))


def _find_fault(path: Path) -> tuple[str, str]:
    """What Python says of a file that cannot be read, and what is to be said instead; nothing of
    one that can.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        return "", ""  # a pipe would be waited for
    try:
        data = path.read_bytes()
    except OSError as error:
        return str(error), _describe(path, error)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return str(error), _describe_encoding(data, error.start)
    return "", ""


def _describe(path: Path, error: OSError) -> str:
    """What is to be said of a file that cannot be opened."""
    if path.is_dir():
        return "is a folder, and dbt looks for a file of that name: rename it"
    if path.is_symlink() and not path.exists():
        to = _show(os.fspath(path.readlink()))
        return f"is a link to {to}, where there is no file: put one there, or remove the link"
    return f"cannot be read by dbt's user: {error.strerror}"


def _describe_encoding(data: bytes, at: int) -> str:
    """What is to be said of a file that is no UTF-8."""
    if encoding := _MARKS.get(data[:2]):
        return f"is {encoding}, as Windows PowerShell writes files, and no UTF-8: {_REMEDY}"
    before = data[:at]
    line = before.count(b"\n") + 1
    column = len(before.rpartition(b"\n")[2].decode("utf-8")) + 1
    place = f"line {line}, column {column}"
    shown = f"the byte 0x{data[at]:02x} at {place}"
    try:
        letter = data[at : at + 1].decode("cp1252")
    except UnicodeDecodeError:
        return f"is no UTF-8: {shown} is none of a text; {_REMEDY}"
    return f"is no UTF-8: {shown} would be {letter!r} in Windows-1252; {_REMEDY}"
