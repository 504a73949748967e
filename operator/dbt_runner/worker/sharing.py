"""May windows share one parse? Only if nothing that they differ in has been read by it.

The parse of the first window has noted what it has read (:mod:`dbt_runner.worker.parse_reads`). A
window that gives all of it the same values would parse the same, whatever else it differs in: what
another window might read as well, it would only read after it has read something else in another
way. To compare manifests would prove nothing about the windows that were not compared.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from dbt_protocol.json_input import parse_json
from dbt_protocol.plans import RunPlan
from dbt_runner.worker.parse_reads import NEVER, ROOTS, Reads, describe

# Flags that take no part in parsing, of which windows may differ in the values, and what Jinja
# knows them by.
_HARMLESS = {
    "--event-time-start": ("event_time_start",),
    "--event-time-end": ("event_time_end",),
    "--select": ("select", "models"),
    "-s": ("select", "models"),
    "--models": ("select", "models"),
    "-m": ("select", "models"),
    "--exclude": ("exclude",),
    "--selector": ("selector",),
    "--args": ("args",),
}
_ARGUMENTS = "invocation_args_dict"
_VARS = "--vars"
_SUFFIXES = (".sql", ".py", ".yml", ".yaml")


def find_obstacle(plan: RunPlan, parses: Iterable[Reads]) -> str:
    """What speaks against one parse for all windows of a plan; empty if nothing does.

    Args:
        plan: with the names of values in the steps' arguments.
        parses: what those of the first window have read; none, as long as there are none.
    """
    names, why = differing(plan)
    if why:
        return why
    differ = _list_differing(plan, names)
    for reads in parses:
        for file, found in sorted(reads.items()):
            for name, digest in sorted(found.items()):
                # A window is a run of its own, and how many of them are in a pod must change
                # nothing.
                is_of_run = digest == NEVER and name.partition(".")[0] not in ROOTS
                if is_of_run or name in differ:
                    return describe(file, name)
    return ""


def _list_differing(plan: RunPlan, names: Iterable[str]) -> set[str]:
    """All names by which a template can read what windows differ in."""
    found = {name for var in names for name in ("var", f"var.{var}", f"{_ARGUMENTS}.vars")}
    for step in plan.steps:
        flag = ""
        for word in step.argv:
            flag = word.split("=")[0] if word.startswith("-") else flag
            if "$(" in word:
                found |= {f"{_ARGUMENTS}.{key}" for key in _HARMLESS.get(flag, ())}
    return found | {_ARGUMENTS} if found else found


def code(project: Path) -> Iterator[Path]:
    """The files below a project's folder that can hold code, also of packages that are linked into
    it.
    """
    seen: set[str] = set()
    for folder, inner, names in os.walk(project, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted(name for name in inner if name != ".git")
        yield from (Path(folder) / name for name in sorted(names) if name.endswith(_SUFFIXES))


def differing(plan: RunPlan) -> tuple[set[str], str]:
    """The vars that windows differ in, and, if they differ in anything else that matters, what that
    is.
    """
    names: set[str] = set()
    for step in plan.steps:
        flag = ""
        for word in step.argv:
            flag = word.split("=")[0] if word.startswith("-") else flag
            if "$(" not in word or flag in _HARMLESS:
                continue
            if flag != _VARS:
                return names, f"windows differ in {flag or 'the command'} of step {step.name}"
            found = _vars(word.partition("=")[2] if word.startswith("-") else word)
            if found is None:
                return names, f"the vars of step {step.name} cannot be told apart"
            names |= found
    return names, ""


def _vars(word: str) -> set[str] | None:
    """The names of those vars whose values differ; None where that cannot be told."""
    try:
        found = parse_json(word)
    except ValueError:
        return None
    if not isinstance(found, dict) or any("$(" in name for name in found):
        return None
    return {name for name, value in found.items() if "$(" in json.dumps(value)}
