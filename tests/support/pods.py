"""A pod's file system in a temporary folder, and the runner started in it as the dbt container
starts it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dbt_runner
from dbt_protocol.plans import RunPlan, Step
from dbt_protocol.summaries import Progress, Summary
from dbt_runner.layout import Layout
from tests.support.kube import PATIENCE, wait_for
from tests.support.runner_nursery import ForkedRunner, Nursery, nursery

HOME = str(Path(dbt_runner.__file__).parent.parent)
# The folder of the dbt that is tested, and of its Python, and its minor version; see
# tests/dbt_versions.py for others.
BIN = os.environ.get("DBT_BIN") or str(Path(sys.executable).parent)
VERSION = os.environ.get("DBT_VERSION", "1.11") + "."
NEWEST = "1.13."  # of those with a Python API
Process = subprocess.Popen[str] | ForkedRunner
_started: list[tuple[Path, Process]] = []  # with the roots of their pods
_nurseries: list[Nursery] = []  # one at most, once it is wanted
_at_the_end = ExitStack()
_ends: list[Callable[[], object]] = []
may_start_dbt = False  # whether the test that runs is marked as one that does


@dataclass
class Ended:
    """What is left of a container."""

    layout: Layout
    code: int
    log: str

    @property
    def summary(self) -> Summary:
        return Summary.from_json((Path(self.layout.root) / "dev/termination-log").read_text())

    @property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.layout.result.read_text())
        return found

    @property
    def last_line(self) -> str:
        return self.log.rstrip().splitlines()[-1]

    def step(self, name: str) -> dict[str, Any]:
        return next(step for step in self.result["steps"] if step["name"] == name)

    def artifact(self, path: str) -> Any:
        return json.loads((self.layout.artifacts / path).read_text())


@dataclass
class Pod:
    """A pod with a project on DuckDB. Files of the project and the profile are written as they are
    given.
    """

    root: Path
    files: dict[str, str]
    profiles: str = ""
    env: dict[str, str] = field(default_factory=dict)
    prefix: Sequence[str] = ()  # what the runner is started by
    fresh: bool = False  # dbt is to be imported in this pod's environment

    def __post_init__(self) -> None:
        self.layout = Layout(str(self.root))
        self.database = self.root / "warehouse.duckdb"
        (self.root / "dev").mkdir(parents=True)
        for folder in (
            self.layout.work,
            self.layout.artifacts,
            self.layout.profiles,
            self.layout.project,
        ):
            folder.mkdir(parents=True)
        profiles = self.profiles or profile(self.database)
        (self.layout.profiles / "profiles.yml").write_text(profiles)
        for name, text in {"dbt_project.yml": PROJECT, **self.files}.items():
            path = self.layout.project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def plan(self, *steps: Step, **other: Any) -> RunPlan:
        fields: dict[str, Any] = {
            "namespace": "analytics",
            "run": "nightly",
            "run_uid": "uid-1",
            "attempt": 1,
        }
        fields.update(project_dir=str(self.layout.project), target="prod", steps=list(steps))
        return RunPlan(**{**fields, **other})

    def start(self, *steps: Step, **other: Any) -> Process:
        assert may_start_dbt or "PATH" in self.env, "mark the test: dbt, dbt_in_full, or one_dbt"
        env = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": HOME,
            "HOME": str(self.root),
            **self.env,
            "DBT_OPERATOR_PLAN": self.plan(*steps, **other).to_json(),
        }
        arguments = ["run", "--root", str(self.root)]
        process: Process
        if self.fresh or self.prefix or "PATH" in self.env:
            process = subprocess.Popen(
                [*self.prefix, f"{BIN}/python", "-m", "dbt_runner", *arguments],
                env=env,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        else:
            process = _get_nursery().start(arguments, env)
        _started.append((self.root, process))
        return process

    def finish(self, process: Process, log: str = "") -> Ended:
        assert process.stdout is not None
        hangs = threading.Event()

        def end_it() -> None:
            hangs.set()
            _kill_all(self.root, process)

        with _timer(end_it):
            log += process.stdout.read()
            code = process.wait()
        assert not hangs.is_set(), f"it hangs, and has said:\n{log}"
        return Ended(self.layout, code, log)

    def run(self, *steps: Step, **other: Any) -> Ended:
        return self.finish(self.start(*steps, **other))

    def watch(self, process: Process, until: Callable[[Progress], bool]) -> list[Progress]:
        """The progress as it changes, up to one that is as wanted."""
        seen: list[Progress] = []

        def look() -> bool:
            if self.layout.progress.exists():
                seen.append(Progress.from_json(self.layout.progress.read_text()))
            return bool(seen) and until(seen[-1])

        wait_for("the progress that was wanted", lambda: look() or process.poll() is not None)
        if not look():
            raise AssertionError(self.finish(process).log)
        return seen

    def wait_for(self, process: Process, text: str) -> str:
        """Read the log up to a line that holds the text."""
        assert process.stdout is not None
        log = ""
        with _timer(process.kill):
            for line in process.stdout:
                log += line
                if text in line:
                    return log
        raise AssertionError(f"the log ended without {text!r}:\n{log}")


@contextmanager
def _timer(end_it: Callable[[], object]) -> Iterator[None]:
    """Against hanging."""
    timer = threading.Timer(PATIENCE, end_it)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def end_later(end: Callable[[], object]) -> None:
    """Have something ended with the test, however that ends."""
    _ends.append(end)


def end_all() -> None:
    """End what a test has started and what has not ended by then."""
    while _ends:
        with suppress(ProcessLookupError):
            _ends.pop()()
    while _started:
        root, process = _started.pop()
        _kill_all(root, process)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _kill_all(root: Path, process: Process) -> None:
    """Kill a runner and all that it has started.

    Those are in groups of their own, and what outlives the runner is nobody's child that we know.
    But what a nursery has forked stays below it, and the others have in their environment where the
    pod is.
    """
    find = _processes_of if isinstance(process, subprocess.Popen) else _processes_of_nursery
    while left := find(root):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _processes_of(root: Path) -> set[int]:
    """The processes that live in a pod; one that has ended and was not reaped has no
    environment.
    """
    found = set()
    for process in _list_processes():
        with suppress(OSError):
            if f"HOME={root}\0".encode() in (process / "environ").read_bytes():
                found.add(int(process.name))
    return found


def _processes_of_nursery(_: Path) -> set[int]:
    """All of them: no test has two pods at work."""
    found: set[int] = set()
    below = {each.pid for each in _nurseries}
    while below := {child for pid in below for child in children(pid)}:
        found |= below
    return found


def _get_nursery() -> Nursery:
    if not _nurseries:
        path = [HOME, str(Path(__file__).parent.parent.parent)]
        _nurseries.append(_at_the_end.enter_context(nursery(f"{BIN}/python", path)))
    return _nurseries[0]


def end_nursery() -> None:
    """End what runners are forked from, for the end of the session."""
    _at_the_end.close()
    _nurseries.clear()


def step(command: str, *argv: str, name: str = "", **other: Any) -> Step:
    words = {
        "sourceFreshness": ["source", "freshness"],
        "docs": ["docs", "generate"],
        "runOperation": ["run-operation"],
    }
    return Step(name or command, command, [*words.get(command, [command]), *argv], **other)


def profile(database: Path, credential: str = "''") -> str:
    """A profile whose other output holds the secret: DuckDB would have to download an extension in
    order to use it.
    """
    return f"""
