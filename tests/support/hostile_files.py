"""Files and folders that nobody leaves by accident."""

from __future__ import annotations

import os
from pathlib import Path

from dbt_runner.volume import remove_folder
from tests.support.pods import end_later


def make_nested(path: Path, depth: int) -> None:
    """Make a folder with so many others in one another, for as long as the test lasts: whoever
    removes it in the usual way ends with a RecursionError.
    """
    end_later(lambda: remove_folder(path))
    path.mkdir(parents=True)
    descriptor = os.open(path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
