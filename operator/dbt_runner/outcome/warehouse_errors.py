"""What the warehouse's errors mean for a step: of each node, of what dbt ended with, of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dbt_runner.outcome.ending_kinds import Ending
from dbt_runner.outcome.meanings import (
    OTHER,
    UNKNOWN_CONNECTION,
    find_ending,
    find_ending_of_words,
)
from dbt_runner.outcome.meanings import find_again as find_again_of_endings
from dbt_runner.outcome.step_outcome import Result, StepEvidence

_ERRORS = {"error", "runtime error", "partial success"}
# The titles of what dbt or a project says by itself, such as exceptions.raise_compiler_error.
_NO_WAREHOUSES = ("Compilation Error", "Parsing Error")


def find_again(seen: StepEvidence, results: Sequence[Result]) -> str:
    """Whether another attempt may do better, by all that went wrong."""
    ending = find_exception_ending(seen)
    bad = [result for result in results if not result.is_good and result.status != "skipped"]
    endings = [_find_node_ending(seen, result) for result in bad]
    return find_again_of_endings([*endings, ending] if ending and not bad else endings)


def warn_of_lasting(seen: StepEvidence, results: Sequence[Result]) -> str:
    """Why something is not repeated that could be."""
    bad = {result.unique_id for result in results if not result.is_good}
    lasting = [
        cause
        for cause in seen.causes
        if cause.get("lasting") and cause["unique_id"] in {*bad, ""}
        if find_ending(cause, logged_in=False).lost_for_good
    ]
    if not lasting:
        return ""
    name = lasting[0]["unique_id"] or "it"
    return (
        f"; what {name} has sent may have been committed, and would be done twice: it is not run "
        "again by itself (retry.reasons overrides that)"
    )


def find_exception_ending(seen: StepEvidence) -> Ending | None:
    """What the exception means that dbt ended with, if it is of the warehouse's."""
    if not seen.exception:
        return None
    cause = _find_cause(seen, "")
    if cause is not None:
        found = find_ending(cause, logged_in=_had_logged_in(seen, cause))
        return None if found is OTHER else found
    is_connection = "FailedToConnectError" in seen.exception
    return find_ending_of_words(seen.message) or (UNKNOWN_CONNECTION if is_connection else None)


def _find_node_ending(seen: StepEvidence, result: Result) -> Ending:
    """What the error of a node means."""
    # dbt tells of no node while an operation runs.
    cause = _find_cause(seen, "" if seen.command == "runOperation" else result.unique_id)
    if cause is not None:
        return find_ending(cause, logged_in=_had_logged_in(seen, cause))
    if result.status not in _ERRORS or any(title in result.message for title in _NO_WAREHOUSES):
        return OTHER
    return find_ending_of_words(result.message) or OTHER


def _find_cause(seen: StepEvidence, node: str) -> Mapping[str, str] | None:
    return next((each for each in seen.causes if each["unique_id"] == node), None)


def _had_logged_in(seen: StepEvidence, cause: Mapping[str, str]) -> bool:
    return seen.logged_in or bool(cause.get("after_login"))


def find_common_reason(seen: StepEvidence, bad: Sequence[Result]) -> str:
    """The reason that all failures of a step have; empty if they have several."""
    reasons = {_find_node_ending(seen, result).reason for result in bad}
    return reasons.pop() if len(reasons) == 1 else ""
