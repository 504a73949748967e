"""Where the sidecar and the process that runs dbt hand the parse cache to each other."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from dbt_runner.layout import Layout
from dbt_runner.volume import Volume

NAME = "parse.zip"
READY = ".ready"


def restored(layout: Layout) -> Path:
    """Where the sidecar puts what it has fetched."""
    return layout.cache / NAME


def stored(layout: Layout) -> Path:
    """Where the sidecar finds what it is to store."""
    return layout.new_cache / NAME


def announce(layout: Layout) -> None:
    """Say that there is nothing more to wait for."""
    with suppress(OSError), Volume(layout.shared).replacing(layout.cache / READY):
        pass
