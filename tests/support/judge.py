"""How Argo CD and Flux see an object, told by the libraries that they use themselves.

``python -m tests.support.judge`` builds the program that knows, which a test does too if need be.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.go_module import GoModule
from tests.cluster.progress import CommandError
from tests.cluster.state import ClusterError
from tests.support.kube import PATIENCE
from tests.support.places import TESTS

Manifest = Mapping[str, Any]

_SOURCE = TESTS / "judge"
_MODULE = GoModule(
    name="judge",
    what="building what knows how Argo CD and Flux see objects",
    source=_SOURCE,
    inputs=("go.mod", "go.sum", *sorted(path.name for path in _SOURCE.glob("*.go"))),
    packages=(".",),
)


class JudgeError(AssertionError):
    """What was asked has no answer: a script fails, an expression means nothing."""


@dataclass(frozen=True)
class Health:
    """What a tool says of an object."""

    status: str
    message: str


def build() -> None:
    """Build the program, if it has not been built before."""
    _MODULE.build()


def judge_health(manifest: Manifest, script: str) -> Health:
    """The health of an object by a health.lua of Argo CD."""
    return _read_health(_ask({"ask": "argocd-health", "object": manifest, "script": script}))


def discover_actions(manifest: Manifest, script: str) -> dict[str, Any]:
    """The actions that a discovery.lua of Argo CD offers."""
    found = _ask({"ask": "argocd-actions", "object": manifest, "script": script})
    actions: dict[str, Any] = found.get("actions", {})
    return actions


def take_action(manifest: Manifest, script: str) -> dict[str, Any]:
    """The merge patch that Argo CD sends for an action.lua."""
    found = _ask({"ask": "argocd-action", "object": manifest, "script": script})
    patch: dict[str, Any] = found.get("patch", {})
    return patch


def judge_by_expressions(manifest: Manifest, checks: Mapping[str, str]) -> Health:
    """The health of an object by an entry of Flux's healthCheckExprs."""
    return _read_health(_ask({"ask": "flux", "object": manifest, "checks": checks}))


def judge_by_conditions(manifest: Manifest) -> Health:
    """The health of an object for kstatus, which Flux asks where it has no expressions."""
    return _read_health(_ask({"ask": "kstatus", "object": manifest}))


def build_kustomization(folder: Path) -> str:
    """The manifests that `kubectl kustomize` makes of a folder."""
    return str(_ask({"ask": "kustomize", "folder": str(folder)})["text"])


def _read_health(answer: Manifest) -> Health:
    return Health(answer["status"], answer.get("message", ""))


def _ask(question: Manifest) -> Manifest:
    [answer] = _ask_all([question])
    if "error" in answer:
        raise JudgeError(answer["error"])
    return answer


def _ask_all(questions: Sequence[Manifest]) -> list[dict[str, Any]]:
    build()
    done = subprocess.run(
        [_MODULE.folder / "judge"],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        raise JudgeError(done.stderr)
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


if __name__ == "__main__":
    try:
        build()
    except (ClusterError, CommandError) as error:
        sys.exit(f"error: {error}")
