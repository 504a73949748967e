"""The project's folder, and what is said when none comes of it."""

from __future__ import annotations

from pathlib import Path

PROJECT_FILE = "dbt_project.yml"


class PrepareError(Exception):
    """The project cannot be prepared; the message says what is wrong with its source and what to
    do.
    """


def make_folder(folder: Path) -> None:
    """Make a folder that all containers of the pod may write to, unless it is there."""
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)  # it may be made by somebody else meanwhile
        folder.chmod(0o2775)  # what is made in it belongs to the group, too
