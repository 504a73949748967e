"""Facts about Jobs and pods, read from their manifests into frozen dataclasses.

Planners and :mod:`verdict` work on these, so a test can write down a pod that would take a broken
node to produce.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from dbt_operator.planning.common import names
from dbt_operator.planning.common.durations import parse_time
from dbt_operator.planning.common.manifests import Manifest, controller_uid
from dbt_operator.planning.common.names import (
    ATTEMPT_LABEL,
    BACKFILL_LABEL,
    ENDED_LABEL,
    HOLDER_LABEL,
    JOB_NAME_LABEL,
    RUN_LABEL,
    RUN_UID_LABEL,
    SLOT_GATE,
    STOP,
)
from dbt_protocol.digests import Digest
from dbt_protocol.paths import ARTIFACTS_CONTAINER, DBT_CONTAINER, PREPARE_CONTAINER
from dbt_protocol.plans import PLAN_VARIABLE
from dbt_protocol.summaries import Progress

GONE = "gone"  # put into the manifest of a pod by the store, once it has been deleted


@dataclass(frozen=True)
class ContainerFacts:
    """One container of a pod."""

    waiting_reason: str = ""
    waiting_message: str = ""
    started_at: str = ""
    finished_at: str = ""
    exit_code: int | None = None  # None until it has ended
    end_reason: str = ""  # OOMKilled, Error, StartError, ...
    end_message: str = ""  # its termination message
    image: str = ""
    image_id: str = ""

    @property
    def ended(self) -> bool:
        """Whether it has run and ended."""
        return self.exit_code is not None


@dataclass(frozen=True)
class OtherContainer:
    """A container that somebody else has put into the pod, as service meshes do."""

    name: str
    container: ContainerFacts
    is_init: bool = False  # it comes before dbt
    is_sidecar: bool = False  # native: the kubelet ends it, and restarts it
    is_started: bool = False  # of a native sidecar: what comes after it may start

    @property
    def may_keep_pod(self) -> bool:
        """Whether the pod goes on as long as this goes on. The kubelet ends native sidecars once
        every ordinary container has ended.
        """
        return not self.is_init and not self.container.ended

    @property
    def holds_up_dbt(self) -> bool:
        """Whether it runs, and dbt is not started before it has ended, or says that it is ready."""
        is_running = bool(self.container.started_at) and not self.container.ended
        return self.is_init and is_running and not (self.is_sidecar and self.is_started)


@dataclass(frozen=True)
class PodFacts:
    """A pod of an attempt."""

    uid: str = ""
    name: str = ""
    phase: str = "Pending"
    reason: str = ""  # Evicted, DeadlineExceeded, ...
    message: str = ""
    deleting: bool = False  # its containers have been asked to end
    gone: bool = False  # this is the last that was seen of it
    created_at: datetime | None = None
    job_uid: str = ""  # of the Job that it belongs to
    node: str = ""  # that it is on; empty until it has been scheduled
    told_to_stop: bool = False  # it has been asked to begin no further window
    gated: bool = False  # it waits behind the slot's gate, and no node has it
    unschedulable: str = ""  # the scheduler's message
    disrupted: str = ""  # the message of the condition DisruptionTarget
    prepare: ContainerFacts = field(default_factory=ContainerFacts)
    dbt: ContainerFacts = field(default_factory=ContainerFacts)
    # Of the sidecar's ends the one that came after dbt's, however often it was started again.
    artifacts: ContainerFacts = field(default_factory=ContainerFacts)
    others: tuple[OtherContainer, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether all its containers have ended and none will be started again.

        The kubelet reports the phase up to two seconds after the last container's end, once it has
        tidied up. A native sidecar is not started again when the ordinary containers have ended.
        A pod that is deleted before any node has it is not given to one any more, also where a
        finalizer keeps it.
        """
        return (
            self.gone
            or self.phase in ("Succeeded", "Failed")
            or (self.deleting and not self.node and self.phase == "Pending")
            or (self._has_done_its_work and not any(other.may_keep_pod for other in self.others))
        )

    @property
    def work_ended(self) -> bool:
        """Whether dbt and the upload have ended, whatever else goes on living in the pod."""
        return self.ended or self._has_done_its_work

    @property
    def outlives_work(self) -> bool:
        """Whether it goes on although dbt and the upload have ended, and nobody has told it to
        end.
        """
        return self.work_ended and not self.ended and not self.deleting

    @property
    def _has_done_its_work(self) -> bool:
        return self.dbt.ended and self.artifacts.ended


