"""How an attempt ended, judged from what its pod left behind. Nothing unknown is a success."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dbt_operator.api.status import Reason
from dbt_operator.planning.attempt.pod_facts import (
    ContainerFacts,
    JobFacts,
    OtherContainer,
    PodFacts,
)
from dbt_operator.planning.attempt.quotas import explain_quota
from dbt_protocol.messages import ProtocolError
from dbt_protocol.summaries import Summary, UploadSummary

# A container that never ran: its command, image or mounts are wrong.
_START_ERRORS = (
    "StartError",
    "ContainerCannotRun",
    "CreateContainerError",
    "CreateContainerConfigError",
)
_IMAGE_ERRORS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
)
_FAILED_PULL = "Failed to pull image"  # the kubelet's words
_NOT_SCHEDULED = (
    "FailedScheduling: "  # an event's reason; it may be here before the pod's condition is
)
_OOM = "OOMKilled"


@dataclass(frozen=True)
class Verdict:
    """The end of an attempt: ``reason`` is None when it succeeded."""

    reason: Reason | None
    message: str
    exit_code: int | None = None
    summary: Summary | None = None


def judge(pod: PodFacts | None, job: JobFacts | None) -> Verdict:
    """Judge an attempt whose pod has ended or is gone."""
    if pod is None:
        return _without_pod(job)
    if pod.dbt.ended:
        return _with_context(_by_container(pod.dbt, "dbt"), pod)
    if pod.prepare.ended and pod.prepare.exit_code != 0:
        return _with_context(_by_container(pod.prepare, "prepare"), pod)
    return _never_ran(pod)


def _by_container(container: ContainerFacts, name: str) -> Verdict:
    if container.end_reason == _OOM:
        return _oom(container, name)
    if container.end_reason in _START_ERRORS:
        return Verdict(
            Reason.CONFIG_ERROR,
            f"container {name} cannot start: {container.end_message}",
            container.exit_code,
        )
    try:
        summary = Summary.from_json(container.end_message)
    except ProtocolError as error:
        what = (
            f"container {name} ended with exit code {container.exit_code} and left no result that "
            "can be read"
        )
        return Verdict(Reason.UNKNOWN, f"{what} ({error})", container.exit_code)
    return _by_summary(summary, container)


def _oom(container: ContainerFacts, name: str) -> Verdict:
    """The runner may have outlived what was killed, and then says which nodes had ended by then."""
    message = (
        f"container {name} used more memory than its limit: raise pod.resources.limits.memory of "
        "the DbtProject"
    )
    try:
        summary = Summary.from_json(container.end_message)
    except ProtocolError:
        summary = None
    return Verdict(Reason.OOM_KILLED, message, container.exit_code, summary)


def _by_summary(summary: Summary, container: ContainerFacts) -> Verdict:
    code = container.exit_code
    if not summary.reason and code == 0:
        return Verdict(None, summary.message, code, summary)
    if not summary.reason:
        return Verdict(
            Reason.UNKNOWN,
            f"dbt reported success, but its container ended with exit code {code}",
            code,
            summary,
        )
    try:
        reason = Reason(summary.reason)
    except ValueError:
        return Verdict(Reason.UNKNOWN, f"{summary.reason}: {summary.message}", code, summary)
    return Verdict(reason, summary.message, code, summary)


def _with_context(verdict: Verdict, pod: PodFacts) -> Verdict:
    """What happened to the pod explains what its container saw: only a signal, or nothing at
    all.
    """
    if verdict.reason not in (Reason.CANCELLED, Reason.UNKNOWN):
        return verdict
    if pod.reason == "DeadlineExceeded":
        return _because(
            verdict, Reason.TIMEOUT, "the pod ran longer than its timeout and grace period allow"
        )
    if pod.disrupted or pod.reason:
        return _because(verdict, Reason.INFRASTRUCTURE, pod.message or pod.disrupted or pod.reason)
    if verdict.reason is Reason.CANCELLED:
        return _because(verdict, Reason.INFRASTRUCTURE, "the pod was stopped from outside")
    return verdict


def _because(verdict: Verdict, reason: Reason, message: str) -> Verdict:
    return Verdict(reason, message, verdict.exit_code, verdict.summary)


def _never_ran(pod: PodFacts) -> Verdict:
    if pod.reason == "DeadlineExceeded":
        return Verdict(Reason.TIMEOUT, "the pod ran longer than its timeout and grace period allow")
    if pod.disrupted or pod.reason:
        return Verdict(
            Reason.INFRASTRUCTURE, f"dbt never ran: {pod.message or pod.disrupted or pod.reason}"
        )
    for other in pod.others:
        if other.is_init and not other.is_sidecar and other.container.exit_code:
            return Verdict(Reason.INFRASTRUCTURE, f"dbt never ran: {_say_failed(other)}")
    return Verdict(Reason.UNKNOWN, "the pod ended before dbt ran, and does not say why")


def _say_failed(other: OtherContainer) -> str:
    container = other.container
    why = ", ".join(text for text in (container.end_reason, container.end_message) if text)
    said = f"init container {other.name}, which is not the operator's, ended with exit code"
    return f"{said} {container.exit_code}: {why or 'it does not say why'}"


def _without_pod(job: JobFacts | None) -> Verdict:
    if job is not None and job.failed_reason == "PodFailurePolicy":
        return Verdict(Reason.INFRASTRUCTURE, job.failed_message)
    if job is not None and job.failed_reason:
        return Verdict(
            Reason.UNKNOWN, f"the pod is gone and its result is lost: {job.failed_message}"
        )
    return Verdict(
        Reason.UNKNOWN,
        "the Job or its pod was deleted before the result was read; it is not run again",
    )


def stuck(pod: PodFacts | None, warnings: Sequence[str]) -> Verdict:
    """Why a pod has not started dbt yet.

    Args:
        pod: the pod, or None when the Job has not been able to create it.
        warnings: warning events about the pod or its Job, the newest first. What keeps a volume
            from being mounted or a pod from being created stands nowhere else, and a failed pull
            not while the next is being tried.
    """
    newest = next(iter(warnings), "")
    if pod is None and (quota := explain_quota(newest)):
        return Verdict(Reason.UNSCHEDULABLE, f"the pod cannot be created: {quota}")
    if pod is None and newest:
        return Verdict(Reason.CONFIG_ERROR, f"the pod cannot be created: {newest}")
    if pod is None:
        return Verdict(Reason.INFRASTRUCTURE, "the pod has not been created, and no event says why")
    if pod.unschedulable:
        return Verdict(Reason.UNSCHEDULABLE, f"no node takes the pod: {pod.unschedulable}")
    if (broken := _find_broken_container(pod)) is not None:
        return broken
    if newest.startswith(_NOT_SCHEDULED):
        return Verdict(
            Reason.UNSCHEDULABLE, f"no node takes the pod: {newest.removeprefix(_NOT_SCHEDULED)}"
        )
    if pull := next((warning for warning in warnings if _FAILED_PULL in warning), ""):
        return Verdict(Reason.IMAGE_PULL_FAILED, pull)
    if holding := next((other for other in pod.others if other.holds_up_dbt), None):
        return Verdict(Reason.INFRASTRUCTURE, _say_holding(holding, newest))
    if newest:
        return Verdict(Reason.CONFIG_ERROR, f"the pod cannot start: {newest}")
    return Verdict(Reason.INFRASTRUCTURE, "the pod has not started, and no event says why")


def _find_broken_container(pod: PodFacts) -> Verdict | None:
    """Why a container cannot be started; None if none says so. Those before dbt come first."""
    others = sorted(pod.others, key=lambda other: not other.is_init)
    for container in (pod.prepare, pod.artifacts, pod.dbt, *(other.container for other in others)):
        if container.waiting_reason in _IMAGE_ERRORS:
            text = container.waiting_message or container.waiting_reason
            return Verdict(
                Reason.IMAGE_PULL_FAILED, f"image {container.image} cannot be pulled: {text}"
            )
        if container.waiting_reason in _START_ERRORS:
            return Verdict(
                Reason.CONFIG_ERROR, f"a container cannot be started: {container.waiting_message}"
            )
    return None


def _say_holding(other: OtherContainer, newest: str) -> str:
    """What keeps dbt from being started, with the newest event, which may be about it."""
    lacks = "is not ready" if other.is_sidecar else "has not ended"
    said = f"init container {other.name}, which is not the operator's, {lacks}"
    since = f"{said} since {other.container.started_at}"
    return f"{since}: {newest}" if newest else since


def checked_out(pod: PodFacts | None) -> str | None:
    """The commit of a Git repository that an attempt works on; None as long as it is not known."""
    try:
        return (
            (Summary.from_json(pod.prepare.end_message).commit or None)
            if pod and pod.prepare.ended
            else None
        )
    except ProtocolError:
        return None


def uploaded(pod: PodFacts | None) -> UploadSummary | None:
    """What the sidecar says of its uploads; None when it says nothing that can be read."""
    try:
        return (
            UploadSummary.from_json(pod.artifacts.end_message)
            if pod and pod.artifacts.ended
            else None
        )
    except ProtocolError:
        return None
