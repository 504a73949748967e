"""A pod's file system in a temporary folder, and the runner started in it as the dbt container starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dbt_runner
from dbt_runner.layout import Layout
from dbt_runner.protocol import Progress, RunPlan, Step, Summary
from tests.support.kube import wait_for

HOME = str(Path(dbt_runner.__file__).parent.parent)
# The folder of the dbt that is tested, and of its Python, and its minor version; see tests/dbt_versions.py for others.
BIN = os.environ.get("DBT_BIN") or str(Path(sys.executable).parent)
VERSION = os.environ.get("DBT_VERSION", "1.11") + "."
TIMEOUT = 120  # seconds after which a test is given up


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
        return json.loads(self.layout.result.read_text())

    @property
    def last_line(self) -> str:
        return self.log.rstrip().splitlines()[-1]

    def step(self, name: str) -> dict[str, Any]:
        return next(step for step in self.result["steps"] if step["name"] == name)

    def artifact(self, path: str) -> Any:
        return json.loads((self.layout.artifacts / path).read_text())


@dataclass
class Pod:
    """A pod with a project on DuckDB. Files of the project and the profile are written as they are given."""

    root: Path
    files: dict[str, str]
    profiles: str = ""
    env: dict[str, str] = field(default_factory=dict)
    prefix: Sequence[str] = ()  # what the runner is started by

    def __post_init__(self) -> None:
        self.layout = Layout(str(self.root))
        self.database = self.root / "warehouse.duckdb"
        (self.root / "dev").mkdir(parents=True)
        for folder in (self.layout.work, self.layout.artifacts, self.layout.profiles, self.layout.project):
            folder.mkdir(parents=True)
        profiles = self.profiles or profile(self.database)
        (self.layout.profiles / "profiles.yml").write_text(profiles)
        for name, text in {"dbt_project.yml": PROJECT, **self.files}.items():
            path = self.layout.project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def plan(self, *steps: Step, **other: Any) -> RunPlan:
        fields: dict[str, Any] = {"namespace": "analytics", "run": "nightly", "run_uid": "uid-1", "attempt": 1}
        fields.update(project_dir=str(self.layout.project), target="prod", steps=list(steps))
        return RunPlan(**{**fields, **other})

    def start(self, *steps: Step, **other: Any) -> subprocess.Popen[str]:
        env = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": HOME,
            "HOME": str(self.root),
            **self.env,
            "DBT_OPERATOR_PLAN": self.plan(*steps, **other).to_json(),
        }
        return subprocess.Popen(
            [*self.prefix, f"{BIN}/python", "-m", "dbt_runner", "run", "--root", str(self.root)],
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def finish(self, process: subprocess.Popen[str], log: str = "") -> Ended:
        rest, _ = process.communicate(timeout=TIMEOUT)
        return Ended(self.layout, process.returncode, log + rest)

    def run(self, *steps: Step, **other: Any) -> Ended:
        return self.finish(self.start(*steps, **other))

    def watch(self, process: subprocess.Popen[str], until: Callable[[Progress], bool]) -> list[Progress]:
        """The progress as it changes, up to one that is as wanted."""
        seen: list[Progress] = []

        def look() -> bool:
            if self.layout.progress.exists():
                seen.append(Progress.from_json(self.layout.progress.read_text()))
            return bool(seen) and until(seen[-1])

        try:
            wait_for("the progress that was wanted", look, TIMEOUT)
        except AssertionError:
            process.kill()
            raise AssertionError(self.finish(process).log) from None
        return seen

    def wait_for(self, process: subprocess.Popen[str], text: str) -> str:
        """Read the log up to a line that holds the text."""
        assert process.stdout is not None
        log = ""
        for line in process.stdout:
            log += line
            if text in line:
                return log
        raise AssertionError(f"the log ended without {text!r}:\n{log}")


def step(command: str, *argv: str, name: str = "", **other: Any) -> Step:
    words = {
        "sourceFreshness": ["source", "freshness"],
        "docs": ["docs", "generate"],
        "runOperation": ["run-operation"],
    }
    return Step(name or command, command, [*words.get(command, [command]), *argv], **other)


def profile(database: Path, credential: str = "''") -> str:
    """A profile whose other output holds the secret: DuckDB would have to download an extension in order to use it."""
    return f"""
shop:
  target: dev
  outputs:
    prod:
      type: duckdb
      path: "{database}"
      schema: analytics
      threads: 2
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
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found.append(int(stat.parent.name))
    return found


def forked_child(supervisor: int) -> tuple[int, int]:
    """The zygote and the child that it has forked for the running step."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        for zygote in children(supervisor):
            for child in children(zygote):
                if b"zygote" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return zygote, child
    raise AssertionError("no step's process appeared")
