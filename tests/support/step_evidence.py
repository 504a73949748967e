"""What a step of dbt has left behind, as the runner classifies it."""

from __future__ import annotations

from typing import Any

from dbt_runner.outcome.step_outcome import StepEvidence

ID = "this-invocation"


def results(*each: tuple[str, ...], invocation: str = ID) -> dict[str, Any]:
    found = [
        {"unique_id": r[0], "status": r[1], "message": r[2] if len(r) > 2 else None} for r in each
    ]
    return {"metadata": {"invocation_id": invocation}, "results": found}


def seen(
    command: str = "build", *each: tuple[str, ...], code: int | None = 0, **other: Any
) -> StepEvidence:
    artifact = "sources" if command == "sourceFreshness" else "run_results"
    fields: dict[str, Any] = {"exit_code": code, "invocation_id": ID}
    fields |= {artifact: results(*each), "expected": [row[0] for row in each]}
    return StepEvidence(command, **{**fields, **other})


MODEL, TEST = "model.shop.orders", "test.shop.unique_orders"


HOOK = "operation.shop.shop-on-run-end-0"
