"""A run's ``status.resolved`` to the Job of an attempt, and nothing else goes in: later edits
change no attempt.

Three containers. ``prepare`` (init) copies the runner and fetches source, state and earlier
results; ``artifacts`` (native sidecar) uploads; only these two see the bucket's Secret. ``dbt`` is
the user's image and the only one that sees the profile. Where there is nothing to fetch there is no
``prepare``, which takes a second or more of each run, and the sidecar's hook copies the runner. The
sidecar gets SIGTERM after dbt has ended, also when dbt was killed for its memory, and uploads what
there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from dbt_operator.api.base import API_VERSION, Variable
from dbt_operator.api.parts.pod import Pod
from dbt_operator.api.parts.resolved import Resolved
from dbt_operator.api.parts.source import GitSource
from dbt_operator.planning.attempt.pod_volumes import list_own_volumes, make_mount, make_volume
from dbt_operator.planning.common import names
from dbt_operator.planning.common.identity import Identity
from dbt_protocol import paths, plans
from dbt_protocol.messages import PLACING_SIDECAR, PROTOCOL, ProtocolError
from dbt_protocol.plans import Bucket, PreparePlan, RunPlan, Step, UploadPlan, Window

GRACE_SECONDS = 120  # of the pod: dbt gets at most half of it, the upload the rest
USER = 65532
# An emptyDir, and the one folder that programs expect to be writable in any image.
_HOME = "/tmp"  # noqa: S108
_RESOURCES = {"requests": {"cpu": "250m", "memory": "512Mi"}}
_CLONE = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
_SMALL = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}

# Isolated, and without what the image adds to each start of Python: neither a user's environment
# nor a package that reads it has a say in process 1. dbt gets both, and an interpreter of its own,
# should the image have installed it for another one.
_START = ("python3", "-I", "-S", paths.RUNNER, "run")
# In the runner image, as it is started there.
_PLACE = ("python", "-m", "dbt_runner", "place")

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """What an attempt is told besides: of the attempts before it, and of the run's windows."""

    timeout: float | None = None  # seconds that are left of the run's timeout; None: all of them
    commit: str = (
        ""  # what an earlier attempt has found the Git source's ref to be; empty if none has yet
    )
    windows: Sequence[Window] = ()
    states: str = ""  # how these stand, as far as is known
    stop_on_failure: bool = True


@dataclass(frozen=True)
class Work:
    """What a Job is made for: an attempt, on a project and a target."""

    project: str  # name of the DbtProject
    target: str  # name of the DbtTarget
    attempt: int  # its number


def build(resolved: Resolved, run: Identity, work: Work, told: Told | None = None) -> Manifest:
    """The Job of an attempt.

    Args:
        resolved: what the run's Jobs are built from.
        run: the DbtRun.
        work: what the Job is for.
        told: what else it is told.
    """
    told = told or Told()
    attempt = work.attempt
    if told.timeout is not None:
        resolved = resolved.model_copy(update={"timeout_seconds": max(1, round(told.timeout))})
    name = names.job_name(run.name, run.uid, attempt)
    labels = {
        **names.MANAGED_BY,
        names.RUN_LABEL: run.name,
        names.RUN_UID_LABEL: run.uid,
        names.ATTEMPT_LABEL: str(attempt),
        names.PROJECT_LABEL: work.project,
        names.TARGET_LABEL: work.target,
        names.HOLDER_LABEL: resolved.parent.uid if resolved.parent else run.uid,
    }
    if resolved.parent:
        labels[names.BACKFILL_LABEL] = resolved.parent.name
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        # Kueue's labels belong on the Job, which it suspends and resumes; so suspend is never
        # written here.
        "metadata": {
            "name": name,
            "namespace": run.namespace,
            "labels": {**(resolved.labels or {}), **labels},
            "ownerReferences": [_owner(run)],
        },
        "spec": {
            # The operator owns attempts: the Job makes exactly one pod, and never a second beside a
            # living one.
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            # Keeps the reason on the Job although an evicted pod is gone.
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    }
                ]
            },
            "template": {
                "metadata": _pod_metadata(resolved.pod or Pod(), labels),
                "spec": _pod(resolved, run, attempt, told),
            },
        },
    }


