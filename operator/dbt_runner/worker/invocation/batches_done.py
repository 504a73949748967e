"""Takes batches that are done out of what dbt runs of microbatch models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def leaving_out_batches(known: Mapping[str, Any]) -> Iterator[None]:
    """Have only those batches run that have failed, as ``dbt retry`` does.

    Not of models that are built anew from the first batch on: what the others have left would be
    lost.

    Args:
        known: dbt's ``batch_results`` of an attempt before, by the unique ID of the model.
    """
    from dbt.artifacts.schemas.batch_results import BatchResults
    from dbt.task.run import RunTask

    original = RunTask.populate_microbatch_batches

    def populate(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.batch_map = {
            node: BatchResults.from_dict(batches)
            for node, batches in known.items()
            if not _is_built_anew(self, node)
        }
        return original(self, *args, **kwargs)

    if known:
        RunTask.populate_microbatch_batches = populate
    try:
        yield
    finally:
        RunTask.populate_microbatch_batches = original


def _is_built_anew(task: Any, node: str) -> bool:
    """Whether this is a full refresh of a node."""
    own = getattr(getattr(task.manifest.nodes.get(node), "config", None), "full_refresh", None)
    return bool(getattr(task.args, "FULL_REFRESH", False) if own is None else own)
