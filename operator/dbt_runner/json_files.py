"""JSON files that are complete or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dbt_protocol.json_input import parse_json
from dbt_runner.volume import LARGEST_FILE, open_plain, write_whole


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that is complete or not there."""
    write_whole(path, json.dumps(content, indent=1, ensure_ascii=False).encode("utf-8", "replace"))


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is none that can be read, or nothing but a plain file of a
    size that can be read.
    """
    try:
        with open_plain(path) as file:
            data = parse_json(file.read(LARGEST_FILE).decode())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def read_results(path: Path) -> dict[str, Any] | None:
    """A run_results.json or sources.json; None where there is none of the shape that dbt gives it:
    the project's code can have written it, too.
    """
    document = read_json(path)
    if document is None or not isinstance(document.get("metadata"), dict):
        return None
    rows = document.get("results")
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        return None
    return document


def _is_row(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("unique_id"), str)
