"""The planner of a DbtProject: says whether it can be used."""

from __future__ import annotations

from datetime import datetime

from dbt_operator.api.kinds.project import DbtProject, DbtProjectStatus
from dbt_operator.planning.common.conditions import Conditions
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.plan import Plan, fitted
from dbt_operator.planning.policy.refusals import reserved_in_env, secret_in_env


def plan(project: DbtProject, identity: Identity, now: datetime) -> Plan:
    """Decide on the status of a project: what can be checked without a pod was checked at
    admission.
    """
    conditions = Conditions.of(
        project.status.conditions if project.status else None, identity.generation, now
    )
    if problem := secret_in_env(project.spec.env) or reserved_in_env(project.spec.env):
        conditions.stalled("InvalidSpec", problem)
    else:
        conditions.ready("Accepted", "runs may use this project")
    update = {"observed_generation": identity.generation, "conditions": conditions.list()}
    return fitted(Plan((project.status or DbtProjectStatus()).model_copy(update=update)))
