"""Which batches of a microbatch model are done, if only some of them have failed.

As in ``dbt retry``, from which the rule is: only where some batch was built, since the others then
go on with the table that is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dbt_runner.artifact_files import RUN_RESULTS
from dbt_runner.json_files import read_results
from dbt_runner.layout import Layout
from dbt_runner.outcome.step_outcome import Result

_PARTIAL = "partial success"


def find_batches(layout: Layout, earlier: Iterable[Result]) -> dict[str, Any]:
    """The ``batch_results`` of dbt's rows of an earlier attempt, by the unique ID of the node.

    Args:
        layout: of the run.
        earlier: the results of that attempt.
    """
    partial = {result.unique_id for result in earlier if result.status == _PARTIAL}
    if not partial:
        return {}
    rows = (read_results(layout.previous / RUN_RESULTS) or {}).get("results", ())
    found = {row["unique_id"]: row.get("batch_results") for row in rows if _is_partial(row)}
    return {
        node: batches for node, batches in found.items() if node in partial and _is_whole(batches)
    }


def _is_partial(row: dict[str, Any]) -> bool:
    return row.get("status") == _PARTIAL


def _is_whole(batches: Any) -> bool:
    """Whether it tells of batches that are done, and of others."""
    return isinstance(batches, dict) and all(
        isinstance(batches.get(key), list) and batches[key] and all(map(_is_batch, batches[key]))
        for key in ("successful", "failed")
    )


def _is_batch(batch: Any) -> bool:
    is_pair = isinstance(batch, list) and len(batch) == 2
    return is_pair and all(isinstance(end, str) for end in batch)
