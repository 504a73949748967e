"""Names and labels of what the operator creates. One place, since adoption and live lists depend on
them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from dbt_operator.api.base import GROUP

RUN_LABEL = f"{GROUP}/run"
RUN_UID_LABEL = f"{GROUP}/run-uid"
ATTEMPT_LABEL = f"{GROUP}/attempt"
PROJECT_LABEL = f"{GROUP}/project"
TARGET_LABEL = f"{GROUP}/target"
BACKFILL_LABEL = (
    f"{GROUP}/backfill"  # the DbtBackfill that a run, and its Jobs and pods, are part of
)
SCHEDULE_LABEL = f"{GROUP}/schedule"  # the DbtSchedule that a run is of
HOLDER_LABEL = f"{GROUP}/holder-uid"  # who holds the target's slot for this pod
ENDED_LABEL = f"{GROUP}/ended"  # put on a Job that has failed: it needs no slot any more
SLOT_GATE = (
    f"{GROUP}/slot"  # the scheduling gate of a pod whose run has not been seen to hold the slot
)
FORCE_RELEASE = (
    f"{GROUP}/force-release"  # annotation of a DbtTarget: the UID of a holder whose pod is given up
)
# Annotations of a DbtSchedule.
RUN_NOW = f"{GROUP}/run-now"  # each new value is one run
RETRY = f"{GROUP}/retry"  # the run whose occurrence is to have another one
BACKFILL = f"{GROUP}/backfill"  # the days over whose occurrences a backfill is to go
TEST_MESSAGE = f"{GROUP}/test-message"  # each new value is one on each channel
PAUSED_UNTIL = f"{GROUP}/paused-until"  # RFC 3339, or forever: nothing is due before
STOP = f"{GROUP}/stop-after-window"  # annotation of a pod: it begins no further window
KUEUE = "kueue.x-k8s.io/"  # what its labels begin with
QUEUE_LABEL = f"{KUEUE}queue-name"
MANAGED_BY = {"app.kubernetes.io/managed-by": "dbt-operator"}

# Put on Jobs by the CronJob controller: when the Job was due.
CRON_JOB_TIME = "batch.kubernetes.io/cronjob-scheduled-timestamp"
JOB_NAME_LABEL = "batch.kubernetes.io/job-name"  # put on pods by the Job controller

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
_UID = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
# What every Job and pod of a run has, and what it looks like.
PART_LABELS = {
    RUN_LABEL: _NAME,
    RUN_UID_LABEL: _UID,
    ATTEMPT_LABEL: re.compile(r"[1-9][0-9]{0,3}"),
    PROJECT_LABEL: _NAME,
    TARGET_LABEL: _NAME,
    HOLDER_LABEL: _UID,
}

_NAME_LENGTH = 63  # a Job's name becomes a label of its pods


def format_labels(labels: Mapping[str, str]) -> str:
    """Labels as a selector."""
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def short_uid(uid: str) -> str:
    """The first 8 characters of a UID: enough to tell two objects of one name apart."""
    return uid[:8]


def job_name(run: str, uid: str, attempt: int) -> str:
    """The name of an attempt's Job: the same whenever it is asked for, so that no attempt can get
    two.
    """
    suffix = f"-{short_uid(uid)}-{attempt}"
    head = run.replace(".", "-")[: _NAME_LENGTH - len(suffix)].rstrip("-")
    return head + suffix
