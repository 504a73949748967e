"""Packs the SQL that dbt has left of a step into one archive.

A project of 4,000 models leaves 8,000 files. As objects of their own they would take minutes to be
uploaded, longer than a pod has when it is ended. What is packed was written by the project's code,
so it is opened as the sidecar opens files, and there is a limit to everything.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from dbt_runner.artifact_files import ARCHIVE, ARCHIVED_FOLDERS
from dbt_runner.redact import Redactor
from dbt_runner.volume import Volume

MOST_FILES = 100_000
MOST_BYTES = 1 << 30  # of all files together
LARGEST_SQL = 1 << 26  # bytes of a file: each is held in memory
_LEVEL = 1  # dbt's next step waits for it


def pack_sql(work: Path, redactor: Redactor) -> str:
    """Put an archive of what is compiled and run, free of secrets, into a step's folder.

    Args:
        work: the folder.
        redactor: knows the secrets.

    Returns:
        What is not in the archive, and why; empty if everything is.
    """
    volume = Volume(work)
    found = _find(volume, work)
    first = next(found, None)
    if first is None:
        return ""
    packer = _Packer(work, redactor)
    try:
        with volume.replacing(work / ARCHIVE) as file, _open_archive(file) as tar:
            packer.add(tar, *first)
            while not packer.is_full and (each := next(found, None)) is not None:
                packer.add(tar, *each)
    except OSError as error:  # a full disk, most likely: no reason to end a run
        return f"{ARCHIVE} cannot be written: {error.strerror or error}"
    return packer.describe_missing()


def _open_archive(file: BinaryIO) -> tarfile.TarFile:
    return tarfile.open(fileobj=file, mode="w:gz", compresslevel=_LEVEL, format=tarfile.GNU_FORMAT)


def _find(volume: Volume, work: Path) -> Iterator[tuple[Path, Callable[[], BinaryIO]]]:
    for name in ARCHIVED_FOLDERS:
        yield from volume.walk(work / name)


class _Packer:
    """Adds files to an archive, and remembers those that it has to leave out."""

    def __init__(self, work: Path, redactor: Redactor) -> None:
        self._start = len(str(work)) + 1
        self._redactor = redactor
        self._files = self._bytes = self._left_out = 0
        self._why = ""

    @property
    def is_full(self) -> bool:
        """Whether there is room for no more."""
        return self._files + self._left_out >= MOST_FILES or self._bytes >= MOST_BYTES

    def add(self, tar: tarfile.TarFile, path: Path, opened: Callable[[], BinaryIO]) -> None:
        """Add a file as it is now, without secrets, if it is one that can be kept."""
        try:
            with opened() as file:
                content, modified = self._read(path, file)
        except OSError as error:
            self._left_out += 1
            self._why = self._why or str(error)
            return
        info = tarfile.TarInfo(str(path)[self._start :])
        info.size, info.mtime = len(content), modified
        tar.addfile(info, io.BytesIO(content))
        self._files += 1
        self._bytes += len(content)

    def _read(self, path: Path, file: BinaryIO) -> tuple[bytes, int]:
        found = os.fstat(file.fileno())
        if found.st_size > LARGEST_SQL:
            raise OSError(f"{path.name}: has more than {LARGEST_SQL} bytes")
        return self._redactor.data(file.read(found.st_size)), int(found.st_mtime)

    def describe_missing(self) -> str:
        """What is not in the archive."""
        if self.is_full:
            return f"{ARCHIVE} holds the first {self._files} files only: there are too many of them"
        return f"{ARCHIVE} leaves out {self._left_out} files: {self._why}" if self._left_out else ""
