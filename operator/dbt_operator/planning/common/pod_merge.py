"""What a run sets on its pods, over what its project sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from dbt_operator.api.parts.pod import Pod, RunPod


def merge_pod(project: Pod | None, run: RunPod | None) -> Pod | None:
    """The run's wins: maps are merged key by key, everything else is replaced."""
    if project is None and run is None:
        return None
    return Pod.model_validate(
        _merge(project.to_dict() if project else {}, run.to_dict() if run else {})
    )


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            merged[key] = _merge(under, value)
        else:
            merged[key] = value
    return merged


def find_overflow(project: Pod | None, run: RunPod | None, of: str, path: str = "spec.pod") -> str:
    """What is more, taken together, than a pod may have, with the remedy; empty if nothing is.

    Args:
        project: what the project sets.
        run: what the run sets.
        of: the DbtProject's name.
        path: of what the run sets.
    """
    try:
        merge_pod(project, run)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([path, *map(str, first["loc"])])
        return (
            f"{where} is too much with what the DbtProject {of} sets beside it ({first['msg']}):"
            " leave some of it out"
        )
    return ""
