"""The files that a manifest was parsed from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def list_files(manifest: Any) -> Iterator[Path]:
    """The files that the project and its packages were parsed from; dbt's own and the adapter's are
    left out.
    """
    for file in manifest.files.values():
        if file.project_name not in _built_in():
            yield Path(file.path.absolute_path)


def _built_in() -> set[str]:
    from dbt.adapters.factory import FACTORY

    return set(FACTORY.packages)
