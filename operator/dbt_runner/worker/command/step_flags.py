"""Judges the flags of a step: how ``dbt list`` is asked about it, and what it must not set."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from dbt_runner.outcome.steps import SELECTION_FLAGS
from dbt_runner.worker.failure import CannotRunError
from dbt_runner.worker_messages import DbtEnd

# Of a step's flags these decide what ``dbt list`` lists ...
_SELECTING = frozenset(
    {
        *SELECTION_FLAGS,
        "--exclude-resource-type",
        "--exclude-resource-types",
        "--indirect-selection",
        "--vars",
        "--state",
    }
)
# ... and these do not, and ``dbt list`` does not know all of them. Any other cannot be judged.
_NOT_SELECTING = frozenset(
    {
        "--threads",
        "--fail-fast",
        "-x",
        "--full-refresh",
        "-f",
        "--empty",
        "--sample",
        "--store-failures",
        "--export-saved-queries",
        "--event-time-start",
        "--event-time-end",
        "--warn-error",
        "--warn-error-options",
        "--defer",
        "--defer-state",
        "--favor-state",
        "--quiet",
        "-q",
    }
)
# What a command builds of a selection, where it does not say so by a flag. ``build`` builds
# everything.
_TYPES = {
    "build": [],
    "run": ["model"],
    "seed": ["seed"],
    "snapshot": ["snapshot"],
    "test": ["test", "unit_test"],
    "clone": ["model", "seed", "snapshot"],
}
_ELSEWHERE = re.compile(
    r"--(target|profile|profiles-dir|project-dir|target-path|log-path)(=.*)?|-t.*", re.DOTALL
)
_TRUE = {"1", "true", "yes", "y", "on", "t"}


def refuse_other_targets(argv: Sequence[str], target: str) -> None:
    """The target is set by the environment; without dbt's API nobody would see what a flag makes of
    it.

    Raises:
        CannotRunError: a flag names another one, or another profile or project.
    """
    for number, word in enumerate(argv):
        if not _ELSEWHERE.fullmatch(word):
            continue
        value = word.partition("=")[2] if "=" in word else "".join(argv[number + 1 : number + 2])
        if word.split("=")[0] not in ("--target", "-t") or value != target:
            message = (
                f"a step must not set {word.split('=')[0]}: the DbtTarget allows only the target "
                f'"{target}"'
            )
            raise CannotRunError(DbtEnd(reason="EnvironmentMismatch", message=message))


def make_listing(argv: Sequence[str]) -> list[str] | None:
    """The ``dbt list`` that names what a command line selects; None if there is none that surely
    does.
    """
    command, words = argv[0], argv[1:]
    if command not in _TYPES:
        return None
    kept: list[str] = []
    keep = False
    for word in words:
        if word.startswith("-"):
            flag = word.split("=")[0]
            if flag not in _SELECTING | _NOT_SELECTING:
                return None
            keep = flag in _SELECTING
        if keep:
            kept.append(word)
    types = [] if any(word.startswith("--resource-type") for word in kept) else _TYPES[command]
    chosen = [part for kind in types for part in ("--resource-type", kind)]
    return ["list", "--quiet", "--output", "json", "--output-keys", "unique_id", *chosen, *kept]


def is_set(argv: Sequence[str], flag: str) -> bool:
    """Whether a flag is set, by the command line or by the environment."""
    variable = "DBT_" + flag.strip("-").replace("-", "_").upper()
    return flag in argv or os.environ.get(variable, "").lower() in _TRUE
