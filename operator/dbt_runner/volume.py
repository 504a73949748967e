"""Files of a folder that somebody else can write to, opened so that nothing leads out of it.

The dbt container runs the project's code and shares a volume with the sidecar, which has the
bucket's keys in its environment. A file, or a folder on the way to it, may be swapped at any time
for a link to /proc/self/environ, or for a pipe that nobody writes to. So nothing is opened by its
path: each folder on the way is opened from the one before without following links, and what is
opened is looked at, not what had the name a moment before.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NOT_PLAIN = {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}
_HERE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe must not keep anybody waiting


class NotPlainError(OSError):
    """What has the name is no file, or it is not in a folder."""


class Volume:
    """The files below a folder, which itself can be trusted."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, path: Path) -> BinaryIO:
        """Open a file for reading.

        Raises:
            NotPlainError: it is a link, a pipe or a device, or a folder on the way is none.
            OSError: it cannot be opened, for example because it is not there.
        """
        with self._folder(path.parent) as folder, _refusing_links(path):
            descriptor = os.open(path.name, os.O_RDONLY | _HERE, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NotPlainError(f"{path.name}: is no plain file")
        return os.fdopen(descriptor, "rb")

    def read(self, path: Path, limit: int) -> bytes:
        """So many bytes of a file, from its beginning.

        Raises:
            OSError: see :meth:`open`.
        """
        with self.open(path) as file:
            return file.read(limit)

    def version(self, path: Path) -> tuple[int, ...]:
        """What tells a file from the one that it is replaced by; empty if there is none."""
        with suppress(OSError), self._folder(path.parent) as folder:
            found = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
            return found.st_size, found.st_ino, found.st_mtime_ns
        return ()

    def entries(self, path: Path) -> list[tuple[Path, bool]]:
        """What is in a folder, by name, and whether it is a folder; nothing if it is none
        itself.
        """
        with suppress(OSError), self._folder(path) as folder:
            with os.scandir(folder) as found:
                names = [(each.name, each.is_dir(follow_symlinks=False)) for each in found]
            return [(path / name, is_folder) for name, is_folder in sorted(names)]
        return []

    def files(self, path: Path) -> Iterator[Path]:
        """All that is below a folder and is no folder."""
        waiting = [path]
        while waiting:
            entries = self.entries(waiting.pop())
            yield from (each for each, is_folder in entries if not is_folder)
            waiting += [each for each, is_folder in reversed(entries) if is_folder]

    @contextmanager
    def replacing(self, path: Path) -> Iterator[BinaryIO]:
        """Write a file that gets its name when it is complete.

        Raises:
            OSError: it cannot be written.
        """
        partial = f".{path.name}.partial"
        with self._folder(path.parent) as folder:
            with suppress(FileNotFoundError):
                os.unlink(partial, dir_fd=folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _HERE
            with os.fdopen(os.open(partial, flags, 0o664, dir_fd=folder), "wb") as file:
                yield file
            os.replace(partial, path.name, src_dir_fd=folder, dst_dir_fd=folder)

    @contextmanager
    def _folder(self, path: Path) -> Iterator[int]:
        """A folder's descriptor."""
        descriptor = os.open(self._root, _FOLDER)
        try:
            for name in path.relative_to(self._root).parts:
                with _refusing_links(path):
                    inner = os.open(name, _FOLDER | _HERE, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)


@contextmanager
def _refusing_links(path: Path) -> Iterator[None]:
    """Say by an exception of its own that it is a link, which is no error that goes away."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_PLAIN:
            raise
        raise NotPlainError(f"{path.name}: is no plain file: {error.strerror}") from None
