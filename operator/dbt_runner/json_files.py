"""JSON files that are complete or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dbt_protocol.json_input import parse_json


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that is complete or not there."""
    partial = path.with_name(f".{path.name}")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is none that can be read."""
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
