"""The environment variables that dbt gets."""

from __future__ import annotations

import os
from collections.abc import Mapping

from dbt_protocol import flag_variables
from dbt_protocol.plans import RunPlan
from dbt_runner.layout import Layout


def make_variables(layout: Layout, plan: RunPlan, env: Mapping[str, str]) -> dict[str, str]:
    """The variables that dbt gets: ``DBT_*`` names, which all versions understand."""
    given = flag_variables.without_own(env).items()
    dbt = {name: value for name, value in given if not name.startswith("DBT_OPERATOR_")}
    dbt.setdefault("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
    dbt.setdefault("DBT_USE_COLORS", "false")
    dbt.setdefault("DBT_USE_COLORS_FILE", "false")
    dbt.update(
        DBT_PROJECT_DIR=plan.project_dir,
        DBT_PROFILES_DIR=str(layout.profiles),
        DBT_TARGET=plan.target,
        # The results are read from what dbt writes; a variable is preferred to flags in
        # dbt_project.yml.
        DBT_WRITE_JSON="true",
        # In metadata.env of every artifact, without the prefix.
        DBT_ENV_CUSTOM_ENV_NAMESPACE=plan.namespace,
        DBT_ENV_CUSTOM_ENV_RUN=plan.run,
        DBT_ENV_CUSTOM_ENV_RUN_UID=plan.run_uid,
        DBT_ENV_CUSTOM_ENV_ATTEMPT=str(plan.attempt),
    )
    if not os.access(dbt.get("HOME", ""), os.W_OK):
        dbt["HOME"] = "/tmp"  # noqa: S108 - an emptyDir of the pod's own
    return dbt
