"""The archive of a step's SQL."""

from __future__ import annotations

import tarfile
from pathlib import Path

from dbt_runner.artifact_files import ARCHIVE


def read_archive(step: Path) -> dict[str, str]:
    """The texts in it, by their names. Names may have any bytes."""
    with tarfile.open(step / ARCHIVE) as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        return {name: file.read().decode() for name, file in files.items() if file is not None}
