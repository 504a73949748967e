"""Conditions, phases and reasons: the words in which status speaks. They are part of the API; none
may be renamed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import StringConstraints

from dbt_operator.api.base import Model
from dbt_operator.api.texts import Message, Moment


class Phase(StrEnum):
    """Where a DbtRun stands. Succeeded, Failed, Cancelled and Skipped are ends."""

    PENDING = "Pending"  # not admitted yet, or its pod is being started
    WAITING = "Waiting"  # it waits for what spec.waitFor names
    QUEUED = "Queued"  # it waits for a slot of its target
    RUNNING = "Running"  # dbt is running
    BACKING_OFF = "BackingOff"  # an attempt failed; the next one follows after a while
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    SKIPPED = "Skipped"  # there was nothing to do

    @property
    def finished(self) -> bool:
        """Whether nothing follows on this phase."""
        return self in (Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED, Phase.SKIPPED)


class BackfillPhase(StrEnum):
    """Where a DbtBackfill stands. Succeeded, Failed, Cancelled and Planned are ends."""

    PENDING = "Pending"  # not admitted yet
    QUEUED = "Queued"  # it waits for a slot of its target
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    PLANNED = "Planned"  # a dry run: its windows are listed

    @property
    def finished(self) -> bool:
        """Whether nothing follows on this phase."""
        return self in (
            BackfillPhase.SUCCEEDED,
            BackfillPhase.FAILED,
            BackfillPhase.CANCELLED,
            BackfillPhase.PLANNED,
        )


class Reason(StrEnum):
    """Why a DbtRun failed or was skipped. The runner uses the same words in its summary."""

    MODEL_ERROR = (
        "ModelError"  # a node (model, seed, snapshot, or a test's query) ended in an error
    )
    TEST_FAILED = "TestFailed"  # a test of severity error failed
    FRESHNESS_FAILED = "FreshnessFailed"  # a source is older than its error_after
    HOOK_FAILED = "HookFailed"  # an on-run-start or on-run-end hook failed
    PARSE_ERROR = "ParseError"  # dbt cannot parse the project
    CONFIG_ERROR = "ConfigError"  # a profile, Secret, ConfigMap or option is missing or wrong
    SOURCE_ERROR = "SourceError"  # the project cannot be had from its Git repository
    DEPS_FAILED = "DepsFailed"  # dbt deps could not install the project's packages
    ENVIRONMENT_MISMATCH = (
        "EnvironmentMismatch"  # the run would write where its target does not allow it
    )
    NOTHING_SELECTED = "NothingSelected"  # the selection of a step is empty
    UNAVAILABLE = "Unavailable"  # the warehouse cannot be reached
    OOM_KILLED = "OOMKilled"  # dbt used more memory than its limit
    TIMEOUT = "Timeout"  # spec.timeout is over
    CANCELLED = "Cancelled"  # spec.cancel
    INFRASTRUCTURE = "Infrastructure"  # the pod was evicted, drained or lost with its node
    IMAGE_PULL_FAILED = "ImagePullFailed"  # an image cannot be pulled
    UNSCHEDULABLE = "Unschedulable"  # no node takes the pod, or a quota has no room
    MISSING_STATE = "MissingState"  # the state to compare with does not exist
    UPLOAD_FAILED = "UploadFailed"  # dbt succeeded, but its artifacts did not all arrive
    QUEUE_TIMEOUT = "QueueTimeout"  # it waited in a queue for longer than spec.queueTimeout
    SLOT_HELD_BY_LOST_NODE = (
        "SlotHeldByLostNode"  # it is queued, and the slot's pod is on a node that does not answer
    )
    NAME_CONFLICT = "NameConflict"  # somebody else's Job has the name of ours
    INVALID_SPEC = "InvalidSpec"  # the object does not say what the API asks for
    YIELDED = "Yielded"  # its backfill has asked it to begin no further window; phase Cancelled
    REPLACED = "Replaced"  # a later occurrence of its schedule is to begin; phase Cancelled
    NOT_FRESH = "NotFresh"  # sources have nothing new, and the run says onStale: Skip; no failure
    UPSTREAM_MISSING = "UpstreamMissing"  # what it waits for has not come in time
    NOT_ARRIVED = "NotArrived"  # the same where the run says onTimeout: Skip; no failure
    UNKNOWN = "Unknown"  # the result is lost or cannot be read; never taken for a success


class ConditionType(StrEnum):
    """The conditions of all kinds. Ready, Reconciling and Stalled are kstatus's."""

    ADMITTED = "Admitted"  # project and target are resolved into status.resolved
    TESTS_PASSED = "TestsPassed"  # no test of severity error failed
    ARTIFACTS_UPLOADED = "ArtifactsUploaded"  # every artifact is in the bucket, verified
    SUCCEEDED = "Succeeded"
    FINISHED = "Finished"  # True at every end
    EXPIRES = "Expires"  # False: ttlAfterFinished has no effect
    LAST_RUN_SUCCEEDED = "LastRunSucceeded"  # of a schedule: its last run that has ended
    ON_TIME = "OnTime"  # of a schedule: no occurrence waits for its success for too long
    CLOCK_AGREES = "ClockAgrees"  # of a schedule: False: the API server's clock differs
    METADATA_APPLIED = "MetadataApplied"  # of a schedule: False: some of its template's is left out
    NOTIFIED = "Notified"  # whoever is to be told has been told
    SUSPENDED = "Suspended"  # of a schedule: nothing is begun
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Condition(Model):
    """As in metav1.Condition."""

    type: Annotated[str, StringConstraints(max_length=64)]
    """Name of the condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, StringConstraints(max_length=64)]
    """One word for programs."""
    message: Message = ""
    """One sentence for people."""
    last_transition_time: Moment
    """When status last changed, RFC 3339."""
    observed_generation: int | None = None
    """The generation of the object that this was found for."""