def _pod_metadata(pod: Pod, labels: dict[str, str]) -> Manifest:
    """What the project puts on its pods, and the labels that these are known by."""
    annotations = {"annotations": pod.annotations} if pod.annotations else {}
    return {"labels": {**(pod.labels or {}), **labels}, **annotations}


def _owner(run: Identity) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": "DbtRun",
        "name": run.name,
        "uid": run.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _pod(resolved: Resolved, run: Identity, attempt: int, told: Told) -> Manifest:
    pod = resolved.pod or Pod()
    user = pod.run_as_user or USER
    spec: Manifest = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": pod.fs_group or user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # A Job may be created late, by an operator that had stopped for a while: its pod must not
        # run then. The gate is opened once this very Job stands in the run's status and the run
        # among the target's holders.
        "schedulingGates": [{"name": names.SLOT_GATE}],
        "initContainers": [
            *_prepare(resolved, attempt, told.commit, pod),
            _artifacts(resolved, attempt, pod),
        ],
        "containers": [_dbt(resolved, run, attempt, pod, told)],
        "volumes": [
            *list_own_volumes(resolved, pod),
            *_orders(told),
            *(make_volume(volume) for volume in pod.volumes or ()),
        ],
    }
    if resolved.timeout_seconds is not None:
        # A backstop only: the runner keeps the timeout itself, and lets dbt cancel its queries for
        # half a grace period; then the sidecar has a whole one to upload. Counted from where the
        # pod is on its node.
        each = resolved.timeout_seconds + GRACE_SECONDS // 2  # of a window, where there are some
        longest = resolved.start_timeout_seconds + each * max(1, len(told.windows)) + GRACE_SECONDS
        spec["activeDeadlineSeconds"] = longest
    return spec | _optional(resolved, pod)


def _optional(resolved: Resolved, pod: Pod) -> Manifest:
    found: Manifest = {
        "serviceAccountName": resolved.service_account_name,
        "imagePullSecrets": [secret.to_dict() for secret in resolved.image_pull_secrets or ()],
        "nodeSelector": pod.node_selector,
        "affinity": pod.affinity,
        "tolerations": [toleration.to_dict() for toleration in pod.tolerations or ()],
        "priorityClassName": pod.priority_class_name,
        "runtimeClassName": pod.runtime_class_name,
        "topologySpreadConstraints": [
            constraint.to_dict() for constraint in pod.topology_spread_constraints or ()
        ],
        "hostAliases": [alias.to_dict() for alias in pod.host_aliases or ()],
        "dnsConfig": pod.dns_config.to_dict() if pod.dns_config else None,
    }
    return {name: value for name, value in found.items() if value}


