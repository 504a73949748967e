"""Submodules: other repositories in folders of this one, at commits that this one names.

They are checked out as the repository itself is, and not by ``git submodule``: what .gitmodules
says is somebody else's, so of that only the URLs count, and folders and commits are those of the
commit that is checked out. The Secret's credentials are for the host that it was given for.

Without them their folders are empty. That matters where dbt would look into one; others are left
alone, as they are on a laptop.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dbt_runner.prepare.git_access import Access, find_host, share_access
from dbt_runner.prepare.git_command import Git
from dbt_runner.prepare.git_messages import CommandError, SourceError, Wanted, explain_error
from dbt_runner.prepare.looked_into import list_looked_into
from dbt_runner.prepare.project_folder import PrepareError

_SUBMODULE = "160000 "  # the mode of one among the files of a commit
_MOST = 100  # with theirs
_RELATIVE = ("./", "../")

CheckOut = Callable[[Wanted, Git], object]


@dataclass(frozen=True)
class Submodule:
    """A submodule of a commit."""

    path: str
    commit: str
    url: str  # as .gitmodules has it


@dataclass(frozen=True)
class Repository:
    """A repository that is checked out."""

    wanted: Wanted
    git: Git
    folder: Path
    access: Access
    name: str = ""  # for messages, of a submodule: "submodule PATH: " of each that it is in


class Submodules:
    """Checks the submodules of a repository out, and theirs."""

    def __init__(self, top: Repository, private: Path, check_out: CheckOut) -> None:
        """Begin.

        Args:
            top: the repository.
            private: a folder for files that nobody else reads.
            check_out: checks a repository out.
        """
        self._top = top
        self._private = private
        self._check_out = check_out
        self.begun: list[Repository] = []  # to be checked out

    def check_out(self) -> None:
        """Check all of them out.

        Raises:
            SourceError: that was not possible.
            PrepareError: there are too many.
        """
        self._check_out_all(self._top)

    def remove(self) -> None:
        """Remove the repositories, and leave the files that were checked out."""
        for repository in self.begun:
            repository.git.remove()

    def _check_out_all(self, parent: Repository) -> None:
        for submodule in list_submodules(parent.git):
            if len(self.begun) >= _MOST:
                raise PrepareError(f"{self._top.wanted}: there are more than {_MOST} submodules")
            wanted = Wanted(resolve_url(parent.wanted.url, submodule.url), submodule.commit)
            name = f"{parent.name}submodule {submodule.path}: "
            try:
                access = share_access(self._top.access, self._top.wanted.url, wanted)
            except SourceError as error:
                raise SourceError(f"{name}{error}") from error
            self._check_out_one(
                Repository(
                    wanted,
                    self._move(parent.folder / submodule.path, access),
                    parent.folder / submodule.path,
                    access,
                    name,
                )
            )

    def _move(self, folder: Path, access: Access) -> Git:
        private = self._private / f"submodule-{len(self.begun)}"
        private.mkdir(mode=0o700)
        return self._top.git.move(folder, private, access)

    def _check_out_one(self, repository: Repository) -> None:
        self.begun.append(repository)
        try:
            self._check_out(repository.wanted, repository.git)
        except SourceError as error:
            raise SourceError(f"{repository.name}{error}", again=error.again) from error
        except CommandError as error:
            said = explain_at(repository, self._top, error)
            raise SourceError(f"{repository.name}{said}", again=error.again) from error
        self._check_out_all(repository)


def explain_at(repository: Repository, top: Repository, error: CommandError) -> str:
    """The message about a git that has failed with a submodule."""
    is_own = repository.access is top.access and bool(top.access.secrets)
    said = explain_error(repository.wanted, error, with_secret=is_own)
    host = find_host(top.wanted.url)
    return said + ("" if is_own else f"; a Secret of source.git.secretRef is for {host} alone")


def list_submodules(git: Git) -> list[Submodule]:
    """Those of the commit that is checked out. Of one that .gitmodules does not tell of, nobody
    knows where it is.
    """
    told = git.local("ls-files", "--stage", "-z").split("\0")
    commits = {}
    for line in told:
        if line.startswith(_SUBMODULE):
            about, _, path = line.partition("\t")
            commits[path] = about.split()[1]
    urls = _read_urls(git) if commits else {}
    return [Submodule(path, commit, urls[path]) for path, commit in commits.items() if path in urls]


def _read_urls(git: Git) -> dict[str, str]:
    """The URLs of submodules by their folders. It is read as the commit has it, not where a link
    may lead.
    """
    entries: dict[str, dict[str, str]] = {}
    with suppress(CommandError):  # there is none, or it is no such file
        told = git.local("config", "--blob", "HEAD:.gitmodules", "--null", "--list")
        for entry in told.split("\0"):
            key, _, value = entry.partition("\n")
            name, _, field = key.rpartition(".")
            entries.setdefault(name, {})[field] = value
    return {
        entry["path"]: entry["url"]
        for name, entry in entries.items()
        if name.startswith("submodule.") and {"path", "url"} <= entry.keys()
    }


def resolve_url(base: str, url: str) -> str:
    """The URL of a submodule, which may be told relative to that of the repository that it is in,
    as git has it.
    """
    if not url.startswith(_RELATIVE):
        return url
    base, separator = base.rstrip("/"), "/"
    while url.startswith(_RELATIVE):
        if url.startswith("../"):
            cut = "/" if "/" in base else ":"
            base, separator = base.rpartition(cut)[0], cut
        url = url.partition("/")[2]
    return f"{base}{separator}{url}".rstrip("/")


def refuse_needed(repository: Repository) -> None:
    """See that none is needed of the submodules that are not checked out.

    Raises:
        PrepareError: one is.
    """
    submodules = [PurePosixPath(each.path) for each in list_submodules(repository.git)]
    if not submodules:
        return
    sub_path = repository.wanted.sub_path
    for folder in list_looked_into(repository.folder, sub_path):
        for path in submodules:
            if folder == path or folder in path.parents or path in folder.parents:
                raise PrepareError(
                    f"{repository.wanted}: the project needs the submodule {path}, which is not "
                    "checked out: set source.git.submodules: true in the DbtProject"
                )
