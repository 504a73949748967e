"""Files of a folder that somebody else can write to, opened so that nothing leads out of it.

The dbt container runs the project's code and shares a volume with the sidecar, which has the
bucket's keys in its environment. A file, or a folder on the way to it, may be swapped at any time
for a link to /proc/self/environ, or for a pipe that nobody writes to. So nothing is opened by its
path: each folder on the way is opened from the one before without following links, and what is
opened is looked at, not what had the name a moment before.

Nor may it keep anybody busy for ever: a file of a terabyte that takes no room on the disk, folders
in folders in folders, or a million names. All of these have a limit.

Hard links need no care: they do not leave the file system, and cannot be made across mounts even
within one, so they lead to what is in the volume already, and that the dbt container may read all
of it. The runner makes some itself.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

# The store's client holds a ten-thousandth of a file in memory, several times over, and at least
# 5 MiB: so this is far below what it can take, and far above what dbt leaves.
LARGEST_FILE = 1 << 30  # bytes
DEEPEST = 64  # folders in one another
MOST_NAMES = 100_000  # in a folder

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NOT_PLAIN = {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}
_HERE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe must not keep anybody waiting


class NotPlainError(OSError):
    """What has the name is no file, or too large a one, or it is not in a folder."""


def version_of(found: os.stat_result) -> tuple[int, ...]:
    """What tells a file from another one, and from what it was before it was written to."""
    return found.st_size, found.st_ino, found.st_mtime_ns


class Volume:
    """The files below a folder, which itself can be trusted."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, path: Path) -> BinaryIO:
        """Open a file for reading.

        Raises:
            NotPlainError: it is a link, a pipe or a device, is on another device, has more than
                LARGEST_FILE bytes, or a folder on the way is none or is nested too deeply.
            OSError: it cannot be opened, for example because it is not there.
        """
        with self._folder(path.parent) as folder:
            return self._open_in(folder, path.name)

    def _open_in(self, folder: int, name: str) -> BinaryIO:
        with _refusing_links(name):
            descriptor = os.open(name, os.O_RDONLY | _HERE, dir_fd=folder)
        try:
            self._must_be_plain(name, os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return os.fdopen(descriptor, "rb")

    def _must_be_plain(self, name: str, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise NotPlainError(f"{name}: is no plain file")
        if found.st_dev != os.stat(self._root).st_dev:  # noqa: PTH116 - for thousands of files
            raise NotPlainError(f"{name}: is on another device")
        if found.st_size > LARGEST_FILE:
            raise NotPlainError(f"{name}: has more than {LARGEST_FILE} bytes")

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
            return version_of(found)
        return ()

    def entries(self, path: Path, most: int = MOST_NAMES) -> list[tuple[Path, bool]]:
        """What is in a folder, by name, and whether it is a folder; nothing if it is none
        itself.

        Args:
            path: the folder.
            most: so many names at most. Of a folder with more of them it is open which are left
                out.
        """
        with suppress(OSError), self._folder(path) as folder:
            return [(path / name, is_folder) for name, is_folder in _list_names(folder, most)]
        return []

    def walk(self, path: Path) -> Iterator[tuple[Path, Callable[[], BinaryIO]]]:
        """All that is below a folder and is no folder, and what opens it, as :meth:`open` does,
        until the next one is asked for. Folders that cannot be opened are among it.
        """
        waiting = [path]
        while waiting:
            place = waiting.pop()
            try:
                with self._folder(place) as folder:
                    entries = _list_names(folder, MOST_NAMES)
                    for name, is_folder in entries:
                        if not is_folder:
                            yield place / name, partial(self._open_in, folder, name)
                    waiting += [place / name for name, is_folder in reversed(entries) if is_folder]
            except FileNotFoundError:
                continue
            except OSError:
                yield place, partial(self.open, place)

    def _is_too_deep(self, path: Path) -> bool:
        return len(path.parts) - len(self._root.parts) > DEEPEST

    @contextmanager
    def replacing(self, path: Path) -> Iterator[BinaryIO]:
        """Write a file that gets its name when it is complete.

        Raises:
            OSError: it cannot be written.
        """
        unfinished = f".{path.name}.partial"
        with self._folder(path.parent) as folder:
            with suppress(FileNotFoundError):
                os.unlink(unfinished, dir_fd=folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _HERE
            descriptor = os.open(unfinished, flags, 0o664, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    yield file
                os.replace(unfinished, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(unfinished, dir_fd=folder)
                raise

    @contextmanager
    def _folder(self, path: Path) -> Iterator[int]:
        """A folder's descriptor."""
        if self._is_too_deep(path):
            raise NotPlainError(f"{path.name}: is nested in more than {DEEPEST} folders")
        descriptor = os.open(self._root, _FOLDER)
        try:
            for name in path.relative_to(self._root).parts:
                with _refusing_links(path.name):
                    inner = os.open(name, _FOLDER | _HERE, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading whose folder can be trusted.

    Raises:
        OSError: see :meth:`Volume.open`.
    """
    return Volume(path.parent).open(path)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is complete or not there, whatever has the name of either before.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with Volume(path.parent).replacing(path) as file:
        file.write(content)


def copy_plain(path: Path, to: Path) -> bool:
    """Copy a plain file of a folder that can be trusted, as far as a file may be large. Whether
    there was one.

    Raises:
        OSError: the copy cannot be written.
    """
    try:
        with open_plain(path) as file:
            content = file.read(LARGEST_FILE)
    except OSError:
        return False
    write_whole(to, content)
    return True


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it, as far as that is possible.

    Python's own shutil.rmtree calls itself for each folder in a folder, and ends with a
    RecursionError below the thousandth.
    """
    with suppress(OSError):
        _empty_folder(os.open(folder, _FOLDER | _HERE))
    with suppress(OSError):
        folder.rmdir()


def _empty_folder(descriptor: int) -> None:
    """Remove all that is in a folder, and close it."""
    names: list[str] = []  # from the folder down to where this is
    waiting = [_unlink_files(descriptor)]  # in each of these folders
    try:
        while waiting[-1] or names:
            if waiting[-1]:
                names.append(waiting[-1].pop())
                inner = os.open(names[-1], _FOLDER | _HERE, dir_fd=descriptor)
                waiting.append(_unlink_files(inner))
            else:
                inner = os.open("..", _FOLDER, dir_fd=descriptor)
                waiting.pop()
                with suppress(OSError):
                    os.rmdir(names.pop(), dir_fd=inner)
            os.close(descriptor)
            descriptor = inner
    finally:
        os.close(descriptor)


def _unlink_files(folder: int) -> list[str]:
    """Remove what is in a folder and is none itself; the names of what is left."""
    folders = []
    with os.scandir(folder) as found:
        for each in list(found):
            if each.is_dir(follow_symlinks=False):
                folders.append(each.name)
                continue
            with suppress(OSError):
                os.unlink(each.name, dir_fd=folder)
    return folders


def _list_names(folder: int, most: int) -> list[tuple[str, bool]]:
    """The names in a folder, in order, and whether they are those of folders."""
    with os.scandir(folder) as found:
        return sorted(
            (each.name, each.is_dir(follow_symlinks=False)) for each in islice(found, most)
        )


@contextmanager
def _refusing_links(name: str) -> Iterator[None]:
    """Say by an exception of its own that it is a link, which is no error that goes away."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_PLAIN:
            raise
        raise NotPlainError(f"{name}: is no plain file: {error.strerror}") from None
