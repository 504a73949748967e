"""What a real DuckDB raises, and what it means."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from dbt_runner.outcome.ending_kinds import NO, YES
from dbt_runner.outcome.meanings import find_ending
from dbt_runner.worker.invocation.client_errors import describe_error

# It keeps the file open until it is told to end.
HOLDER = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(flush=True); sys.stdin.read()"


def change_both(path: Path) -> None:
    with duckdb.connect(str(path)) as one:
        one.execute("create table a as select 1 as id")
        other = one.cursor()
        one.begin()
        other.begin()
        one.execute("update a set id = 2")
        other.execute("update a set id = 3")


def commit_nothing(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("commit")


def read_elsewhere(path: Path) -> None:
    with duckdb.connect(str(path), config={"enable_external_access": "false"}) as connection:
        connection.execute(f"select * from read_csv('{path}.csv')")  # noqa: S608


def need_memory(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("set memory_limit = '5MB'; set max_temp_directory_size = '0B'")
        connection.execute("select array_agg(i) from range(10000000) as t(i)")


def open_nothing(path: Path) -> None:
    duckdb.connect(str(path), read_only=True)


def open_what_another_holds(path: Path) -> None:
    argv = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        duckdb.connect(str(path))


def select_nothing(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("select * from connection_refused")


@pytest.mark.parametrize(
    ("work", "reason", "again"),
    [
        (change_both, "ModelError", YES),
        (commit_nothing, "ModelError", NO),
        (read_elsewhere, "ConfigError", NO),
        (need_memory, "ModelError", NO),
        (open_nothing, "ModelError", NO),
        (open_what_another_holds, "Unavailable", YES),
        (select_nothing, "ModelError", NO),
    ],
)
def test_what_it_raises_means(
    tmp_path: Path, work: Callable[[Path], None], reason: str, again: str
) -> None:
    with pytest.raises(duckdb.Error) as error:
        work(tmp_path / "a.duckdb")
    found = find_ending(describe_error(error.value), logged_in=False)
    assert (found.reason, found.again) == (reason, again), error.value
