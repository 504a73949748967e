"""Fetches the files that Git LFS keeps, of which a checkout has no more than pointers.

``git lfs`` fetches them, in a repository that holds pointers and nothing else: attributes, filters
and .lfsconfig are somebody else's, and it sees none of them. Of .lfsconfig counts only where the
files are, and the Secret's credentials are for the host that it was given for. What comes is the
file that the commit means, whoever serves it, since the pointer has its hash.

A file takes its pointer's place by a rename in the folder that git has made; nothing is written
through a link.
"""

from __future__ import annotations

import resource
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from dbt_runner.prepare.git_access import Access, find_host, share_access
from dbt_runner.prepare.git_command import Git
from dbt_runner.prepare.git_messages import CommandError, SourceError, explain_error, say
from dbt_runner.prepare.lfs_pointers import EMPTY, Pointer, list_pointers, name_path, read_pointer
from dbt_runner.prepare.looked_into import list_looked_into
from dbt_runner.prepare.project_folder import PrepareError
from dbt_runner.prepare.submodules import Repository

_TOLD_IN = ".lfsconfig"
_SERVER_KEYS = ("lfs.url", "remote.origin.lfsurl")  # the first is preferred
_SETTINGS = {
    "lfs.transfer.maxretries": "1",  # trying again is decided as it is for git
    "lfs.transfer.maxretrydelay": "0",
    "lfs.concurrenttransfers": "3",
    "lfs.dialtimeout": "15",
    "lfs.ssh.automultiplex": "false",  # it would leave a process behind
    "lfs.skipdownloaderrors": "false",
}
_SMALLEST_LIMIT = 1 << 20  # bytes; git's own files are below
_REMEDIES = {
    "missing file": (
        "Git LFS at the server does not have it",
        "push it from where it is: git lfs push --all origin",
    ),
    "wrong file": (
        "what Git LFS at the server has is another file than the commit means",
        "push the right one from where it is: git lfs push --all origin",
    ),
    "larger file": (
        "what the server sends is larger than the commit says",
        "push the right one from where it is: git lfs push --all origin",
    ),
    "repository": (
        "the server has no Git LFS for this repository",
        "check .lfsconfig, which may say where it is, and that the credentials may read it",
    ),
    "no lfs": (
        "git lfs is not installed here",
        "the runner image must be the operator's",
    ),
}


