"""The folders that a project is made of: its own, and those of packages that it names by paths."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from dbt_runner.project_words import read_text

_DECLARATIONS = ("packages.yml", "dependencies.yml")
# There is no YAML parser here. A path that is put together by Jinja is not found.
_LOCAL = re.compile(r"""\blocal["']?[ \t]*:[ \t]*["']?(?P<path>[^\s"',}#]+)""")


def list_project_folders(checkout: Path, project: Path) -> Iterator[Path]:
    """The project's folder, and those of packages that it names by a path, and of theirs, as far as
    they are in the checkout.

    Args:
        checkout: the folder that they are in; the root of all takes them wherever they are.
        project: the project's folder.
    """
    whole = os.path.realpath(checkout)
    seen: set[str] = set()
    waiting = [project]
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real in seen or os.path.commonpath([whole, real]) != whole:
            continue
        seen.add(real)
        yield checkout / os.path.relpath(real, whole)
        for name in _DECLARATIONS:
            for found in _LOCAL.finditer(read_text(folder / name)):
                # dbt takes all of these paths as those of the project itself.
                waiting += [project / found["path"], folder / found["path"]]
