"""Finds the files of which a project has no more than where Git LFS keeps them.

dbt would take such a file for what it stands for: a seed of two rows, or SQL that the warehouse
refuses with words about "version".
"""

from __future__ import annotations

import mimetypes
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from dbt_runner.prepare.fingerprint import list_files
from dbt_runner.prepare.project_folder import PrepareError

_BEGINNING = b"version https://git-lfs.github.com/spec/v1\n"
_LONGEST = 1024  # bytes, by its specification
_FIELDS = (b"oid ", b"size ")
# What people look at, and no build.
_FOR_PEOPLE = ("audio/", "font/", "image/", "video/", "application/pdf")


def refuse_pointers(checkout: Path, folders: Iterable[Path], source: str) -> None:
    """See that no file of a project is a pointer of Git LFS.

    Args:
        checkout: what the names in the message begin at.
        folders: of the project.
        source: what the files come from, for the message.

    Raises:
        PrepareError: one is.
    """
    for folder in folders:
        if pointers := sorted(filter(_is_pointer, list_files(folder))):
            name = os.fsencode(pointers[0].relative_to(checkout)).decode("utf-8", "replace")
            more = f" and {len(pointers) - 1} more" if len(pointers) > 1 else ""
            raise PrepareError(
                f"{source}: {name}{more}, which the project holds, is a pointer of Git LFS and not "
                "the file itself, and files are not fetched from Git LFS: take it out of there "
                f"(git lfs migrate export --include={name!r}), or pack a checkout that has the "
                "files into an image or a ConfigMap"
            )


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
