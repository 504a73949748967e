"""Unpacks a project from an archive, and nothing outside of its folder."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from dbt_runner.prepare.project_folder import PROJECT_FILE, PrepareError

ARCHIVES = (".tar.gz", ".tgz")
# A ConfigMap holds 1 MiB, which can be the archive of a thousand times as much.
MOST_FILES = 20_000
MOST_BYTES = 1 << 29
_DEEPEST = 64  # folders in one another
_LONGEST_NAME = 255  # bytes, of Linux
_BROKEN_ARCHIVE = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)


def unpack_archive(archive: Path, project: Path) -> None:
    """Unpack a .tar.gz archive into the project's folder.

    Raises:
        PrepareError: it is no such archive, holds too much, or one of its members cannot be a file
            of the project or would lie outside.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            members = _list_members(archive, tar)
            top = None if (project / PROJECT_FILE).exists() else _top_folder(members)
            for member in members:
                _extract(tar, member, project / _inside(archive, member, top))
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise PrepareError(
            f"{archive.name} in the project's ConfigMap is refused: it has a file and a folder of "
            f"the same name: {error.filename!a}"
        ) from error
    except _BROKEN_ARCHIVE as error:
        raise PrepareError(
            f"{archive.name} in the project's ConfigMap is no whole .tar.gz archive: {error}"
        ) from error


def _list_members(archive: Path, tar: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """All but the folders.

    Raises:
        PrepareError: there are too many, or they are too large together.
    """
    members = []
    size = 0
    for number, member in enumerate(tar):
        size += member.size  # as it says: of a sparse one that is what it would be on the disk
        if number >= MOST_FILES or size > MOST_BYTES:
            raise PrepareError(
                f"{archive.name} in the project's ConfigMap is refused: it holds more than "
                f"{MOST_FILES} files, or more than {MOST_BYTES} bytes"
            )
        if not member.isdir():
            members.append(member)
    return members


def _inside(archive: Path, member: tarfile.TarInfo, top: str | None) -> PurePosixPath:
    """Where a file of the archive belongs in the project's folder.

    Checked here, since the filters of tarfile are not in every Python 3.11. Links are refused: they
    can lead out, too.

    Raises:
        PrepareError: it is no file, or would lie outside.
    """
    path = PurePosixPath(member.name)
    is_name = member.name.isprintable() and 0 < len(path.parts) <= _DEEPEST
    is_short = all(len(os.fsencode(part)) <= _LONGEST_NAME for part in path.parts)
    if not (member.isfile() and is_name and is_short) or path.is_absolute() or ".." in path.parts:
        raise PrepareError(
            f"{archive.name} in the project's ConfigMap is refused: {member.name[:100]!a} is no "
            "plain file inside the project"
        )
    return PurePosixPath(*path.parts[1:]) if top and path.parts[0] == top else path


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    if source is not None:
        with source, to.open("wb") as file:
            shutil.copyfileobj(source, file)
        to.chmod(0o775 if member.mode & 0o100 else 0o664)


def _top_folder(members: Iterable[tarfile.TarInfo]) -> str | None:
    """The folder that holds the project within the archive, if it is not the archive's top
    itself.
    """
    paths = [PurePosixPath(member.name) for member in members]
    projects = [path for path in paths if path.name == PROJECT_FILE and len(path.parts) <= 2]
    if any(len(path.parts) == 1 for path in projects):
        return None
    tops = {path.parts[0] for path in paths if path.parts}
    return next(iter(tops)) if len(tops) == 1 and projects else None
