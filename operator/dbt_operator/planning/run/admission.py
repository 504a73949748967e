"""Admission of a run: what it asks for, with its project and target, becomes
``status.resolved``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from dbt_operator.api.base import PlainVariable, Variable
from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import DbtRun
from dbt_operator.api.parts.resolved import (
    Resolved,
    ResolvedGenerations,
    ResolvedState,
    ResolvedStep,
)
from dbt_operator.api.parts.retry import Defaults
from dbt_operator.api.parts.run_template import RunTemplateSpec
from dbt_operator.api.parts.source import Source
from dbt_operator.api.parts.steps import Step
from dbt_operator.planning.attempt import sizes
from dbt_operator.planning.attempt.dbt_args import argv
from dbt_operator.planning.common import names
from dbt_operator.planning.common.durations import seconds
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.names import short_uid
from dbt_operator.planning.common.pod_merge import merge_pod
from dbt_operator.planning.common.references import Referred
from dbt_operator.planning.policy import pinning
from dbt_operator.planning.run import retry
from dbt_operator.planning.state import compare, promote
from dbt_protocol.messages import PINNED_CODE, PLACING_SIDECAR, PROTOCOL

START_TIMEOUT = "10m"


def find_start_timeout(spec: RunTemplateSpec) -> timedelta:
    """For how long a pod may take to start, and for how long what a run needs may be missing."""
    return timedelta(seconds=seconds(spec.start_timeout or START_TIMEOUT))


def resolve(
    run: DbtRun,
    identity: Identity,
    referred: Referred,
    runner_image: str,
    compared_with: str | None = None,
) -> Resolved:
    """Put together everything that the run's Jobs are built from.

    ``compared_with`` is the folder of the state to compare with, where there is one.
    """
    (project, project_generation), (target, target_generation) = referred.project, referred.target
    run = with_defaults(run, project)
    spec, project_spec, target_spec = run.spec, project.spec, target.spec
    compared = compared_with is not None
    steps = (
        spec.steps
        if compared or not compare.compares(spec)
        else [compare.without(step) for step in spec.steps]
    )
    env = merge_env(project_spec.env, target_spec.env, spec.env)
    target_name = target_spec.target or spec.target_ref.name
    cache = compare.cache_key(variable.name for variable in env or ())
    cache_location = location(run, identity, project, "cache", f"{cache}.zip")
    pinned = pinning.find_pins(spec, project_spec, target_spec)
    return Resolved(
        generations=ResolvedGenerations(project=project_generation, target=target_generation),
        protocol=_find_protocol(project_spec.source, pinned),
        image=project_spec.image,
        image_pull_policy=project_spec.image_pull_policy,
        image_pull_secrets=project_spec.image_pull_secrets,
        runner_image=runner_image,
        source=_source(run, project_spec.source),
        reachable_from=pinned.reachable_from,
        deps=project_spec.deps or "IfMissing",
        deps_locked=pinned.deps_locked or None,
        steps=[
            _step(number, step, run, compared=compared)
            for number, step in enumerate(steps, start=1)
        ],
        env=env,
        target=target_name,
        profiles=target_spec.profiles.secret_ref,
        schema_pattern=target_spec.schema_pattern,
        database_pattern=target_spec.database_pattern,
        service_account_name=target_spec.service_account_name,
        artifacts=project_spec.artifacts,
        location=location(
            run, identity, project, "runs", f"{identity.name}-{short_uid(identity.uid)}"
        ),
        state=ResolvedState(key=compared_with, required=compare.missing_is_failure(spec))
        if compared_with
        else None,
        # What has worked on windows is not the state of the whole project.
        state_location=None
        if spec.windows
        else location(run, identity, project, "state", identity.uid),
        promote=None if spec.windows else promote.promotion(spec, steps, compared=compared),
        cache_location=None if project_spec.parse_cache == "Never" else cache_location,
        labels={
            name: value for name, value in identity.labels.items() if name.startswith(names.KUEUE)
        }
        or None,
        pod=merge_pod(project_spec.pod, spec.pod),
        fail_on_warn=spec.fails_on_warn or None,
        timeout_seconds=seconds(spec.timeout) if spec.timeout else None,
        start_timeout_seconds=round(find_start_timeout(spec).total_seconds()),
        queue_timeout_seconds=seconds(spec.queue_timeout) if spec.queue_timeout else None,
        retry=retry.resolve(spec.retry) if spec.retry else None,
    )


def resolve_largest(
    run: DbtRun, identity: Identity, referred: Referred, runner_image: str
) -> Resolved:
    """The largest that a run may be resolved to, whether or not there is a state to compare with
    once it begins.
    """
    compared_with = sizes.UNKNOWN_STATE if compare.compares(run.spec) else None
    return resolve(run, identity, referred, runner_image, compared_with)


def _find_protocol(source: Source, pinned: pinning.Pins) -> int:
    """Which plans the run's runner, that of this release, has to understand."""
    if source.image:
        return PLACING_SIDECAR
    return PINNED_CODE if pinned.asks_for_proof else PROTOCOL


def _source(run: DbtRun, source: Source) -> Source:
    """The project's source, at the ref that the run asks for."""
    if run.spec.source is None or source.git is None:
        return source
    return Source(git=source.git.model_copy(update={"ref": run.spec.source.ref}))


def with_defaults(run: DbtRun, project: DbtProject) -> DbtRun:
    """The run with what its project says of fields that it leaves out."""
    defaults = project.spec.defaults or Defaults()
    left_out = {
        name: value
        for name in Defaults.model_fields
        if getattr(run.spec, name) is None and (value := getattr(defaults, name)) is not None
    }
    return run.model_copy(update={"spec": run.spec.model_copy(update=left_out)})


def _step(number: int, step: Step, run: DbtRun, *, compared: bool) -> ResolvedStep:
    allow_failure = step.command == "docs" if step.allow_failure is None else step.allow_failure
    return ResolvedStep(
        name=f"{number}-{step.command}",
        command=step.command,
        argv=argv(step, run.spec, compared=compared),
        full=argv(compare.without(step), run.spec) if compare.compares(run.spec) else None,
        allow_failure=allow_failure,
        always=step.when == "Always",
        allow_empty=run.spec.on_empty_selection == "Succeed",
        on_stale=(step.source_freshness.on_stale if step.source_freshness else None) or "Fail",
    )


def merge_env(*layers: Iterable[Variable | PlainVariable] | None) -> list[Variable] | None:
    """Later layers win, variable by variable."""
    merged: dict[str, Variable] = {}
    for layer in layers:
        for variable in layer or ():
            merged[variable.name] = Variable.model_validate(variable.to_dict())
    return list(merged.values()) or None


def location(run: DbtRun, identity: Identity, project: DbtProject, *below: str) -> str:
    """A place in the bucket, below the folder of the run's project and target. UIDs keep runs of
    one name apart.
    """
    parts = [
        project.spec.artifacts.prefix,
        identity.namespace,
        run.spec.project_ref.name,
        run.spec.target_ref.name,
        *below,
    ]
    return "/".join(part for part in parts if part)
