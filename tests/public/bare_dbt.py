"""What bare dbt makes of a project: a program of the standard library alone, which runs here and,
as text, in a pod.

It prints lines of JSON: of each step its seconds, its exit code and its nodes, then how many things
of each kind the manifest has, or the end of what dbt said where a step has failed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# A step of ours, and what is typed for it; the others are their own command.
COMMANDS = {"docs": ["docs", "generate"]}
_KINDS = ("nodes", "sources", "macros", "exposures", "metrics", "unit_tests", "semantic_models")
_TAIL = 1_500  # characters


def read_nodes(text: str) -> dict[str, list[Any]]:
    """How each node of a run_results.json has ended: its status, and how many rows failed."""
    return {
        row["unique_id"]: [row["status"], row.get("failures")]
        for row in json.loads(text)["results"]
    }


def count_things(text: str) -> dict[str, int]:
    """How many things of each kind a manifest.json has."""
    manifest = json.loads(text)
    return {kind: len(manifest.get(kind) or ()) for kind in _KINDS}


def _tell(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def _run(arguments: list[str]) -> tuple[float, int]:
    began = time.monotonic()
    done = subprocess.run(
        ["dbt", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        _tell(said=done.stdout[-_TAIL:])
    return time.monotonic() - began, done.returncode


def main(project: str, target: str, variables: str, *steps: str) -> None:
    """Run the steps up to the first that fails."""
    usual = ["--project-dir", project, "--vars", variables]
    seconds, code = _run(["deps", *usual, "--log-path", target])
    _tell(step="deps", seconds=seconds, code=code, nodes={})
    for step in () if code else steps:
        folder = Path(target, step)
        folder.mkdir(parents=True)
        command = COMMANDS.get(step, [step])
        paths = ["--target-path", str(folder), "--log-path", str(folder)]
        seconds, code = _run([*command, *usual, *paths])
        results = folder / "run_results.json"
        nodes = read_nodes(results.read_text()) if results.exists() else {}
        _tell(step=step, seconds=seconds, code=code, nodes=nodes)
        if (folder / "manifest.json").exists():
            _tell(things=count_things((folder / "manifest.json").read_text()))
        if code:
            break


if __name__ == "__main__":
    main(*sys.argv[1:])
