"""Gets the public projects by commit, and puts each together with its packages as paths, so that
nobody asks a hub.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.cluster.progress import run, say
from tests.cluster.state import CACHE
from tests.public.table import PACKAGES, REPOSITORY, PublicProject, Repository

_CHECKOUTS = CACHE / "public"
_PUBLIC = "https://github.com/"
_DECLARATIONS = ("packages.yml", "dependencies.yml", "package-lock.yml")
# Pages and pictures, which some have many of. A package's descriptions may be anywhere else.
_OF_NO_USE = ("/docs/", "/images/", "/static/", "/.github/")


def check_out(repository: Repository, mirror: str, left_out: Sequence[str] = ()) -> Path:
    """A folder with a repository's files at its commit; it is fetched once.

    Args:
        repository: what is fetched.
        mirror: what stands in its address for the public host; empty: nothing.
        left_out: files that are not fetched, beside what is never of use.
    """
    found = _CHECKOUTS / f"{Path(repository.address).stem}-{repository.commit[:12]}"
    if found.exists():
        return found
    say(f"fetching {repository.address} at {repository.commit[:12]}")
    _CHECKOUTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CHECKOUTS, prefix="unfinished-") as name:
        folder = Path(name, "checkout")
        git = ["git", "-C", str(folder)]
        run(["git", "init", "--quiet", str(folder)])
        if mirror:
            run([*git, "config", f"url.{mirror}.insteadOf", _PUBLIC])
        run([*git, "remote", "add", "origin", repository.address])
        patterns = ["/*", *(f"!{path}" for path in (*_OF_NO_USE, *left_out))]
        run([*git, "sparse-checkout", "set", "--no-cone", *patterns])
        fetch = ["fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin"]
        run([*git, *fetch, repository.commit])
        run([*git, "checkout", "--quiet", "FETCH_HEAD"])
        shutil.rmtree(folder / ".git")
        folder.rename(found)
    return found


def find_project(project: PublicProject) -> Path:
    """Where dbt's project is in what :func:`put_together` makes."""
    return Path(REPOSITORY, project.sub_path)


def put_together(project: PublicProject, mirror: str, to: Path) -> None:
    """Copy a project and its packages into a folder.

    Packages are named by paths, all by the project itself, and none by another package.
    """
    found = check_out(project.repository, mirror, project.left_out)
    shutil.copytree(found, to / REPOSITORY, symlinks=True)
    for name, repository in project.packages.items():
        shutil.copytree(check_out(repository, mirror), to / PACKAGES / name, symlinks=True)
    for name in _DECLARATIONS:
        for path in list(to.rglob(name)):
            path.unlink()
    if project.patch:
        project.patch(to / REPOSITORY)
    inner = find_project(project)
    up = Path(*[".."] * len(inner.parts))
    paths = [*project.inside, *(str(up / PACKAGES / name) for name in project.packages)]
    declared = {"packages": [{"local": path} for path in paths]}
    (to / inner / "packages.yml").write_text(yaml.safe_dump(declared))
