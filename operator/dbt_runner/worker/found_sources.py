"""Lets a step see how old the sources are, which a step before it has found out."""

from __future__ import annotations

from collections.abc import Sequence

from dbt_protocol.plans import Step
from dbt_runner.artifact_files import FRESHNESS, SOURCES
from dbt_runner.layout import Layout
from dbt_runner.volume import copy_plain


def hand_over_sources(layout: Layout, steps: Sequence[Step], number: int) -> None:
    """Put what the last sourceFreshness step before this one has found into its target path, where
    dbt looks for it upon ``source_status:``.

    It is a copy, and is taken away again before the step's folder is handed over.
    """
    step = steps[number]
    if step.command == FRESHNESS:
        return  # it leaves one of its own
    for earlier in reversed(steps[:number]):
        found = layout.found_sources(earlier.name)
        if copy_plain(found, layout.work / step.name / SOURCES):
            return
