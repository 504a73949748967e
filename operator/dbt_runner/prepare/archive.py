"""Unpacks a project from an archive, and nothing outside of its folder.

Archives are made on all systems, with all programs. What tells of the system that one was made on
is left out: the files by which macOS keeps attributes beside others, what its Finder notes down of
a folder, folders around the project's. Of several members of a name the last one counts, as for
tar.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import unicodedata
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dbt_runner.prepare.project_folder import PROJECT_FILE, PrepareError

ARCHIVES = (".tar.gz", ".tgz")
# A ConfigMap holds 1 MiB, which can be the archive of a thousand times as much.
MOST_FILES = 20_000
MOST_BYTES = 1 << 29
_TOO_MUCH = f"it holds more than {MOST_FILES} files, or more than {MOST_BYTES} bytes"
_DEEPEST = 64  # folders in one another
_LONGEST_NAME = 255  # bytes, of Linux
_BROKEN_ARCHIVE = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)
_NO_TEXT = ("Cc", "Cs")  # control characters, and bytes that are no UTF-8
_ATTRIBUTES = "._"  # what the name begins with of a file that holds the attributes of another
_ATTRIBUTES_MARK = b"\x00\x05\x16\x07"  # what the file begins with, AppleDouble
_OF_FINDER = (".DS_Store", "__MACOSX")


@dataclass(frozen=True)
class Member:
    """A file or link of the project."""

    path: PurePosixPath  # within the archive
    info: tarfile.TarInfo
    source: tarfile.TarInfo | None  # which member holds the content: another one of a hard link


def unpack_archive(archive: Path, project: Path) -> None:
    """Unpack a .tar.gz archive into the project's folder.

    Raises:
        PrepareError: it is no such archive, holds too much, or one of its members cannot be a file
            of the project or would lie outside.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            _unpack(tar, project)
    except _RefusedError as error:
        raise PrepareError(
            f"{archive.name} in the project's ConfigMap is refused: {error}"
        ) from error
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise PrepareError(
            f"{archive.name} in the project's ConfigMap is refused: it has a file and a folder of "
            f"the same name: {error.filename!a}"
        ) from error
    except _BROKEN_ARCHIVE as error:
        raise PrepareError(
            f"{archive.name} in the project's ConfigMap is no whole .tar.gz archive: {error}"
        ) from error


class _RefusedError(Exception):
    """What is wrong with the archive, and what to do."""


def _unpack(tar: tarfile.TarFile, project: Path) -> None:
    members = _list_members(tar)
    is_part = (project / PROJECT_FILE).exists()
    top = PurePosixPath() if is_part else _find_top(member.path for member in members)
    for member in members:
        if member.source is not None:
            _extract(tar, member.source, project / member.path.relative_to(top))
    # Now that nothing more is written, nothing can be written through a link.
    links = [
        (member.info, project / member.path.relative_to(top))
        for member in members
        if member.source is None
    ]
    for info, at in links:
        at.parent.mkdir(parents=True, exist_ok=True)
        _must_be_inside(info, at.parent, project)
        at.symlink_to(info.linkname)
    for info, at in links:
        _must_be_inside(info, at, project)


def _list_members(tar: tarfile.TarFile) -> list[Member]:
    """All that belongs to the project, but for the folders; of each name the last."""
    infos = []
    size = 0
    for number, info in enumerate(tar):
        size += info.size  # as it says: of a sparse one that is what it would be on the disk
        if number >= MOST_FILES or size > MOST_BYTES:
            raise _RefusedError(_TOO_MUCH)
        if not info.isdir():
            infos.append(info)
    slash = "/" if any("/" in info.name for info in infos) else "\\"
    members: dict[PurePosixPath, Member] = {}
    for info in infos:
        path = _find_path(info.name, slash)
        if _is_of_system(tar, info, path):
            continue
        if fault := _find_fault(info, path):
            raise _RefusedError(f"{info.name[:100]!a} {fault}")
        source = _find_source(info, _find_path(info.linkname, slash), members)
        size += source.size if source is not None and info.islnk() else 0
        if size > MOST_BYTES:
            raise _RefusedError(_TOO_MUCH)
        members[path] = Member(path, info, source)
    return list(members.values())


def _find_path(name: str, slash: str) -> PurePosixPath:
    """Where a member belongs. As for tar, no name begins at the root."""
    path = PurePosixPath(name.replace(slash, "/"))
    return path.relative_to(path.anchor) if path.is_absolute() else path


def _is_of_system(tar: tarfile.TarFile, info: tarfile.TarInfo, path: PurePosixPath) -> bool:
    """Whether this is what macOS has put beside the project's files."""
    if set(path.parts).intersection(_OF_FINDER):
        return True
    if not info.isreg() or not path.name.startswith(_ATTRIBUTES):
        return False
    file = tar.extractfile(info)
    return file is not None and file.read(len(_ATTRIBUTES_MARK)) == _ATTRIBUTES_MARK


def _find_fault(info: tarfile.TarInfo, path: PurePosixPath) -> str:
    """Why a member can be no file of the project; empty if it can.

    Checked here, since the filters of tarfile are not in every Python 3.11.
    """
    if not (info.isfile() or info.islnk() or info.issym()) or not path.parts:
        return "is no plain file: leave it out of the archive"
    if ".." in path.parts:
        return "is no plain file inside the project: pack the project's folder as it is"
    if any(unicodedata.category(letter) in _NO_TEXT for letter in info.name):
        return "is a name that is no text in UTF-8, or not of one line: rename the file"
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
        return f"is a name of more than {_LONGEST_NAME} bytes: rename the file"
    if len(path.parts) > _DEEPEST:
        return f"is below more than {_DEEPEST} folders: move it up"
    return ""


def _find_source(
    info: tarfile.TarInfo, target: PurePosixPath, before: Mapping[PurePosixPath, Member]
) -> tarfile.TarInfo | None:
    """Which member holds a member's content; None for a symbolic link."""
    if not info.islnk():
        return None if info.issym() else info
    member = before.get(target)
    if member is None or member.source is None:
        raise _RefusedError(
            f"{info.name[:100]!a} is another name of {info.linkname[:100]!a}, which is no file of "
            "the archive: pack both together"
        )
    return member.source


def _find_top(paths: Iterable[PurePosixPath]) -> PurePosixPath:
    """The folder of the archive that holds the project, if all else is in it as well."""
    known = list(paths)
    projects = [path.parent for path in known if path.name == PROJECT_FILE]
    top = min(projects, key=lambda path: len(path.parts), default=PurePosixPath())
    return top if all(top in path.parents for path in known) else PurePosixPath()


def _extract(tar: tarfile.TarFile, source: tarfile.TarInfo, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(source)
    if content is not None:
        with content, to.open("wb") as file:
            shutil.copyfileobj(content, file)
        to.chmod(0o775 if source.mode & 0o100 else 0o664)


def _must_be_inside(info: tarfile.TarInfo, path: Path, project: Path) -> None:
    """See that a symbolic link leads to somewhere in the project, through whichever others."""
    whole = Path(os.path.realpath(project))
    to = Path(os.path.realpath(path))
    if whole not in (to, *to.parents):
        raise _RefusedError(
            f"{info.name[:100]!a} is a link to {info.linkname[:100]!a}, which is not inside the "
            "project: pack the file itself, as tar does with --dereference"
        )
