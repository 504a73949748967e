"""Pods that outlive their work: those into which somebody else has put an ordinary container that
does not end by itself, as some service meshes do.

The end of dbt and of the upload is the end of the attempt, whatever else lives. It is written
first, since what is read of a pod is lost with the pod; then the pod is told to end. Until it has,
it holds its slot, and no other attempt begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from dbt_operator.planning.attempt.job import GRACE_SECONDS
from dbt_operator.planning.attempt.pod_facts import PodFacts
from dbt_operator.planning.common.durations import parse_time
from dbt_operator.planning.common.plan import LOOK_AGAIN, DeletePod, Plan


def end_pods(pods: Iterable[PodFacts]) -> Plan | None:
    """Tell the pods to end that outlive their work; None if there are none."""
    actions = tuple(DeletePod(pod.name, pod.uid) for pod in pods if pod.outlives_work)
    return Plan(actions=actions, requeue_after=LOOK_AGAIN) if actions else None


def find_upload_deadline(pod: PodFacts | None) -> datetime | None:
    """Until when the sidecar has ended that uploads what dbt has left; None while dbt is at work.

    It takes no longer than a grace period. One that has not ended by then has not heard of dbt's
    end, or is not started again after it has crashed, and the kubelet tells it nothing as long as
    another container lives.
    """
    if pod is None or not pod.dbt.ended or not pod.dbt.finished_at or pod.deleting:
        return None
    return parse_time(pod.dbt.finished_at) + timedelta(seconds=GRACE_SECONDS)
