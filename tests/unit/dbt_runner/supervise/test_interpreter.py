"""Which Python is started, whatever kind of program ``dbt`` is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dbt_runner.supervise.interpreter import (
    InterpreterError,
    find_entry_point,
    find_interpreter,
)
from tests.support.pods import BIN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"#!{BIN}/python3.11\n", f"{BIN}/python3.11"),
        (f"#!{BIN}/python -E\n", f"{BIN}/python"),
        (f"#!/bin/sh\n'''exec' \"{BIN}/python\" \"$0\" \"$@\"\n' '''\n", f"{BIN}/python"),
        ("#!/usr/bin/env python\n", "{folder}/python"),
        ("#!/usr/bin/env -S python -E\n", "{folder}/python"),
    ],
)
def test_the_interpreter_is_that_of_the_dbt_command(
    tmp_path: Path, text: str, expected: str
) -> None:
    for name, content in (("dbt", text), ("python", "")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    assert find_interpreter(str(tmp_path)) == expected.format(folder=tmp_path)


def test_without_a_dbt_command_this_interpreter_has_to_do(tmp_path: Path) -> None:
    assert find_interpreter(str(tmp_path)) == sys.executable


def test_a_dbt_that_is_no_python_program_is_run_by_its_command_or_refused(tmp_path: Path) -> None:
    (tmp_path / "dbt").write_bytes(b"\x7fELF\x02\x01\xff")
    (tmp_path / "dbt").chmod(0o755)
    with pytest.raises(InterpreterError, match="Fusion"):
        find_interpreter(str(tmp_path))
    for isolation in ("Fork", "Process"):
        with pytest.raises(InterpreterError, match="Fusion"):
            find_entry_point(str(tmp_path), isolation)
    assert find_entry_point(str(tmp_path), "Auto") == (sys.executable, "command")


@pytest.mark.parametrize(
    ("isolation", "expected"),
    [("Auto", "zygote"), ("Fork", "zygote"), ("Process", "zygote"), ("Command", "command")],
)
def test_a_dbt_that_is_a_python_program_is_imported_unless_its_command_is_asked_for(
    isolation: str, expected: str
) -> None:
    assert find_entry_point(BIN, isolation)[1] == expected
