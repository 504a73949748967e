"""Tells the contents of a project's files: one fingerprint for all of them, and a time for each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

_EARLIEST = 978_307_200  # 2001-01-01
_SPAN = 1_021_692_800  # up to 2033-05-18


def stamp(folder: Path) -> str:
    """Give every file the time that its content stands for; the SHA-256 over all paths and
    contents.

    A checkout gives files the time of the checkout. dbt's partial parsing reads no YAML file again
    whose time is what it was, and every one whose time has changed. So here a file's time is made
    from its content: whole seconds, which survive every copy and archive, and which are equal
    exactly if the content is.
    """
    whole = hashlib.sha256()
    for path in sorted(list_files(folder), key=lambda path: os.fsencode(path.relative_to(folder))):
        content = _hash(path)
        whole.update(os.fsencode(path.relative_to(folder)) + b"\0" + content)
        seconds = _EARLIEST + int.from_bytes(content[:8], "big") % _SPAN
        os.utime(path, (seconds, seconds), follow_symlinks=False)
    return whole.hexdigest()


def list_files(folder: Path) -> Iterator[Path]:
    """Files and links; a link is a file that holds where it leads to, which may be outside.

    A repository can hold thousands of folders in one another, so this does not call itself.
    """
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                else:
                    yield path


def _hash(path: Path) -> bytes:
    digest = hashlib.sha256()
    if path.is_symlink():
        digest.update(b"link to " + os.fsencode(path.readlink()))
        return digest.digest()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.digest()
