"""Runs command lines of dbt as a step's process does, and tells what the runner makes of each."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from tests.support.kube import PATIENCE
from tests.support.pods import BIN, HOME, Pod

# Runs them one after another, each in its own folder, and prints what each had to have a result of
# and has, and the verdict on it, without and with onEmptySelection: Succeed.
_RUN_ALL = """
import json, pathlib, shutil, sys
sys.path.insert(0, sys.argv[1])
from dbt_runner.json_files import read_results
from dbt_runner.outcome.classify import classify
from dbt_runner.outcome.step_outcome import StepEvidence
from dbt_runner.redact import Redactor
from dbt_runner.worker.dbt_api import Invocation
from dbt_runner.worker.invocation import running

COMMANDS = {"source": "sourceFreshness", "docs": "docs", "run-operation": "runOperation"}
for line in json.loads(sys.argv[2]):
    folder = pathlib.Path("target")
    state = pathlib.Path("state")
    if line.startswith("clone") and not state.exists():
        shutil.copytree(folder, state)
    for name in ("run_results.json", "sources.json"):
        (folder / name).unlink(missing_ok=True)
    argv = line.replace("target", "state").split()
    end = running.run_command(Invocation(argv, folder, Redactor(())), None)
    artifact = folder / ("sources.json" if line.startswith("source") else "run_results.json")
    rows = json.loads(artifact.read_text())["results"] if artifact.exists() else []
    told = {"code": end.exit_code, "message": end.message, "expected": end.expected}
    names = ("exit_code", "exception", "message", "invocation_id", "expected", "empty")
    seen = {name: getattr(end, name) for name in names}
    for name in ("run_results", "sources"):
        seen[name] = read_results(folder / f"{name}.json")
    for name, allowed in (("strict", False), ("allowed", True)):
        command = COMMANDS.get(argv[0], argv[0])
        told[name] = classify(StepEvidence(command, allow_empty=allowed, **seen)).reason
    told["found"] = [row["unique_id"] for row in rows]
    print("TOLD", line, json.dumps(told), sep="\\t", flush=True)
"""


def tell_ends(pod: Pod, lines: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What is told of the end of each command line."""
    done = subprocess.run(
        [f"{BIN}/python", "-c", _RUN_ALL, HOME, json.dumps(list(lines))],
        cwd=pod.layout.project,
        env={
            "PATH": BIN,
            "HOME": str(pod.root),
            "DBT_PROFILES_DIR": str(pod.layout.profiles),
            "DBT_TARGET": "prod",
        },
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    told = (line.split("\t") for line in done.stdout.splitlines() if line.startswith("TOLD"))
    return {line: json.loads(text) for _, line, text in told}
