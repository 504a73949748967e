"""The folders of a repository that a project is made of: its own, and those of local packages; and
where links in them lead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from dbt_runner.prepare.fingerprint import list_files
from dbt_runner.project_words import read_text

_DECLARATIONS = ("packages.yml", "dependencies.yml")
# There is no YAML parser here. A path that is put together by Jinja is not found.
_LOCAL = re.compile(r"""\blocal["']?[ \t]*:[ \t]*["']?(?P<path>[^\s"',}#]+)""")


def list_project_folders(checkout: Path, project: Path) -> Iterator[Path]:
    """The project's folder, and those of packages that it names by a path, and of theirs, as far as
    they are in the checkout.
    """
    whole = os.path.realpath(checkout)
    seen: set[str] = set()
    waiting = [project]
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        is_inside = real == whole or real.startswith(f"{whole}/")
        if real in seen or not is_inside:
            continue
        seen.add(real)
        yield checkout / os.path.relpath(real, whole)
        for name in _DECLARATIONS:
            for found in _LOCAL.finditer(read_text(folder / name)):
                # dbt takes all of these paths as those of the project itself.
                waiting += [project / found["path"], folder / found["path"]]


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
