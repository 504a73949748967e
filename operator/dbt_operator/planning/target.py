"""The planner of a DbtTarget: says whether it can be used."""

from __future__ import annotations

import re
from datetime import datetime

from dbt_operator.api.kinds.target import DbtTarget, DbtTargetStatus
from dbt_operator.planning.common.conditions import Conditions
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.plan import Plan, fitted
from dbt_operator.planning.policy.refusals import reserved_in_env, secret_in_env


def plan(target: DbtTarget, identity: Identity, now: datetime, queued: int | None = None) -> Plan:
    """Decide on the status of a target. No Secret is read, so whether the profile is right shows in
    a run.

    Its holders are none of this planner's business: see :mod:`slots`. ``queued`` is how many runs
    wait for a slot.
    """
    status = target.status or DbtTargetStatus()
    conditions = Conditions.of(status.conditions, identity.generation, now)
    if problem := _problem(target):
        conditions.stalled("InvalidSpec", problem)
    else:
        conditions.ready("Accepted", "runs may use this target")
    update = {
        "observed_generation": identity.generation,
        "conditions": conditions.list(),
        "queued": queued,
    }
    return fitted(Plan(status.model_copy(update=update)))


def _problem(target: DbtTarget) -> str:
    """What CEL cannot see: its regular expressions are RE2's, and the runner's are Python's; and
    secrets.
    """
    for field, pattern in (
        ("schemaPattern", target.spec.schema_pattern),
        ("databasePattern", target.spec.database_pattern),
    ):
        try:
            re.compile(pattern or "")
        except re.error as error:
            return f"spec.{field} is not a regular expression that Python reads: {error}"
    return secret_in_env(target.spec.env) or reserved_in_env(target.spec.env)
