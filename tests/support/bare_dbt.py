"""dbt's own command lines, one after another, as a shell starts them: what the product's runs are
compared with.

dbt is imported once, which takes seconds of a processor, and each command line has a process that
is forked from that one; where there is a program of dbt's alone, that is what it becomes. This file
is also a program of its own, of the standard library and dbt alone: :func:`bare_dbt` starts it with
the Python of the dbt that is tested, and Jobs of the e2e suite with that of an image. With -I, so
that its folder is no place to import from: dbt would take modules of ours whose names begin as its
own plugins' do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_MARK = "TOLD\t"
_FILES = ("run_results.json", "sources.json", "manifest.json", "catalog.json")


@dataclass(frozen=True)
class Order:
    """A command line of dbt, and where it is given."""

    name: str
    argv: list[str]
    folder: str
    env: dict[str, str] = field(default_factory=dict)
    archive: str = ""  # with the files of the folder, which is made of it where it is not there

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


@dataclass(frozen=True)
class Bare:
    """What has become of a command line."""

    name: str
    code: int
    statuses: dict[str, str]
    log: str


class BareDbt:
    """Use :func:`bare_dbt`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, order: Order) -> Bare:
        """Run a command line; what it has left is in ``kept/<name>`` of its folder."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(order.to_line())
        self._process.stdin.flush()
        (found,) = read_told(self._process.stdout.readline())
        return found


@contextmanager
def bare_dbt(python: str, env: Mapping[str, str]) -> Iterator[BareDbt]:
    """The dbt of a Python."""
    with subprocess.Popen(
        [python, "-I", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(env),
    ) as process:
        yield BareDbt(process)  # it ends when it is asked for nothing any more


def read_told(output: str) -> list[Bare]:
    """What the program has printed."""
    lines = (line.partition(_MARK) for line in output.splitlines())
    return [Bare(**json.loads(text)) for _, mark, text in lines if mark]


def read_statuses(folder: Path) -> dict[str, str]:
    """How each node ended, by the artifacts of a command."""
    found: dict[str, str] = {}
    for name in ("run_results.json", "sources.json"):
        if (folder / name).exists():
            rows = json.loads((folder / name).read_text(encoding="utf-8"))["results"]
            found.update({row["unique_id"]: row["status"] for row in rows})
    return found


def _main() -> None:
    try:
        from dbt.cli.main import cli  # noqa: PLC0415 -- whoever imports this module need not have it
    except ImportError:  # of dbt 2
        cli = _become_program
    with Path(sys.argv[1]).open(encoding="utf-8") if sys.argv[1:] else sys.stdin as orders:
        for line in orders:
            found = _run(Order(**json.loads(line)), cli)
            print(_MARK + json.dumps(asdict(found)), flush=True)


def _become_program() -> None:
    os.execvp("dbt", sys.argv)  # noqa: S606 -- the one that is to be tested


def _run(order: Order, cli: Any) -> Bare:
    """Run one in a process of its own, and keep what it leaves, as the next one overwrites it."""
    if order.archive and not Path(order.folder).exists():
        with tarfile.open(order.archive) as archive:
            archive.extractall(order.folder)  # noqa: S202 -- our own, and old Pythons know no filter
    target, kept = Path(order.folder, "target"), Path(order.folder, "kept", order.name)
    kept.mkdir(parents=True, exist_ok=True)
    before = _read_times(target)
    pid = os.fork()
    if pid == 0:
        _become_dbt(order, cli, kept / "log")
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    for name, written in _read_times(target).items():
        (kept / name).unlink(missing_ok=True)
        if written != before[name]:
            (kept / name).write_bytes((target / name).read_bytes())
    log = (kept / "log").read_text(encoding="utf-8", errors="replace")
    return Bare(order.name, code, read_statuses(kept), log[-4000:])


def _read_times(target: Path) -> dict[str, int]:
    """When the artifacts were written; they stay where they are, as `dbt retry` reads them."""
    paths = {name: target / name for name in _FILES}
    return {name: path.stat().st_mtime_ns if path.exists() else 0 for name, path in paths.items()}


def _become_dbt(order: Order, cli: Any, log: Path) -> None:
    """What the console script does, and nothing of this program after it."""
    code: object = 70
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(order.folder)
        os.environ.update(order.env)
        sys.argv = ["dbt", *order.argv]
        cli()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 -- nothing of the parent may go on in here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    _main()
