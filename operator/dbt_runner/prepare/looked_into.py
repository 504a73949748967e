"""Where dbt looks in a checkout: also where links lead."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from dbt_runner.local_packages import list_project_folders
from dbt_runner.prepare.fingerprint import list_files


def list_looked_into(checkout: Path, sub_path: str) -> Iterator[PurePosixPath]:
    """Where in a checkout dbt may look: the project, its local packages, and where their links
    lead.
    """
    whole = Path(os.path.realpath(checkout))
    for folder in list_project_folders(checkout, checkout / sub_path):
        links = (path for path in _list_entries(folder) if path.is_symlink())
        for path in (folder, *links):
            to = Path(os.path.realpath(path))
            if whole in (to, *to.parents):
                yield PurePosixPath(to.relative_to(whole).as_posix())


def _list_entries(folder: Path) -> Iterable[Path]:
    return list_files(folder) if folder.is_dir() else ()
