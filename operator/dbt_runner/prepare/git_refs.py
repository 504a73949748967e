"""Looks up what a ref is at the server."""

from __future__ import annotations

from dataclasses import dataclass

from dbt_runner.prepare.git_command import Git


@dataclass(frozen=True)
class Ref:
    """A ref of the remote repository."""

    name: str  # in full, for example refs/heads/main
    commit: str  # that it leads to


def find_ref(git: Git, url: str, ref: str) -> Ref | None:
    """Ask the server for a branch, a tag or a ref's full name; None if there is none.

    Args:
        git: asks.
        url: of the repository.
        ref: empty, or HEAD: what the remote's HEAD is.

    Raises:
        CommandError: the server did not answer.
    """
    names = _list_names(ref)
    told = git.remote("ls-remote", "--", url, *names, seconds=git.limits.answer_seconds)
    found = {
        name: commit for commit, _, name in (line.partition("\t") for line in told.splitlines())
    }
    for name in names:
        if name in found:
            return Ref(name.removesuffix("^{}"), found[name])
    return None


def _list_names(ref: str) -> list[str]:
    """The full names that a ref may have, the best first. A tag's peeled name is that of the commit
    it points to.
    """
    if not ref or ref == "HEAD":
        return ["HEAD"]
    names = [ref] if ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
    return [name for full in names for name in (f"{full}^{{}}", full)]