shop:
  target: dev
  outputs:
    prod:
      type: duckdb
      path: "{database}"
      schema: analytics
      threads: 2
      settings: {{threads: 1}}  # of a query: one that never ends leaves the other tests a core
    dev:
      type: duckdb
      path: ":memory:"
      schema: dev
      secrets: [{{type: s3, key_id: someone, secret: {credential}}}]
"""


PROJECT = """
name: shop
version: "1.0"
profile: shop
"""


def children(pid: int) -> list[int]:
    """The processes whose parent this is."""
    found = []
    for process in _list_processes():
        with suppress(OSError):
            stat = (process / "stat").read_text()
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                found.append(int(process.name))
    return found


def _list_processes() -> list[Path]:
    """Where the kernel tells of each process, of which some may have ended by now: to look for what
    is in there would fail.
    """
    return [path for path in Path("/proc").iterdir() if path.name.isdigit()]


def wait_for_query(process: Process) -> None:
    """Wait until a query is worked on that dbt says it has started, if nothing else runs beside it.

    DuckDB interrupts what it is working on, not a query that is about to be sent, and dbt needs no
    second of work to send it.
    """
    before = _cpu_seconds(process.pid)
    wait_for("the query is worked on", lambda: _cpu_seconds(process.pid) > before + 1)


def _cpu_seconds(pid: int) -> float:
    """Of all descendants of a process."""
    total = 0.0
    for child in children(pid):
        with suppress(OSError):  # it has ended meanwhile
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / 100 + _cpu_seconds(child)
    return total


def _program(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def forked_child(supervisor: int) -> tuple[int, int]:
    """The zygote and the child that it has forked for the running step: one that runs the same
    program.
    """

    def look() -> tuple[int, int] | None:
        assert _is_alive(supervisor), "the runner has ended"
        for zygote in children(supervisor):
            for child in children(zygote):
                with suppress(OSError):  # it has ended meanwhile
                    if _program(child) == _program(zygote):
                        return zygote, child
        return None

    return wait_for("the process of a step", look)