class LargeFiles:
    """Fetches files for repositories that have just been checked out."""

    def __init__(self, repositories: Sequence[Repository], private: Path) -> None:
        """Begin.

        Args:
            repositories: that of the project, and its submodules.
            private: a folder for files that nobody else reads.
        """
        self._top = repositories[0]
        # The innermost first: what is in a submodule is not of the repository around it.
        self._repositories = sorted(repositories, key=lambda each: -len(each.folder.parts))
        self._private = private

    def fetch(self) -> None:
        """Put the files that dbt may look into in the places of their pointers.

        Raises:
            SourceError: one cannot be had.
            PrepareError: a pointer is none that Git LFS could read.
        """
        places = list_looked_into(self._top.folder, self._top.wanted.sub_path)
        pointers = self._read(list_pointers(self._top.folder, places))
        self._see_that_there_is_room(pointers)
        for number, repository in enumerate(self._repositories):
            own = [each for each in pointers if repository.folder in each.path.parents]
            pointers = [each for each in pointers if repository.folder not in each.path.parents]
            if own:
                try:
                    self._fetch_of(repository, own, number)
                except SourceError as error:
                    message = f"{repository.name}{error}"
                    raise SourceError(message, again=error.again) from error

    def _read(self, paths: Iterable[Path]) -> list[Pointer]:
        pointers = []
        for path in paths:
            pointer = read_pointer(path)
            if pointer is None:
                raise PrepareError(
                    f"{self._top.wanted}: {name_path(path, self._top.folder)} is a pointer of Git "
                    "LFS with another hash than SHA-256, or with an extension: only plain ones can "
                    "be followed"
                )
            pointers.append(pointer)
        return pointers

    def _see_that_there_is_room(self, pointers: Iterable[Pointer]) -> None:
        needed = sum(pointer.size for pointer in pointers)
        free = shutil.disk_usage(self._top.folder).free
        if needed > free:
            raise SourceError(
                f"{self._top.wanted}: the files that Git LFS keeps of the project have {needed} "
                f"bytes, and the pod's volume has room for {free}: keep what no build reads out of "
                "the project's folder, or give the nodes more disk"
            )

    def _fetch_of(self, repository: Repository, pointers: list[Pointer], number: int) -> None:
        oids = {pointer.oid: pointer.size for pointer in pointers}
        say(f"fetching {len(oids)} files of {sum(oids.values())} bytes from Git LFS")
        access, server = self._find_server(repository)
        private = self._private / f"lfs-{number}"
        private.mkdir(mode=0o700)
        folder = repository.folder / ".git" / "large-files"
        folder.mkdir()
        git = repository.git.move(folder, private, access)
        try:
            with _limit_files(max(oids.values())):
                git.remote("lfs", "fetch", "origin", _make_tree(git, folder, oids, server))
        except CommandError as error:
            said = self._explain(repository, access, error, pointers)
            raise SourceError(said, again=error.again) from error
        objects = folder / ".git" / "lfs" / "objects"
        if EMPTY in oids:  # which git lfs fetches from nowhere
            _find_place(objects, EMPTY).parent.mkdir(parents=True, exist_ok=True)
            _find_place(objects, EMPTY).touch()
        _put_in_place(objects, pointers)

    def _find_server(self, repository: Repository) -> tuple[Access, dict[str, str]]:
        """How the server is asked, and the settings that say where it is."""
        for key in _SERVER_KEYS:
            with suppress(CommandError):  # there is no such file, or it does not say
                url = repository.git.local("config", "--blob", f"HEAD:{_TOLD_IN}", key).strip()
                other = replace(repository.wanted, url=url)
                top = self._top
                return share_access(top.access, top.wanted.url, other, _TOLD_IN), {"lfs.url": url}
        return repository.access, {"remote.origin.url": repository.wanted.url}

    def _explain(
        self, repository: Repository, access: Access, error: CommandError, pointers: list[Pointer]
    ) -> str:
        told = [each for each in pointers if each.oid in error.words]
        which = f"{name_path(told[0].path, self._top.folder)}: " if told else "Git LFS: "
        if error.cause in _REMEDIES:
            what, remedy = _REMEDIES[error.cause]
            return f"{which}{repository.wanted}: {what}; {remedy} (git lfs: {error.said})"
        is_own = access is self._top.access
        has_secret = is_own and bool(access.secrets)
        said = explain_error(repository.wanted, error, with_secret=has_secret)
        host = find_host(self._top.wanted.url)
        only = "" if is_own else f"; a Secret of source.git.secretRef is for {host} alone"
        return f"{which}{said}{only}"


def _make_tree(git: Git, folder: Path, oids: dict[str, int], server: dict[str, str]) -> str:
    """Make a repository of pointers, and the tree that holds them."""
    git.local("init", "--quiet", "--template=")
    for key, value in {**_SETTINGS, **server}.items():
        git.local("config", key, value)
    if "remote.origin.url" not in server:
        git.local("config", "remote.origin.url", server["lfs.url"])  # one has to have that name
    for oid, size in oids.items():
        Pointer(folder / oid, oid, size).write()
    git.local("add", "--all")
    return git.local("write-tree").strip()


@contextmanager
def _limit_files(size: int) -> Iterator[None]:
    """Let no program that is started now write a larger file: a server could send without end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = max(size, _SMALLEST_LIMIT)
    lowered = limit if soft == resource.RLIM_INFINITY else min(limit, soft)
    resource.setrlimit(resource.RLIMIT_FSIZE, (lowered, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _find_place(objects: Path, oid: str) -> Path:
    """Where git lfs keeps a file."""
    return objects / oid[:2] / oid[2:4] / oid


def _put_in_place(objects: Path, pointers: Sequence[Pointer]) -> None:
    """Give each pointer's place to its file, with the pointer's mode."""
    left = Counter(pointer.oid for pointer in pointers)
    for pointer in pointers:
        new = kept = _find_place(objects, pointer.oid)
        left[pointer.oid] -= 1
        if left[pointer.oid]:
            new = kept.with_suffix(".copy")
            shutil.copyfile(kept, new)
        new.chmod(pointer.path.stat().st_mode)
        new.replace(pointer.path)
