"""Puts the runner and the folders that the containers share where they are expected."""

from __future__ import annotations

import os
import shutil

from dbt_runner.layout import Layout
from dbt_runner.prepare.project_folder import make_folder


def place(layout: Layout) -> None:
    """Make the folders and copy the runner. It may be done twice, even at once: the runner is there
    whole or not at all.
    """
    for folder in (layout.shared, layout.work, layout.artifacts, layout.cache, layout.new_cache):
        make_folder(folder)
    copy = layout.runner.with_name(f".{layout.runner.name}.{os.getpid()}")
    shutil.copyfile(layout.bundled_runner, copy)
    copy.chmod(0o644)
    copy.rename(layout.runner)
