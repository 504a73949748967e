"""Finds the files of which a checkout has no more than where Git LFS keeps them.

dbt would take such a file for what it stands for: a seed of two rows, or SQL that the warehouse
refuses with words about "version".
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dbt_runner.prepare.fingerprint import list_files
from dbt_runner.prepare.project_folder import PrepareError

_BEGINNING = b"version https://git-lfs.github.com/spec/v1\n"
_LONGEST = 1024  # bytes, by its specification
_FIELDS = (b"oid ", b"size ")
_SHA256 = "sha256:"
_HASH_DIGITS = 64
_MOST_DIGITS = 15  # of a size in bytes
EMPTY = hashlib.sha256().hexdigest()  # of a file of which there is nothing to fetch
# What people look at, and no build.
_FOR_PEOPLE = ("audio/", "font/", "image/", "video/", "application/pdf")


@dataclass(frozen=True)
class Pointer:
    """A pointer that can be followed."""

    path: Path
    oid: str  # SHA-256 of the file, in hexadecimal digits
    size: int  # of the file, in bytes

    def write(self) -> None:
        """Write it to its place."""
        fields = f"oid {_SHA256}{self.oid}\nsize {self.size}\n".encode()
        self.path.write_bytes(_BEGINNING + fields)


def refuse_pointers(
    checkout: Path, places: Iterable[PurePosixPath], source: str, remedy: str
) -> None:
    """See that no file of a project is a pointer of Git LFS.

    Args:
        checkout: what the names in the message begin at.
        places: files and folders of the project, below it.
        source: what the files come from, for the message.
        remedy: what to do about one.

    Raises:
        PrepareError: one is.
    """
    pointers = list_pointers(checkout, places)
    if pointers:
        more = f" and {len(pointers) - 1} more" if len(pointers) > 1 else ""
        raise PrepareError(
            f"{source}: {name_path(pointers[0], checkout)}{more}, which the project holds, is a "
            f"pointer of Git LFS and not the file itself: {remedy}"
        )


def list_pointers(checkout: Path, places: Iterable[PurePosixPath]) -> list[Path]:
    """The pointers among the files of a project, by their names.

    Args:
        checkout: where the project is.
        places: files and folders of it, below the checkout. Links are not followed.
    """
    found = {path for place in places for path in _list_files(checkout / place)}
    mine = (path for path in found if ".git" not in path.relative_to(checkout).parts)
    return sorted(filter(_is_pointer, mine))


def name_path(path: Path, checkout: Path) -> str:
    """A file's name in the repository, for a message."""
    return os.fsencode(path.relative_to(checkout)).decode("utf-8", "replace")


def read_pointer(path: Path) -> Pointer | None:
    """What a pointer says; None if it cannot be followed."""
    fields: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(" ")
        if key in fields or key.startswith("ext-"):
            return None
        fields[key] = value
    oid, size = fields.get("oid", ""), fields.get("size", "")
    digits = oid[len(_SHA256) :]
    is_hash = len(digits) == _HASH_DIGITS and set(digits) <= set("0123456789abcdef")
    is_size = size.isascii() and size.isdigit() and len(size) <= _MOST_DIGITS
    if not oid.startswith(_SHA256) or not is_hash or not is_size:
        return None
    if (digits == EMPTY) != (int(size) == 0):
        return None
    return Pointer(path, digits, int(size))


def _list_files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from list_files(path)
    elif path.exists():
        yield path


def _is_pointer(path: Path) -> bool:
    about = path.lstat()
    kind, _ = mimetypes.guess_type(path.name)
    # A link is none; what it leads to is looked at by itself, if it is of the project.
    if not stat.S_ISREG(about.st_mode) or about.st_size > _LONGEST:
        return False
    if kind is not None and kind.startswith(_FOR_PEOPLE):
        return False
    content = path.read_bytes().replace(b"\r\n", b"\n")
    lines = content.split(b"\n")
    has_fields = all(any(line.startswith(field) for line in lines) for field in _FIELDS)
    return content.startswith(_BEGINNING) and has_fields
