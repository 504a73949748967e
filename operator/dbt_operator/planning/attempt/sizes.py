"""What would fit neither into an object nor into a process is refused before anybody holds a slot
for it.

What a dbt container does is one variable of its environment, and Linux takes at most 128 KiB for
each, with its name. The arguments of every step have the vars in them, and twice where there is a
state to compare with, so vars that look small can be too large.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from dbt_operator.api.parts.resolved import Resolved
from dbt_operator.api.parts.run_template import RunTemplateSpec
from dbt_operator.planning.attempt.job import Told, run_plan
from dbt_operator.planning.common.identity import Identity
from dbt_protocol.plans import PLAN_VARIABLE, Window

VARIABLE_BYTES = 128 * 1024  # MAX_ARG_STRLEN of Linux, for NAME=value and a NUL
RESOLVED_BYTES = (
    512 * 1024
)  # of JSON; etcd takes 1.5 MiB for a whole object, with spec, ledger and all that
# What a runner puts in: the folder that a project was copied to, a window's values in one
# argument.
_SPARE = 4 * 1024
# A state that is there once the run begins, and what later attempts know.
UNKNOWN_STATE = "-" * 1024
_LAST_ATTEMPT = 99


def refusal(
    spec: RunTemplateSpec,
    resolved: Resolved,
    run: Identity,
    windows: Iterable[Window] = (),
    where: str = "spec",
) -> str:
    """Why a run is too large to be run, in a sentence that names the field and the remedy; empty if
    it is not.

    Args:
        spec: what it asks for.
        resolved: what its Jobs are built from.
        run: the run, or the backfill that it is part of.
        windows: those that one pod works through.
        where: the path of ``spec``.
    """
    mine = list(windows)
    plan = run_plan(resolved, run, _LAST_ATTEMPT, Told(windows=mine, states="-" * len(mine)))
    size = len(f"{PLAN_VARIABLE}={plan.to_json()}\0".encode("utf-8", "replace")) + _SPARE
    if size > VARIABLE_BYTES:
        limit = _Limit(VARIABLE_BYTES, "Linux gives to a variable of a process")
        return _say_too_large(spec, resolved, where, size, limit)
    stored = _bytes(resolved.to_dict())
    if stored > RESOLVED_BYTES:
        limit = _Limit(RESOLVED_BYTES, "the operator keeps of a run's Jobs")
        return _say_too_large(spec, resolved, where, stored, limit)
    return ""


@dataclass(frozen=True)
class _Limit:
    """How many bytes there may be, and who says so, as the end of a sentence."""

    bytes: int
    who: str


def _say_too_large(
    spec: RunTemplateSpec, resolved: Resolved, where: str, size: int, limit: _Limit
) -> str:
    copies = sum(1 + (step.full is not None) for step in resolved.steps)
    of_vars = _bytes(spec.vars or {}) * copies
    told = (
        f"the arguments of all steps are {size:,} bytes with what belongs to them, and "
        f"{limit.bytes:,} are all that {limit.who}"
    )
    if of_vars * 2 < size:
        return f"{where}.steps: {told}: shorten the selections, or take fewer steps"
    remedy = "keep long lists in a table, a seed or a file of the project"
    return (
        f"{where}.vars: they stand in {copies} lists of arguments: {told}: {remedy}, or take fewer "
        "steps"
    )


def _bytes(value: object) -> int:
    return len(
        json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    )