@dataclass(frozen=True)
class JobFacts:
    """The Job of an attempt."""

    uid: str
    owner_uid: str = ""
    created_at: datetime | None = None
    failed_reason: str = ""  # of the condition Failed
    failed_message: str = ""
    complete: bool = False
    deleting: bool = False
    suspended: bool = False  # by Kueue, for example: it has no pod, or its pod is being deleted
    started_at: datetime | None = None  # when it was last allowed to have a pod
    plan: str | None = (
        # what its dbt container is told; empty if it is told nothing, None if nobody has looked
        None
    )
    name: str = ""
    marked: bool = False  # as ended

    @property
    def ended(self) -> bool:
        """Whether the Job controller has done with it."""
        return self.complete or bool(self.failed_reason)

    @property
    def is_to_be_marked(self) -> bool:
        """Whether it has failed, and is listed with those that may still have pods."""
        return bool(self.failed_reason) and not (self.complete or self.marked or self.deleting)


@dataclass(frozen=True)
class AttemptFacts:
    """What is known of the current attempt of a run.

    ``job`` and ``pod`` are None where they are confirmed absent. ``warnings`` are the warning
    events about a pod or Job that has not started, the newest first; ``progress`` is how far dbt
    was at the last look; ``digest`` is what the pod that has ended tells of failures and warnings.
    """

    job: JobFacts | None = None
    pod: PodFacts | None = None
    warnings: tuple[str, ...] = ()
    progress: Progress | None = None
    digest: Digest | None = None

    @property
    def over(self) -> bool:
        """Whether nothing of the attempt works or will work. The Job is asked only where the pod is
        gone. Containers of others may go on living in the pod.
        """
        if self.pod is not None:
            return self.pod.work_ended
        return self.job is not None and self.job.ended


def job_facts(manifest: Manifest) -> JobFacts:
    """Read a Job."""
    metadata = manifest["metadata"]
    conditions = {
        c["type"]: c
        for c in manifest.get("status", {}).get("conditions") or ()
        if c["status"] == "True"
    }
    failed = conditions.get("Failed", {})
    return JobFacts(
        uid=metadata["uid"],
        name=metadata["name"],
        owner_uid=controller_uid(manifest),
        created_at=_time(metadata.get("creationTimestamp")),
        failed_reason=failed.get("reason", "Failed") if failed else "",
        failed_message=failed.get("message", ""),
        complete="Complete" in conditions,
        marked=ENDED_LABEL in (metadata.get("labels") or {}),
        deleting="deletionTimestamp" in metadata,
        # The condition follows the field, both ways, together with startTime.
        suspended=bool(manifest.get("spec", {}).get("suspend")) or "Suspended" in conditions,
        started_at=_time(manifest.get("status", {}).get("startTime")),
        plan=_plan(manifest),
    )


def _plan(job: Manifest) -> str:
    pod: Manifest = job.get("spec", {}).get("template", {}).get("spec", {})
    told = [
        variable.get("value") or ""
        for container in pod.get("containers") or ()
        if container["name"] == DBT_CONTAINER
        for variable in container.get("env") or ()
        if variable["name"] == PLAN_VARIABLE
    ]
    return told[0].replace("$$", "$") if told else ""


def foreign(kind: str, manifest: Manifest) -> str:
    """Why a Job or pod is none of ours; empty if it is one.

    Anybody may put our labels on anything. So all of them must be there, with values that we would
    write, and the object must be controlled as ours are: a Job by the DbtRun that its labels name,
    a pod by a Job. One without any controller is ours if it has the name, or a pod the Job's name,
    that follows from its labels: `kubectl delete --cascade=orphan` takes the controller away from
    what goes on running, and a slot must not be given to somebody else as long as it does. A copy
    made by hand of one of our pods has that name as well, and runs dbt just so.
    """
    metadata = manifest["metadata"]
    labels: Manifest = metadata.get("labels") or {}
    if wrong := [
        label
        for label, pattern in names.PART_LABELS.items()
        if not pattern.fullmatch(labels.get(label, ""))
    ]:
        return f"the label {wrong[0]} is missing or is not one of ours"
    if not labels.get(BACKFILL_LABEL) and labels[HOLDER_LABEL] != labels[RUN_UID_LABEL]:
        return f"the label {HOLDER_LABEL} is not that of its run"
    owner = next(
        (each for each in metadata.get("ownerReferences") or () if each.get("controller")), None
    )
    if owner is None:
        job = metadata["name"] if kind == "Job" else labels.get(JOB_NAME_LABEL)
        expected = names.job_name(
            labels[RUN_LABEL], labels[RUN_UID_LABEL], int(labels[ATTEMPT_LABEL])
        )
        return "" if job == expected else "nothing of ours controls it"
    if kind == "Pod":
        return "" if owner["kind"] == "Job" else f"a {owner['kind']} controls it"
    return (
        ""
        if (owner["kind"], owner["uid"]) == ("DbtRun", labels[RUN_UID_LABEL])
        else "its run does not control it"
    )


