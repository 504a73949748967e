"""Runs public projects on this machine: the runner as a process, and dbt alone, each in a database
of its own on one PostgreSQL.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import yaml

from dbt_runner import cache_files
from tests.public import bare_dbt
from tests.public.checkout import find_project
from tests.public.outcomes import Outcome, read_bare
from tests.public.table import PublicProject
from tests.support import pods
from tests.support.postgres import Postgres, postgres

# A pod's root filesystem is read-only. root could write everywhere here.
_WITHOUT_CAPABILITIES = (
    ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
)
# What a summary calls the statuses of dbt by other names.
_RENAMED = {"passed": "pass", "no_op": "no-op"}


class Here:
    """Use :func:`start`."""

    def __init__(self, server: Postgres, root: Path) -> None:
        self._server = server
        self._root = root
        self._count = 0
        self._caches: dict[str, Path] = {}

    def prepare(self, project: PublicProject) -> None:
        """Make what both have need of: databases."""
        for whose in ("ours", "bare"):
            self._server.execute(f'create database "{_name_database(project, whose)}"')

    def run(self, project: PublicProject) -> Outcome:
        """Have the product run a project."""
        root, where = self._check_out(project, "ours")
        for path in (*where.rglob("*"), where):  # as it is baked into an image
            path.chmod(path.stat().st_mode & 0o555)
        profiles = self._make_profiles(project, "ours")
        pod = pods.Pod(root / "pod", {}, profiles, prefix=_WITHOUT_CAPABILITIES, fresh=True)
        for made in (pod.layout.cache, pod.layout.new_cache):
            made.mkdir()
        if project.name in self._caches:
            shutil.copyfile(self._caches[project.name], cache_files.restored(pod.layout))
        cache_files.announce(pod.layout)
        shutil.rmtree(pod.layout.project)
        words = ("--vars", json.dumps(project.variables))
        steps = [pods.step(step, *words, name=step) for step in project.steps]
        began = time.monotonic()
        process = pod.start(*steps, project_dir=str(where), cached=True, deps="IfMissing")
        assert process.stdout is not None
        log = process.stdout.read()
        ended = pods.Ended(pod.layout, process.wait(), log)
        seconds = time.monotonic() - began
        (root / "log").write_text(log)
        if cache_files.stored(pod.layout).exists():
            self._caches[project.name] = cache_files.stored(pod.layout)
        return _read_ours(ended, seconds, project)

    def run_bare(self, project: PublicProject) -> Outcome:
        """Have dbt run it alone."""
        root, where = self._check_out(project, "bare")
        profiles = root / "profiles"
        profiles.mkdir()
        (profiles / "profiles.yml").write_text(self._make_profiles(project, "bare"))
        environment = {
            "PATH": f"{pods.BIN}:{os.environ['PATH']}",
            "HOME": str(root),
            "DBT_PROFILES_DIR": str(profiles),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
        argv = [f"{pods.BIN}/python", bare_dbt.__file__, str(where), str(root / "target")]
        done = subprocess.run(
            [*argv, json.dumps(project.variables), *project.steps],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return read_bare(done.stdout.splitlines())

    def _check_out(self, project: PublicProject, whose: str) -> tuple[Path, Path]:
        """A folder for a run, and in it the project, a copy of its own as each pod has one."""
        self._count += 1
        root = self._root / f"{self._count}-{project.name}-{whose}"
        shutil.copytree(self._root / project.name, root / "source", symlinks=True)
        return root, root / "source" / find_project(project)

    def _make_profiles(self, project: PublicProject, whose: str) -> str:
        text = self._server.make_profile(dbname=_name_database(project, whose))
        return yaml.safe_dump({project.profile: yaml.safe_load(text)["shop"]})


def _name_database(project: PublicProject, whose: str) -> str:
    return f"{project.name.replace('-', '_')}_{whose}"  # not all models quote it


def _read_ours(ended: pods.Ended, seconds: float, project: PublicProject) -> Outcome:
    summary = ended.summary
    verdict = f"Failed: {summary.reason}: {summary.message}" if ended.code else "Succeeded"
    counts = {_RENAMED.get(name, name): number for name, number in asdict(summary.nodes).items()}
    outcome = Outcome(verdict, seconds, counts=counts)
    outcome.tell_parse(ended.result.get("parse", {}))
    for step in project.steps:
        folder = ended.layout.artifacts / step
        if (folder / "run_results.json").exists():
            outcome.nodes[step] = bare_dbt.read_nodes((folder / "run_results.json").read_text())
        if (folder / "manifest.json").exists():
            outcome.things = bare_dbt.count_things((folder / "manifest.json").read_text())
    return outcome


@contextmanager
def start(root: Path) -> Iterator[Here]:
    """A server, for as long as projects are run."""
    pods.may_start_dbt = True
    with postgres() as server:
        try:
            yield Here(server, root)
        finally:
            pods.end_all()
