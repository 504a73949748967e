"""Proves that a commit belongs to what a project names: that its ref reaches it.

A server may hand out commits that no ref of the repository leads to: those of its forks, of closed
pull requests, of branches that are gone. So the history of the ref is fetched and looked through.
"""

from __future__ import annotations

from dbt_runner.prepare.git_command import Git
from dbt_runner.prepare.git_messages import CommandError, Wanted, say
from dbt_runner.prepare.git_refs import find_ref
from dbt_runner.prepare.project_folder import PrepareError

_NAMED = "refs/named"  # here
# Commits alone, or also their folders, or, where the server leaves nothing out, all that they hold.
_AS_LITTLE_AS_POSSIBLE = ("--filter=tree:0", "--filter=blob:none", "--no-filter")


def prove_reachable(wanted: Wanted, git: Git) -> None:
    """Prove that the ref that the project names reaches the wanted commit.

    Args:
        wanted: the commit, and the ref.
        git: for a folder with a new repository, which is of no use for anything else afterwards.

    Raises:
        PrepareError: it does not, or there is no such ref.
        CommandError: nobody can tell.
    """
    found = find_ref(git, wanted.url, wanted.reachable_from)
    if found is None:
        raise PrepareError(
            f"{wanted}: spec.source.git.ref of the DbtProject, {wanted.reachable_from}, is no "
            "branch or tag of the repository, so nothing proves that the commit is one of the "
            "project's: name a branch or a tag there"
        )
    commit = wanted.commit or wanted.ref
    say(f"fetching the history of {found.name}, which has to reach commit {commit}")
    _fetch_history(wanted, git, found.name)
    if not _is_reached(git, commit):
        raise PrepareError(
            f"{wanted}: {found.name}, which the DbtProject names in spec.source.git.ref, does not "
            "reach this commit, and the target is protected: merge it there, or run a commit that "
            "is"
        )


def _fetch_history(wanted: Wanted, git: Git, name: str) -> None:
    for number, kept in enumerate(_AS_LITTLE_AS_POSSIBLE, start=1):
        try:
            git.fetch(kept, "--", wanted.url, f"+{name}:{_NAMED}")
        except CommandError as error:
            if error.cause or number == len(_AS_LITTLE_AS_POSSIBLE):
                raise
            say(f"the server does not serve that ({error.said})")
        else:
            return


def _is_reached(git: Git, commit: str) -> bool:
    if not git.has(commit):
        return False
    beyond = git.local("rev-list", "--max-count=1", commit, "--not", _NAMED)
    return not beyond.strip()
