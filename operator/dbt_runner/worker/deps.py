"""When and how ``dbt deps`` runs before the first step. The installation itself is dbt's, and so
are its sources.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from dbt_protocol.flag_variables import overrule
from dbt_runner.local_packages import list_project_folders
from dbt_runner.project_words import read_text

LOCK_FILE = "package-lock.yml"
DECLARATIONS = ("packages.yml", "dependencies.yml")
_PASSED_ON = ("--vars",)  # packages.yml may use them


def declares_packages(project: Path) -> bool:
    """Whether the project names any packages: without any, dbt deps would only make an empty
    folder.
    """
    import yaml  # dbt's

    for name in DECLARATIONS:
        try:
            found = yaml.safe_load((project / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, yaml.YAMLError):
            return True  # dbt will say what is wrong with it
        if isinstance(found, dict) and found.get("packages"):
            return True
    return False


def read_declarations(project: Path) -> str:
    """The text of what the project says of packages."""
    files = (project / name for name in (*DECLARATIONS, LOCK_FILE))
    return "\n".join(read_text(path) for path in files)


def lacks_packages(exception: Sequence[str]) -> bool:
    """Whether dbt has failed because fewer packages are installed than are declared.

    Args:
        exception: the names of the exception's class and of its bases.
    """
    return "UninstalledPackagesFoundError" in exception


def must_install_unread(project: Path, when: str) -> bool:
    """Whether ``dbt deps`` runs where nobody but dbt can read the declarations: rather once too
    often.
    """
    declared = any((project / name).is_file() for name in DECLARATIONS)
    return declared and (
        when == "Always" or (when == "IfMissing" and not (project / "dbt_packages").is_dir())
    )


def make_command(step: Sequence[str]) -> list[str]:
    """The command line of ``dbt deps`` for a run that begins with this one."""
    passed: list[str] = []
    for at, word in enumerate(step[:-1]):
        if word in _PASSED_ON:
            passed += [word, step[at + 1]]
    return ["deps", *passed]


def explain_failure(exit_code: int, said: str) -> str:
    """The message about a ``dbt deps`` that has failed."""
    return f"dbt deps ended with exit code {exit_code}: {said or 'its log says no more'}"


def enter_project(project: str) -> None:
    """Have dbt take this folder for the project from here on."""
    overrule(os.environ, DBT_PROJECT_DIR=project)
    os.chdir(project)


def make_writable(project: Path, to: Path) -> Path:
    """A folder with the project in which dbt can write: this one, or else a copy.

    Packages go into the project's folder, and so does their lock file. A project that is baked into
    an image is on a root filesystem that is read-only, and belongs to root as a rule. Times are
    kept: partial parsing looks at them.

    Packages that are named by paths may be beside the project or above it. From the copy, these
    paths lead to the same files.
    """
    if os.access(project, os.W_OK):
        return project
    real = Path(os.path.realpath(project))
    top = _find_top(real)
    copy = to / real.relative_to(top)
    _link_surroundings(top, to, real)
    shutil.copytree(
        real, copy, symlinks=True, ignore=shutil.ignore_patterns(".git"), dirs_exist_ok=True
    )
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o200)
    return copy


def _find_top(project: Path) -> Path:
    """The folder that holds the project and every package that it names by a path."""
    folders = list_project_folders(Path(project.anchor), project)
    return Path(os.path.commonpath([project, *(path for path in folders if path.is_dir())]))


def _link_surroundings(top: Path, to: Path, project: Path) -> None:
    """Have everything between a folder and the project, which is below it, in another folder as
    well.
    """
    for part in project.relative_to(top).parts:
        to.mkdir(parents=True, exist_ok=True)
        for path in top.iterdir():
            if path.name not in {part, ".git"}:
                (to / path.name).symlink_to(path)
        top, to = top / part, to / part