def pod_facts(manifest: Manifest) -> PodFacts:
    """Read a pod."""
    status: Manifest = manifest.get("status", {})
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    scheduled, disrupted = (
        conditions.get("PodScheduled", {}),
        conditions.get("DisruptionTarget", {}),
    )
    statuses = _statuses(status)
    dbt, others = _container(statuses, DBT_CONTAINER), _others(manifest, statuses)
    deleting = "deletionTimestamp" in manifest["metadata"]
    return PodFacts(
        uid=manifest["metadata"]["uid"],
        name=manifest["metadata"]["name"],
        phase=status.get("phase", "Pending"),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        deleting=deleting,
        gone=bool(manifest.get(GONE)),
        created_at=_time(manifest["metadata"].get("creationTimestamp")),
        job_uid=controller_uid(manifest),
        node=manifest.get("spec", {}).get("nodeName") or "",
        told_to_stop=STOP in (manifest["metadata"].get("annotations") or {}),
        gated=gated(manifest),
        unschedulable=scheduled.get("message", "")
        if scheduled.get("reason") == "Unschedulable"
        else "",
        disrupted=disrupted.get("message", "disrupted")
        if disrupted.get("status") == "True"
        else "",
        prepare=_container(statuses, PREPARE_CONTAINER),
        dbt=dbt,
        artifacts=_sidecar(
            statuses.get(ARTIFACTS_CONTAINER, {}),
            dbt,
            is_restarted=not deleting and any(other.may_keep_pod for other in others),
        ),
        others=others,
    )


def gated(pod: Manifest) -> bool:
    """Whether a pod waits behind the slot's gate."""
    return any(
        gate["name"] == SLOT_GATE for gate in pod.get("spec", {}).get("schedulingGates") or ()
    )


def _statuses(status: Manifest) -> dict[str, Manifest]:
    """What is said of each container, by its name."""
    every = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return {each["name"]: each for each in every}


def _container(statuses: Mapping[str, Manifest], name: str) -> ContainerFacts:
    found = statuses.get(name, {})
    return _in_state(found, found.get("state", {}))


def _in_state(found: Manifest, state: Manifest) -> ContainerFacts:
    waiting, ended = state.get("waiting", {}), state.get("terminated", {})
    return ContainerFacts(
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        started_at=(state.get("running") or ended).get("startedAt") or "",
        finished_at=ended.get("finishedAt") or "",
        exit_code=ended.get("exitCode"),
        end_reason=ended.get("reason", ""),
        end_message=ended.get("message", ""),
        image=found.get("image", ""),
        image_id=found.get("imageID", ""),
    )


def _sidecar(found: Manifest, dbt: ContainerFacts, *, is_restarted: bool) -> ContainerFacts:
    """The sidecar: its end, once it has come to one after dbt's end, else what it does now.

    As long as an ordinary container of somebody else lives, the kubelet starts a sidecar again that
    has ended. So its end may be its last state by now; and one that has left no report will be
    followed by another, which may leave it.

    Args:
        found: what the kubelet says of the sidecar.
        dbt: the dbt container.
        is_restarted: whether the kubelet starts it again when it has ended.
    """
    now, last = _in_state(found, found.get("state", {})), _in_state(found, _last_state(found))
    if not dbt.ended:
        return now
    for end in (last, now):
        if end.ended and end.end_message and _is_after(end, dbt):
            return end
    return replace(now, exit_code=None) if is_restarted else now


def _last_state(found: Manifest) -> Manifest:
    last: Manifest = found.get("lastState") or {}
    return last


def _is_after(end: ContainerFacts, dbt: ContainerFacts) -> bool:
    """Whether the sidecar has ended after dbt: not before it, in whole seconds."""
    if not end.finished_at or not dbt.finished_at:
        return True
    return parse_time(end.finished_at) >= parse_time(dbt.finished_at)


def _others(pod: Manifest, statuses: Mapping[str, Manifest]) -> tuple[OtherContainer, ...]:
    spec = pod.get("spec", {})
    ours = (PREPARE_CONTAINER, DBT_CONTAINER, ARTIFACTS_CONTAINER)
    return tuple(
        OtherContainer(
            each["name"],
            _container(statuses, each["name"]),
            is_init=field_name == "initContainers",
            is_sidecar=field_name == "initContainers" and each.get("restartPolicy") == "Always",
            is_started=bool(statuses.get(each["name"], {}).get("started")),
        )
        for field_name in ("initContainers", "containers")
        for each in spec.get(field_name) or ()
        if each["name"] not in ours
    )


def _time(text: str | None) -> datetime | None:
    return parse_time(text) if text else None
