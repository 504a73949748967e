"""Checks a commit of a Git repository out, with the real ``git`` and ``ssh`` of the runner image.

A ref is resolved to a commit once, by ``git ls-remote``; then that commit alone is fetched, without
its history where the server serves commits by their hash, and with it where it does not. What is
left are the commit's files without ``.git``.

Nothing but the plan and the mounted Secret has a say: no configuration of system or user, no hooks,
no prompts, no protocols but https, http and ssh. Credentials are in files that only this process's
user can read, in a folder that goes with the container; they are in no argument, no variable of the
environment and no message.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dbt_runner.prepare.git_access import grant_access
from dbt_runner.prepare.git_command import Git, Limits
from dbt_runner.prepare.git_messages import (
    CommandError,
    SourceError,
    Wanted,
    explain_absence,
    explain_error,
    say,
)
from dbt_runner.prepare.git_reachability import prove_reachable
from dbt_runner.prepare.git_refs import find_ref
from dbt_runner.prepare.large_files import LargeFiles
from dbt_runner.prepare.submodules import Repository, Submodules, refuse_needed

PROTOCOLS = ("https", "http", "ssh")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHORT_HASH = re.compile(r"[0-9a-f]{4,39}")


def check_out(
    wanted: Wanted,
    into: Path,
    secret: Path,
    *,
    limits: Limits | None = None,
    protocols: Sequence[str] = PROTOCOLS,
) -> str:
    """Check the files out, and return the commit that they are of.

    Args:
        wanted: repository and ref.
        into: a folder that exists and is empty.
        secret: where the Secret with the credentials is mounted; it need not exist.
        limits: how long things may take.
        protocols: the transports that git may use.

    Raises:
        SourceError: that was not possible.
        PrepareError: the commit is none that the ref reaches which the project names.
    """
    with tempfile.TemporaryDirectory(prefix="git-") as private:
        access = grant_access(wanted, secret, Path(private))
        if wanted.url.startswith("https://"):
            # Not even if it redirects there.
            protocols = [protocol for protocol in protocols if protocol != "http"]
        git = Git(into, Path(private), access, protocols, limits or Limits())
        top = Repository(wanted, git, into, access)
        submodules = Submodules(top, Path(private), _check_out)
        try:
            commit = _check_out(wanted, git)
            if wanted.submodules:
                submodules.check_out()
            else:
                refuse_needed(top)
            if wanted.lfs:
                LargeFiles([top, *submodules.begun], Path(private)).fetch()
        except CommandError as error:
            message = explain_error(wanted, error, with_secret=secret.is_dir())
            raise SourceError(message, again=error.again) from error
        finally:
            submodules.remove()
            git.remove()
        return commit


def _check_out(wanted: Wanted, git: Git) -> str:
    return _Checkout(wanted, git).run()


class _Checkout:
    def __init__(self, wanted: Wanted, git: Git) -> None:
        self._wanted = wanted
        self._git = git

    def run(self) -> str:
        if self._wanted.reachable_from:
            self._init()
            prove_reachable(self._wanted, self._git)
        self._init()
        commit, ref = self._resolve()
        say(f"fetching commit {commit} of {self._wanted}")
        self._fetch(commit, ref)
        commit = self._git.commit(commit)  # the hash may have been that of an annotated tag
        self._git.local("checkout", "--quiet", "--force", "--detach", commit)
        return commit

    def _init(self) -> None:
        """Make a repository in which there is nothing."""
        self._git.remove()
        self._git.local("init", "--quiet", "--template=")

    def _resolve(self) -> tuple[str, str]:
        """The commit, and the full name of the ref that it was found by; empty for a commit."""
        wanted = self._wanted
        given = wanted.commit or wanted.ref
        if _COMMIT.fullmatch(given):
            return given, ""
        if found := find_ref(self._git, wanted.url, wanted.ref):
            return found.commit, found.name
        if _SHORT_HASH.fullmatch(wanted.ref):
            return self._by_short_hash(), ""
        raise SourceError(f"{wanted}: {explain_absence(wanted.ref)}")

    def _by_short_hash(self) -> str:
        """Only the whole history tells which commit it means."""
        self._history("")
        try:
            return self._git.commit(self._wanted.ref)
        except CommandError as error:
            several = "more than one commit begins like that: give all 40 digits"
            why = several if "ambiguous" in error.said else explain_absence(self._wanted.ref)
            raise SourceError(f"{self._wanted}: {why}") from error

    def _fetch(self, commit: str, ref: str) -> None:
        """Fetch as little as the server allows for."""
        for what in (commit, ref, None):
            if what == "":
                continue
            if self._git.has(commit):
                return
            try:
                if what is None:
                    self._history(ref)
                else:
                    self._git.fetch("--depth=1", "--", self._wanted.url, what)
            except CommandError as error:
                if error.cause:
                    raise
                say(f"the server does not serve that ({error.said})")
        if not self._git.has(commit):
            raise SourceError(
                f"{self._wanted}: the repository has no commit {commit} in any branch or tag"
            )

    def _history(self, ref: str) -> None:
        refspecs = ["+refs/heads/*:refs/remotes/all/*", "+refs/tags/*:refs/tags/*"]
        if ref:
            refspecs.append(
                f"+{ref}:refs/wanted"
            )  # it may be neither, refs/pull/7/head for example
        depth = ["--unshallow"] if self._git.is_shallow() else []
        self._git.fetch(*depth, "--", self._wanted.url, *refspecs)
