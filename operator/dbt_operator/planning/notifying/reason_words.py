"""Reasons in words, for people who are woken up by them."""

from __future__ import annotations

from dbt_operator.api.status import Reason

MEANINGS = {
    Reason.MODEL_ERROR: "A model, seed, snapshot or the query of a test ended in an error.",
    Reason.TEST_FAILED: "Tests failed.",
    Reason.FRESHNESS_FAILED: "A source is older than it may be.",
    Reason.HOOK_FAILED: "An on-run-start or on-run-end hook failed.",
    Reason.PARSE_ERROR: "dbt cannot parse the project.",
    Reason.CONFIG_ERROR: "A profile, Secret, ConfigMap or option is missing or wrong.",
    Reason.SOURCE_ERROR: "The project could not be had from its Git repository.",
    Reason.DEPS_FAILED: "The project's packages could not be installed.",
    Reason.ENVIRONMENT_MISMATCH: "The run would have written where its target does not allow it.",
    Reason.NOTHING_SELECTED: "The selection of a step is empty.",
    Reason.UNAVAILABLE: "The warehouse could not be reached.",
    Reason.OOM_KILLED: "dbt used more memory than its limit, and was killed.",
    Reason.TIMEOUT: "The time of the run was over.",
    Reason.CANCELLED: "Somebody cancelled it.",
    Reason.INFRASTRUCTURE: "The pod was evicted, drained, or lost with its node.",
    Reason.IMAGE_PULL_FAILED: "An image could not be pulled.",
    Reason.UNSCHEDULABLE: "No node took the pod, or a quota had no room for it.",
    Reason.MISSING_STATE: "The state to compare with does not exist.",
    Reason.UPLOAD_FAILED: "dbt succeeded, but its artifacts did not all arrive.",
    Reason.QUEUE_TIMEOUT: "It waited for a slot of its target for too long.",
    Reason.SLOT_HELD_BY_LOST_NODE: "The slot's pod is on a node that does not answer.",
    Reason.NAME_CONFLICT: "Somebody else's object has the name of ours.",
    Reason.INVALID_SPEC: "The object does not say what the API asks for.",
    Reason.YIELDED: "Its backfill gave the slot to somebody else.",
    Reason.REPLACED: "A later occurrence of its schedule began.",
    Reason.NOT_FRESH: "The sources had nothing new.",
    Reason.UPSTREAM_MISSING: "What it waits for did not come in time.",
    Reason.NOT_ARRIVED: "What it waits for did not come in time.",
    Reason.UNKNOWN: "Its result is lost, or cannot be read.",
}
