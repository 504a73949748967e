"""Would a model drop what this run does not build again?

``full_refresh: true`` in a model's config does what ``--full-refresh`` does, which the API refuses
for windows and for an event time: in each window the model would be built anew from that window
alone, and all is green while only the last one is left. It is looked for in what dbt has parsed,
before the first statement is sent.

The functions take dbt's manifest and nodes, of which they read a few long-standing attributes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dbt_protocol.plans import Step

# These keep no rows of an earlier run, with or without a full refresh. Seeds, which are loaded
# whole, are no models.
_REBUILT = frozenset({"table", "view", "ephemeral", "materialized_view"})
_SHOWN = 3


def would_matter(step: Step, *, windows: bool) -> bool:
    """Whether a step builds a part of what its models hold."""
    return windows or _has_event_time(step)


def find_losing(manifest: Any, step: Step, *, windows: bool) -> list[str]:
    """The unique IDs of the models that would lose rows, whether the step selects them or not.

    Args:
        manifest: dbt's.
        step: the step; an event time is about microbatch models only.
        windows: the step is run for each of several windows.
    """
    if not would_matter(step, windows=windows):
        return []
    return [node.unique_id for node in _refreshed(manifest) if windows or _is_microbatch(node)]


def _refreshed(manifest: Any) -> Iterator[Any]:
    for node in manifest.nodes.values():
        kind = str(getattr(node.resource_type, "value", node.resource_type))
        if kind != "model" or getattr(node.config, "materialized", None) in _REBUILT:
            continue
        if getattr(node.config, "full_refresh", None):
            yield node


def _is_microbatch(node: Any) -> bool:
    return getattr(node.config, "incremental_strategy", None) == "microbatch"


def _has_event_time(step: Step) -> bool:
    return any(word.split("=")[0] == "--event-time-start" for word in step.argv)


def complaint(losing: Sequence[str]) -> str:
    """The message about selected models that would lose rows."""
    more = f" and {len(losing) - _SHOWN} more" if len(losing) > _SHOWN else ""
    named = ", ".join(losing[:_SHOWN]) + more
    return (
        f"nothing was sent to the warehouse: {named} would be built anew from one window alone,"
        " since its config says full_refresh: true, and lose all that other windows have built: "
        "remove"
        " full_refresh from the config"
    )
