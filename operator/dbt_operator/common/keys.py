"""What is reconciled."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """An object of ours, by its name."""

    kind: str
    namespace: str
    name: str
