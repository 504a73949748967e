"""What is refused at admission: what CEL cannot see, since it takes project and target, or more
than a pattern.

A refusal names the field and the remedy, and never a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dbt_operator.api.base import PlainVariable, Variable
from dbt_operator.api.kinds.project import DbtProjectSpec
from dbt_operator.api.kinds.run import DbtRunSpec
from dbt_operator.api.kinds.target import DbtTargetSpec
from dbt_operator.api.parts.run_template import RunTemplateSpec
from dbt_operator.planning.common.pod_merge import find_overflow
from dbt_operator.planning.policy import run_labels, secret_shapes, variable_names
from dbt_operator.planning.policy.pinning import find_unpinned
from dbt_protocol.flag_variables import find_remedy, is_flag


def refusal(spec: DbtRunSpec, project: DbtProjectSpec, target: DbtTargetSpec) -> str:
    """Why a run is not admitted; empty when it is. What the run leaves out is filled in already."""
    found = (
        _waits_for_ever(spec)
        or _not_of_git(spec, project)
        or plain_secret(spec, project, target)
        or reserved(spec, project, target)
        or run_labels.find_unlisted(spec.pod, spec.target_ref.name, target.allowed_run_labels)
        or find_overflow(project.pod, spec.pod, spec.project_ref.name)
    )
    if found:
        return found
    if target.protected:
        return protected(spec, project, target)
    return unlisted_in_env(spec.env, spec.target_ref.name, target.allowed_run_env)


def _waits_for_ever(spec: DbtRunSpec) -> str:
    """Waiting for sources has to end somewhere."""
    if spec.timeout or (spec.retry and spec.retry.attempt_timeout):
        return ""
    for number, step in enumerate(spec.steps):
        if step.source_freshness and step.source_freshness.on_stale == "Wait":
            where = f"spec.steps[{number}].sourceFreshness.onStale"
            return (
                f"{where}: Wait could last for ever: set spec.timeout or spec.retry.attemptTimeout"
            )
    return ""


def _not_of_git(spec: DbtRunSpec, project: DbtProjectSpec) -> str:
    """A ref is one of a repository."""
    if spec.source is None or project.source.git is not None:
        return ""
    return (
        f"spec.source.ref asks for {spec.source.ref}, but DbtProject {spec.project_ref.name} does "
        "not come from Git:"
        " leave out source in a new DbtRun, or give the project a Git source"
    )


# Secrets


def plain_secret(spec: DbtRunSpec, project: DbtProjectSpec, target: DbtTargetSpec) -> str:
    """What looks like a secret and is not in a Secret."""
    for path, looks in secret_shapes.find(spec.vars, "spec.vars"):
        return _readable(path, looks, "and read it with env_var() instead of var()")
    for number, step in enumerate(spec.steps):
        if operation := step.run_operation:
            for path, looks in secret_shapes.find(
                operation.args, f"spec.steps[{number}].runOperation.args"
            ):
                return _readable(path, looks, "and read it with env_var() in the macro")
    return (
        secret_in_env(spec.env)
        or secret_in_env(project.env, f" of the DbtProject {spec.project_ref.name}")
        or secret_in_env(target.env, f" of the DbtTarget {spec.target_ref.name}")
    )


def secret_in_env(env: Iterable[PlainVariable | Variable] | None, of: str = "") -> str:
    """The first plain value of an environment that looks like a secret.

    Args:
        env: the variables.
        of: says whose they are.
    """
    for number, variable in enumerate(env or ()):
        for path, looks in secret_shapes.find(variable.value, f"spec.env[{number}]", variable.name):
            return _readable(f"{path} ({variable.name}){of}", looks)
    return ""


def _readable(path: str, looks: str, use: str = "") -> str:
    remedy = (
        "put it into a Secret that env of the DbtTarget or DbtProject refers to with secretKeyRef"
    )
    return (
        f"{path} looks like {looks}, and stands where many can read it: {remedy}{use and ', '}{use}"
    )


# Names that no environment may hold


def reserved(spec: DbtRunSpec, project: DbtProjectSpec, target: DbtTargetSpec) -> str:
    """A variable in any environment of a run that none of them may have."""
    return (
        reserved_in_env(spec.env)
        or reserved_in_env(project.env, f" of the DbtProject {spec.project_ref.name}")
        or reserved_in_env(target.env, f" of the DbtTarget {spec.target_ref.name}")
    )


def reserved_in_env(
    env: Iterable[PlainVariable | Variable] | None, of: str = "", path: str = "spec.env"
) -> str:
    """The first variable of an environment that none may have, whatever its value is or comes from:
    dbt reads it as a flag, and no field would show what a run really does; or the dynamic loader
    reads it, before anything can keep it from the supervisor.

    Args:
        env: the variables.
        of: says whose they are.
        path: of the environment.
    """
    for number, variable in enumerate(env or ()):
        where = f"{path}[{number}] ({variable.name}){of}"
        if is_flag(variable.name):
            instead = find_remedy(variable.name)
            remedy = f"remove it, and {instead} where it is wanted" if instead else "remove it"
            return f"{where} is read by dbt as a flag, and would overrule what a run says: {remedy}"
        if variable_names.is_of_loader(variable.name):
            return (
                f"{where} is read by the dynamic loader before anything else can be: remove it, and"
                " set it in the image where it is wanted"
            )
    return ""


# Variables of runs


def unlisted_in_env(
    env: Iterable[PlainVariable | Variable] | None,
    target: str,
    allowed: Iterable[str] | None,
    of: str = "",
    path: str = "spec.env",
) -> str:
    """The first variable of an environment that a target does not let runs set.

    Args:
        env: the variables.
        target: the DbtTarget's name.
        allowed: the names that it allows; None if it says nothing of them.
        of: says whose the variables are.
        path: of the environment.
    """
    for number, variable in enumerate(env or ()):
        if why := variable_names.explain_refusal(variable.name, target, allowed):
            return f"{path}[{number}] ({variable.name}){of} {why}"
    return ""


def refused_in_template(template: RunTemplateSpec, path: str) -> str:
    """The first variable of a run's template that is refused whatever project and target say.

    Args:
        template: what the runs will be like.
        path: of the template.
    """
    env, path = template.env, f"{path}.env"
    anything = ("*",)
    return reserved_in_env(env, path=path) or unlisted_in_env(
        env, template.target_ref.name, anything, path=path
    )


# Protected targets


def protected(spec: DbtRunSpec, project: DbtProjectSpec, target: DbtTargetSpec) -> str:
    """What a run against a protected target may not ask for, and its project neither."""
    if path := next(_destructive(spec), ""):
        return (
            f"{path} is refused by the DbtTarget {spec.target_ref.name}, which is protected: leave "
            "it out"
        )
    if spec.env:
        return (
            f"spec.env is refused by the DbtTarget {spec.target_ref.name}, which is protected:"
            " set the variables in the DbtTarget or the DbtProject"
        )
    name, of = spec.target_ref.name, f" of the DbtProject {spec.project_ref.name}"
    found = unlisted_in_env(project.env, name, target.allowed_run_env, of)
    if found := found or _find_leading_elsewhere(project, of) or find_unpinned(spec, project):
        return f"{found}, since the DbtTarget {name} is protected"
    return ""


def _find_leading_elsewhere(project: DbtProjectSpec, of: str) -> str:
    """What of a project's pods says where hosts are: it could lead the warehouse's name to another
    one, as variables like PGHOST could, which are not listed either.
    """
    pod = project.pod
    dns = pod.dns_config if pod else None
    fields = {
        "hostAliases": pod.host_aliases if pod else None,
        "dnsConfig.nameservers": dns.nameservers if dns else None,
        "dnsConfig.searches": dns.searches if dns else None,
    }
    found = next((name for name, value in fields.items() if value), "")
    said = "must not say where hosts are: let the DNS of the cluster do that"
    return f"spec.pod.{found}{of} {said}" if found else ""


def _destructive(spec: DbtRunSpec) -> Iterator[str]:
    for number, step in enumerate(spec.steps):
        options = step.options.to_dict()
        for field in ("fullRefresh", "empty", "sample"):
            if options.get(field):
                yield f"spec.steps[{number}].{step.command}.{field}"
