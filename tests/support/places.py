"""Where things are in the repository, for tests that read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
OPERATOR = ROOT / "operator"
TESTS = ROOT / "tests"
IN_PODS = ("dbt_protocol", "dbt_runner")  # packages


def modules(root: Path) -> Iterator[Path]:
    """Every module below a folder, in an order that stays the same."""
    yield from sorted(root.rglob("*.py"))


def dotted(path: Path, root: Path = OPERATOR) -> str:
    """The name by which a module is imported."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
