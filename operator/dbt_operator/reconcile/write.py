"""How a status is written: as a merge patch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What turns ``old`` into ``new`` as a JSON merge patch (RFC 7386); empty when nothing does."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        if isinstance(value, Mapping) and isinstance(old.get(name), Mapping):
            if inner := merge_patch(old[name], value):
                patch[name] = inner
        elif name not in old or old[name] != value:
            patch[name] = value
    return patch
