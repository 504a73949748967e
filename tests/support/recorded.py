"""Statuses as the operator writes them, kept in files, and how Argo CD and Flux see them.

A unit test makes each state with the operator's own reconciler, and the e2e tests compare what they
see in a cluster with the same files: :func:`record` and :func:`look` take a live object.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.support import argocd, judge
from tests.support.places import ROOT, TESTS

Manifest = Mapping[str, Any]

FOLDER = TESTS / "unit" / "gitops" / "recorded"
_HEALTH_CHECKS = ROOT / "examples" / "gitops" / "flux" / "health-checks.yaml"
_KEPT_METADATA = ("name", "namespace", "generation", "labels", "annotations")
_LEFT_OUT = "kubectl.kubernetes.io/last-applied-configuration"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
_SOME_MOMENT = "2026-01-02T03:04:05Z"


@dataclass(frozen=True)
class Views:
    """What each tool says of an object."""

    argocd: str
    flux: str  # by the expressions of examples/gitops/flux
    kstatus: str  # by conditions alone


NEW = Views("Progressing", "InProgress", "InProgress")
GOING_ON = NEW
GOOD = Views("Healthy", "Current", "Current")
BAD = Views("Degraded", "Failed", "Failed")
SUSPENDED = Views("Suspended", "Current", "Current")

EXPECTED: Mapping[str, Mapping[str, Views]] = {
    "DbtTarget": {"new": NEW, "accepted": GOOD, "invalid": BAD},
    "DbtProject": {"new": NEW, "accepted": GOOD, "invalid": BAD},
    "DbtRun": {
        "new": NEW,
        "waiting": GOING_ON,
        "queued": GOING_ON,
        "running": GOING_ON,
        "backing-off": GOING_ON,
        "succeeded": GOOD,
        "skipped": GOOD,
        "failed": BAD,
        "cancelled": BAD,
        "invalid": BAD,
    },
    "DbtBackfill": {
        "new": NEW,
        "running": GOING_ON,
        "suspended": SUSPENDED,
        "succeeded": GOOD,
        "planned": GOOD,
        "failed": BAD,
        "cancelled": BAD,
        "invalid": BAD,
    },
    "DbtSchedule": {
        "new": NEW,
        "accepted": GOOD,
        "running": GOOD,
        "succeeded": GOOD,
        "failed": GOOD,
        "suspended": GOOD,
        "paused": GOOD,
        "refused": GOING_ON,
        "invalid": BAD,
    },
}


def views(manifest: Manifest) -> Views:
    """How Argo CD and Flux see an object."""
    return Views(
        argocd=judge.judge_health(manifest, argocd.health_script()).status,
        flux=judge.judge_by_expressions(manifest, health_checks()[manifest["kind"]]).status,
        kstatus=judge.judge_by_conditions(manifest).status,
    )


def look(manifest: Manifest, state: str) -> None:
    """Record an object in a state, and see that the tools see what they should.

    Raises:
        AssertionError: its status has another shape than the recorded one, or a tool sees it
            otherwise.
    """
    record(manifest, state)
    assert views(manifest) == EXPECTED[manifest["kind"]][state], manifest.get("status")


def record(manifest: Manifest, state: str) -> None:
    """Write an object in a state to its file if WRITE_GOLDEN is set; else compare its shape.

    Raises:
        AssertionError: its status has another shape than the recorded one.
    """
    path = path_of(manifest["kind"], state)
    if os.environ.get("WRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_strip(manifest), indent=1, sort_keys=True) + "\n")
    assert _shape(manifest) == _shape(read(manifest["kind"], state)), path.name


def read(kind: str, state: str) -> dict[str, Any]:
    """An object as it was recorded."""
    found: dict[str, Any] = json.loads(path_of(kind, state).read_text())
    return found


def path_of(kind: str, state: str) -> Path:
    """Where an object of a kind in a state is recorded."""
    return FOLDER / f"{kind.lower()}-{state}.json"


@cache
def health_checks() -> dict[str, dict[str, str]]:
    """The expressions of examples/gitops/flux, by kind."""
    entries = yaml.safe_load(_HEALTH_CHECKS.read_text())["spec"]["healthCheckExprs"]
    names = ("inProgress", "failed", "current")
    return {entry["kind"]: {name: entry[name] for name in names} for entry in entries}


def _strip(manifest: Manifest) -> dict[str, Any]:
    """An object without what differs from one time to the next, and without what no tool reads."""
    metadata = {
        name: value for name, value in manifest["metadata"].items() if name in _KEPT_METADATA
    }
    if "annotations" in metadata:
        kept = {name: text for name, text in metadata["annotations"].items() if name != _LEFT_OUT}
        metadata["annotations"] = kept
    status = {name: value for name, value in manifest["status"].items() if name != "resolved"}
    found = copy.deepcopy({**manifest, "metadata": metadata, "status": status})
    stripped: dict[str, Any] = json.loads(_MOMENT.sub(_SOME_MOMENT, json.dumps(found)))
    return stripped


def _shape(manifest: Manifest) -> dict[str, Any]:
    """What of a status tools decide by."""
    status = manifest["status"]
    conditions = {each["type"]: (each["status"], each["reason"]) for each in _conditions(manifest)}
    is_seen = status.get("observedGeneration") == manifest["metadata"]["generation"]
    return {"phase": status.get("phase"), "conditions": conditions, "is seen": is_seen}


def _conditions(manifest: Manifest) -> list[Manifest]:
    found: list[Manifest] = manifest["status"].get("conditions") or []
    return found
