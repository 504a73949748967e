"""Parts of pages that are made from code: ``<!-- begin NAME -->`` to ``<!-- end NAME -->``.

What stands there is compared with the code, and written anew with WRITE_GOLDEN=1.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def check_part(page: Path, part: str, rows: Iterable[str], header: Iterable[str] = ()) -> None:
    """Check that a part of a page holds these rows, below its header: the one that is given, or the
    one that stands there.
    """
    begin, end = f"<!-- begin {part} -->\n", f"<!-- end {part} -->"
    before, _, rest = page.read_text().partition(begin)
    told, _, after = rest.partition(end)
    head = "".join(f"{line}\n" for line in header) or _find_head(told)
    table = "".join(f"{row}\n" for row in rows)
    if os.environ.get("WRITE_GOLDEN"):
        page.write_text(before + begin + head + table + end + after)
    assert f"{begin}{head}{table}{end}" in page.read_text()


def _find_head(told: str) -> str:
    """The header of a table: its first two lines."""
    lines = told.splitlines(keepends=True)
    return "".join(lines[:2]) if lines[:1] and lines[0].startswith("| ") else ""
