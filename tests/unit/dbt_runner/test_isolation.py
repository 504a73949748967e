"""Process 1 of the dbt container, started as a pod starts it, in a user's environment."""

from __future__ import annotations

import subprocess
import sys
import zipapp
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import DbtRun
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.planning.attempt.job import Work, build
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.references import Referred
from dbt_operator.planning.run.admission import resolve
from dbt_protocol import paths
from dbt_runner import __main__ as entry_point
from dbt_runner.supervise import main as supervisor
from tests.support.builders import UID, project, run, target
from tests.support.kube import PATIENCE
from tests.support.places import IN_PODS, OPERATOR, ROOT
from tests.support.pods import Pod, step

# Stands in for the zygote, and says what it was given.
STUB = f"""#!{sys.executable}
import os
print("dbt got", os.environ["PYTHONPATH"], os.environ["BROWSER"], os.environ["SCHEMA"])
"""
# Whoever runs it says so.
TELL = "import os; open({0!r}, 'a').write(str(os.getpid()) + ' ')"
BROWSER = '#!/bin/sh\nprintf "%s " $PPID >> {0}\n'


def command() -> list[str]:
    """What a Job starts the dbt container with."""
    identity = Identity("analytics", "nightly", UID, 1)
    referred = Referred(
        (DbtProject.model_validate(project()), 1), (DbtTarget.model_validate(target()), 1)
    )
    resolved = resolve(DbtRun.model_validate(run()), identity, referred, "runner")
    (container,) = build(resolved, identity, Work("shop", "prod", 1))["spec"]["template"]["spec"][
        "containers"
    ]
    found: list[str] = container["command"]
    return found


def archive(folder: Path) -> Path:
    """The runner, as its image hands it on."""
    for package in IN_PODS:
        copytree(OPERATOR / package, folder / "in" / package, ignore=ignore_patterns("__pycache__"))
    (folder / "in/__main__.py").write_text((ROOT / "images/runner/__main__.py").read_text())
    zipapp.create_archive(folder / "in", folder / "runner.pyz")
    return folder / "runner.pyz"


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_no_variable_runs_code_in_process_1(tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", {})
    told = tmp_path / "told"
    stub = executable(tmp_path / "bin/stub-python", STUB)
    executable(tmp_path / "bin/dbt", f"#!{stub}\n")
    browser = executable(tmp_path / "browser", BROWSER.format(told))
    hostile = pod.layout.project / "hostile"
    for module in ("sitecustomize", "usercustomize", "startup"):
        executable(hostile / f"{module}.py", TELL.format(str(told)))
    (pod.layout.project / "json.py").write_text(TELL.format(str(told)))
    words = {"python3": sys.executable, paths.RUNNER: str(archive(tmp_path))}
    process = subprocess.Popen(
        [*(words.get(word, word) for word in command()), f"--root={pod.root}"],
        env={
            "PATH": str(tmp_path / "bin"),
            "HOME": str(pod.root),
            "DBT_OPERATOR_PLAN": pod.plan(step("build")).to_json(),
            "SCHEMA": "pr_7",
            "BROWSER": str(browser),
            "PYTHONWARNINGS": "all:0:antigravity.x:0:0",
            "PYTHONPATH": str(hostile),
            "PYTHONSTARTUP": str(hostile / "startup.py"),
            "PYTHONINSPECT": "1",
        },
        cwd=pod.layout.project,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log, _ = process.communicate(timeout=PATIENCE)
    assert f"dbt got {hostile} {browser} pr_7" in log
    ran = told.read_text().split()
    assert ran, "the variables run code in no process at all, so this test shows nothing"
    assert str(process.pid) not in ran


def test_nothing_of_the_environment_stays_with_process_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries read it as well: OpenSSL loads what OPENSSL_CONF says."""
    pod = Pod(tmp_path, {})
    given = {"OPENSSL_CONF": "/project/openssl.cnf", "PATH": "/usr/bin"}
    given["DBT_OPERATOR_PLAN"] = pod.plan(step("build")).to_json()
    own = dict(given)
    seen: list[dict[str, str]] = []

    def look(_layout: object, _plan: object, env: dict[str, str]) -> int:
        seen.extend([dict(env), dict(own)])
        return 0

    monkeypatch.setattr("os.environ", own)
    monkeypatch.setattr(supervisor, "main", look)
    assert entry_point.main(["run", f"--root={tmp_path}"]) == 0
    assert seen == [given, {}]