def _container(
    name: str, image: str, environment: list[Manifest], mounts: list[Manifest]
) -> Manifest:
    return {
        "name": name,
        "image": image,
        "env": environment,
        "volumeMounts": [
            {"name": "shared", "mountPath": paths.SHARED},
            *mounts,
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _literal(text: str) -> str:
    """A text as the kubelet is to hand it on, in env, command and args.

    It would put the value of another variable, a password even, in the place of $(NAME).
    """
    return text.replace("$", "$$")


def _plain(name: str, value: str) -> Manifest:
    return {"name": name, "value": _literal(value)}


def _plan(plan: PreparePlan | RunPlan | UploadPlan) -> Manifest:
    return _plain(plans.PLAN_VARIABLE, plan.to_json())


def _is_in_place(resolved: Resolved, attempt: int) -> bool:
    """Whether the images bring all that an attempt begins with, and the run's sidecar can put the
    runner in its place.
    """
    is_fetched = resolved.source.git or resolved.source.config_map or resolved.state
    can_place = resolved.protocol >= PLACING_SIDECAR
    return can_place and not is_fetched and _continued(resolved, attempt) is None


def _prepare(resolved: Resolved, attempt: int, commit: str, pod: Pod) -> list[Manifest]:
    """The init container, where there is anything to prepare."""
    if _is_in_place(resolved, attempt):
        return []
    resume, git = _continued(resolved, attempt) is not None, resolved.source.git
    plan = PreparePlan(
        protocol=resolved.protocol,
        source="git" if git else "configMap" if resolved.source.config_map else "image",
        bucket=_bucket(resolved) if resume or resolved.state else None,
        previous=resolved.location if resume else "",
        state=resolved.state.key if resolved.state else "",
        state_required=bool(resolved.state and resolved.state.required),
    )
    if git:
        plan = _of_git(plan, resolved, git, commit)
    mounts = _bucket_mounts(resolved) if plan.bucket else []
    if resolved.source.config_map:
        mounts.append({"name": "source", "mountPath": paths.SOURCE, "readOnly": True})
    environment = [_plan(plan), *(_bucket_login(resolved) if plan.bucket else ())]
    container = _container(paths.PREPARE_CONTAINER, resolved.runner_image, environment, mounts)
    container |= {"args": [_literal("prepare")], "resources": _small(pod)}
    return [_cloning(container, git, pod) if git else container]


def _of_git(plan: PreparePlan, resolved: Resolved, git: GitSource, commit: str) -> PreparePlan:
    return replace(
        plan,
        url=git.url,
        ref=git.ref or "",
        commit=commit,
        reachable_from=resolved.reachable_from or "",
        sub_path=git.sub_path or "",
        submodules=bool(git.submodules),
        lfs=bool(git.lfs),
        # So that what keeps it from ending is told by itself, and not by startTimeout.
        timeout_seconds=resolved.start_timeout_seconds * 0.8,
    )


def _cloning(container: Manifest, git: GitSource, pod: Pod) -> Manifest:
    """Nothing but this container sees the repository's credentials, and what it makes of them is in
    memory only.
    """
    container["volumeMounts"].append({"name": "prepare-tmp", "mountPath": _HOME})
    if git.secret_ref:
        container["volumeMounts"].append({"name": "git", "mountPath": paths.GIT, "readOnly": True})
    if not git.url.startswith(("https://", "http://")):
        # ssh works only for users that are in the image's /etc/passwd. What other containers share
        # with it, they share by the group.
        container["securityContext"] |= {"runAsUser": USER}
    return container if pod.sidecar_resources else container | {"resources": _CLONE}


def _continued(resolved: Resolved, attempt: int) -> int | None:
    """The attempt that this one continues; the runner decides whether its results allow it."""
    return attempt - 1 if attempt > 1 and resolved.retry and resolved.retry.resume else None


def _bucket(resolved: Resolved) -> Bucket:
    artifacts = resolved.artifacts
    return Bucket(
        endpoint=artifacts.endpoint,
        name=artifacts.bucket,
        region=artifacts.region,
        ca=paths.BUCKET_CA if artifacts.ca_secret_ref else "",
    )


def _bucket_login(resolved: Resolved) -> list[Manifest]:
    if resolved.artifacts.secret_ref is None:
        return []  # the identity of the pod's ServiceAccount
    secret = resolved.artifacts.secret_ref.name
    keys: list[Manifest] = [
        {"name": secret, "key": "AWS_ACCESS_KEY_ID"},
        {"name": secret, "key": "AWS_SECRET_ACCESS_KEY"},
        # Only keys that are temporary have one.
        {"name": secret, "key": "AWS_SESSION_TOKEN", "optional": True},
    ]
    return [{"name": key["key"], "valueFrom": {"secretKeyRef": key}} for key in keys]


def _bucket_mounts(resolved: Resolved) -> list[Manifest]:
    if resolved.artifacts.ca_secret_ref is None:
        return []
    return [{"name": "bucket", "mountPath": paths.BUCKET, "readOnly": True}]


def _artifacts(resolved: Resolved, attempt: int, pod: Pod) -> Manifest:
    places = _is_in_place(resolved, attempt)
    plan = UploadPlan(
        bucket=_bucket(resolved),
        prefix=f"{resolved.location}/attempt-{attempt}",
        run=resolved.location,
        state=resolved.state_location or "",
        cache=resolved.cache_location or "",
        places=places,
        protocol=PLACING_SIDECAR if places else PROTOCOL,
    )
    environment = [_plan(plan), *_bucket_login(resolved)]
    mounts = _bucket_mounts(resolved)
    container = _container(paths.ARTIFACTS_CONTAINER, resolved.runner_image, environment, mounts)
    if places:
        # The kubelet goes on to the dbt container when this hook has ended, and not before.
        command = [_literal(word) for word in _PLACE]
        container["lifecycle"] = {"postStart": {"exec": {"command": command}}}
    return container | {
        "args": [_literal("artifacts")],
        "restartPolicy": "Always",
        "resources": _small(pod),
    }


def _small(pod: Pod) -> Manifest:
    return pod.sidecar_resources.to_dict() if pod.sidecar_resources else _SMALL


def _orders(told: Told) -> list[Manifest]:
    """What the operator has to say while the pod works through windows: an annotation, as a
    file.
    """
    if not told.windows:
        return []
    stop = {
        "path": PurePosixPath(paths.STOP).name,
        "fieldRef": {"fieldPath": f"metadata.annotations['{names.STOP}']"},
    }
    return [{"name": "orders", "downwardAPI": {"items": [stop]}}]


def _dbt(resolved: Resolved, run: Identity, attempt: int, pod: Pod, told: Told) -> Manifest:
    environment: list[Manifest] = [
        *(_variable(variable) for variable in resolved.env or ()),
        _plain("HOME", _HOME),
        _plan(run_plan(resolved, run, attempt, told)),
    ]
    mounts: list[Manifest] = [
        {"name": "profiles", "mountPath": paths.PROFILES, "readOnly": True},
        {"name": "tmp", "mountPath": _HOME},
        *({"name": "orders", "mountPath": paths.ORDERS, "readOnly": True} for _ in _orders(told)),
        *(make_mount(volume) for volume in pod.volumes or ()),
    ]
    container = _container(paths.DBT_CONTAINER, resolved.image, environment, mounts)
    if resolved.image_pull_policy:
        container["imagePullPolicy"] = resolved.image_pull_policy
    return container | {
        "command": [_literal(word) for word in _START],
        "resources": pod.resources.to_dict() if pod.resources else _RESOURCES,
    }


def is_of_attempt(plan: str, expected: RunPlan) -> bool:
    """Whether a Job's dbt container is told to do what that of an attempt is to do.

    The rest of a Job is filled in by the API server and changed by webhooks and queues, and another
    version of the operator puts it together otherwise; what is done, and in which windows, is the
    same in all of them.
    """
    try:
        found = RunPlan.from_json(plan)
    except ProtocolError:
        return False
    return _work(found) == _work(expected)


def _work(plan: RunPlan) -> tuple[object, ...]:
    steps = [(step.name, step.argv) for step in plan.steps]
    return plan.run_uid, plan.attempt, plan.target, steps, plan.windows


def run_plan(resolved: Resolved, run: Identity, attempt: int, told: Told) -> RunPlan:
    """What the dbt container of an attempt is told."""
    image = resolved.source.image
    git = resolved.source.git
    in_volume = f"{paths.PROJECT}/{git.sub_path}" if git and git.sub_path else paths.PROJECT
    return RunPlan(
        namespace=run.namespace,
        run=run.name,
        run_uid=run.uid,
        attempt=attempt,
        project_dir=image.path if image else in_volume,
        deps=resolved.deps or "Never",
        deps_locked=bool(resolved.deps_locked),
        target=resolved.target,
        steps=[Step(**step.model_dump()) for step in resolved.steps],
        schema_pattern=resolved.schema_pattern,
        database_pattern=resolved.database_pattern,
        timeout_seconds=resolved.timeout_seconds,
        grace_seconds=GRACE_SECONDS / 2,
        resume=_continued(resolved, attempt),
        state=resolved.state.key if resolved.state else "",
        state_required=bool(resolved.state and resolved.state.required),
        cached=bool(resolved.cache_location),
        image=resolved.image,
        fail_on_warn=bool(resolved.fail_on_warn),
        windows=list(told.windows),
        done=told.states,
        stop_on_failure=told.stop_on_failure,
        protocol=resolved.protocol,
    )


def _variable(variable: Variable) -> Manifest:
    if variable.secret_key_ref:
        return {
            "name": variable.name,
            "valueFrom": {"secretKeyRef": variable.secret_key_ref.to_dict()},
        }
    if variable.config_map_key_ref:
        return {
            "name": variable.name,
            "valueFrom": {"configMapKeyRef": variable.config_map_key_ref.to_dict()},
        }
    return _plain(variable.name, variable.value or "")
