"""What is refused at admission: what CEL cannot see, since it takes project and target, or more than a pattern.

A refusal names the field and the remedy, and never a value.
"""

from __future__ import annotations

from dbt_operator.api.run import DbtRunSpec


def refusal(spec: DbtRunSpec) -> str:
    """Why a run is not admitted; empty when it is."""
    return _waits_for_ever(spec)


def _waits_for_ever(spec: DbtRunSpec) -> str:
    """Waiting for sources has to end somewhere."""
    if spec.timeout or (spec.retry and spec.retry.attempt_timeout):
        return ""
    for number, step in enumerate(spec.steps):
        if step.source_freshness and step.source_freshness.on_stale == "Wait":
            where = f"spec.steps[{number}].sourceFreshness.onStale"
            return f"{where}: Wait could last for ever: set spec.timeout or spec.retry.attemptTimeout"
    return ""
