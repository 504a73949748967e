"""Who may look into the processes that have the bucket's keys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pods import HOME

PROGRAM = """
import ctypes, sys
from dbt_runner.__main__ import main
main([sys.argv[1], "--root", sys.argv[2]])
print("dumpable", ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


@pytest.mark.parametrize(("command", "dumpable"), [("prepare", 0), ("artifacts", 0), ("run", 1)])
def test_those_with_the_buckets_keys_are_closed_to_the_projects_code(
    tmp_path: Path, command: str, dumpable: int
) -> None:
    (tmp_path / "dev").mkdir()
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, command, str(tmp_path)],
        env={"PYTHONPATH": HOME},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.splitlines()[-1] == f"dumpable {dumpable}"
