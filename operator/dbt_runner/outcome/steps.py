"""What becomes of steps, and the run's verdict that follows from that."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from dbt_protocol.plans import RunPlan, Step, Window
from dbt_protocol.result_file import StepResult
from dbt_protocol.summaries import Nodes, Summary
from dbt_runner.layout import Layout
from dbt_runner.outcome.classify import NOT_FRESH

SELECTION_FLAGS = (
    "--select",
    "-s",
    "--models",
    "-m",
    "--exclude",
    "--selector",
    "--resource-type",
    "--resource-types",
)
_PLACEHOLDER = re.compile(r"\$\(([^()]+)\)")
YIELDED = "Yielded"  # a run over windows was asked to begin no further one
_CONFIG_REASONS = ("ConfigError", "ParseError", "EnvironmentMismatch", "MissingState")


def summarize(steps: list[StepResult], version: str, stopped: str) -> Summary:
    """The run's verdict: the first failure that counts decides, failures that are allowed are
    mentioned.
    """
    nodes = Nodes()
    for step in steps:
        nodes += step.nodes
    failures = [failure for step in steps for failure in step.failures]
    allowed = [step for step in steps if step.state == "Failed" and step.allow_failure]
    decisive = next((step for step in steps if step.fails_run), None)
    stale = next((step for step in steps if step.state == NOT_FRESH), None)
    if decisive is None and stopped:
        reason = stopped
        has_begun = any(step.state != "Skipped" for step in steps)
        when = "between two steps" if has_begun else "before its first step"
        message = f"the run was stopped ({stopped}) {when}" if not allowed else allowed[-1].message
        code = 1
    elif decisive is None and stale:
        reason, message, code = NOT_FRESH, stale.message, 0
    elif decisive is None:
        reason, message, code = "", _success(steps), 0
    else:
        reason, message = decisive.reason, decisive.message
        message = f"step {decisive.name}: {message}" if len(steps) > 1 else message
        code = decisive.exit_code or (2 if reason in _CONFIG_REASONS else 1)
    for step in allowed:
        message += f"; step {step.name}, which may fail, failed ({step.reason}: {step.message})"
    return Summary(
        reason,
        message,
        code,
        version,
        nodes,
        failures,
        len(failures),
        whole=_whole(steps),
        leaves_state=not any(step.lost_name for step in steps),
        again=decisive.again if decisive else "",
    )


def _success(steps: list[StepResult]) -> str:
    succeeded = sum(1 for step in steps if step.state == "Succeeded")
    narrowed = "".join(_narrowed(step) for step in steps if step.left_out)
    lost = next((f"; {describe_lost_name(step)}" for step in steps if step.lost_name), "")
    return f"{succeeded} of {len(steps)} steps succeeded{narrowed}{lost}"


def _narrowed(step: StepResult) -> str:
    which = f"step {step.name} has left out {step.left_out} nodes that it was asked for"
    return f"; {which}, by the default selector in selectors.yml"


def _whole(steps: list[StepResult]) -> bool:
    """Whether every build that may not fail is known to have selected all that it was asked for."""
    builds = [step for step in steps if step.command == "build" and not step.allow_failure]
    return bool(builds) and all(step.left_out == 0 for step in builds)


def format_last_line(summary: Summary, failed: Sequence[str] | None = None) -> str:
    """The last line of the container's log; ``failed`` are names for the nodes that are better than
    their own.
    """
    if failed is None:
        failed = [failure.unique_id for failure in summary.failures if failure.status != "skipped"]
    if not summary.reason:
        nodes = summary.nodes
        counts = (
            f"{nodes.total} nodes: {nodes.success} success, {nodes.passed} pass, {nodes.warn} warn"
        )
        return f"Succeeded: {counts}" + (
            f"; allowed to fail: {', '.join(failed)}" if failed else ""
        )
    if summary.reason == NOT_FRESH:
        return f"Skipped ({summary.reason}): {summary.message}"
    if summary.reason == YIELDED:
        return f"Stopped ({summary.reason}): {summary.message}"
    if not failed:
        return f"Failed ({summary.reason}): {summary.message}"
    return (
        f"Failed ({summary.reason}): {len(failed)} node{'s' * (len(failed) > 1)} failed: "
        f"{', '.join(failed)}"
    )


def describe_end(result: StepResult) -> str:
    """How a step ended, for the log."""
    if result.reason:
        return f"failed ({result.reason}): {result.message}"
    nodes = {
        name: count for name, count in asdict(result.nodes).items() if count and name != "total"
    }
    return "succeeded" + "".join(f", {count} {name}" for name, count in nodes.items())


def describe_lost_name(step: StepResult) -> str:
    """Why what a step has left is nothing to compare with."""
    return (
        f"the name {step.lost_name} in its artifacts holds the value of a secret, so no later run "
        "compares with this one: the secret is too common a word, change it"
    )


def fill_step(step: Step, window: Window) -> Step:
    """The step as it is in a window: with the window's values in place of their names."""
    full = None if step.full is None else [_filled(word, window.values) for word in step.full]
    return replace(step, argv=[_filled(word, window.values) for word in step.argv], full=full)


def narrow_to_window(layout: Layout, plan: RunPlan, number: int | None) -> tuple[Layout, RunPlan]:
    """The paths and the plan while a window is at work; as they are, where there is none."""
    if number is None:
        return layout, plan
    window = plan.windows[number]
    return replace(layout, window=window.key), replace(
        plan, steps=[fill_step(step, window) for step in plan.steps]
    )


def _filled(word: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), word)


def find_selection(step: Step) -> str:
    """The part of the command line that selects nodes."""
    words: list[str] = []
    keep = False
    for word in step.argv:
        if word.startswith("-"):
            keep = word.split("=")[0] in SELECTION_FLAGS
        if keep:
            words.append(word)
    return shlex.join(words)


def find_values(argv: Sequence[str], flag: str) -> list[str]:
    """What a flag of a command line is given."""
    values: list[str] = []
    keep = False
    for word in argv:
        if word.startswith("-"):
            keep = word == flag
        elif keep:
            values.append(word)
    return values


def selects_by_sources(step: Step) -> bool:
    """Whether a command line selects by how old sources were in the state; a selector in
    selectors.yml is not looked into.
    """
    return "source_status" in find_selection(step)


def may_lack_state(plan: RunPlan, step: Step) -> bool:
    """Whether everything is to be built where the state lacks something, or does not exist."""
    return step.full is not None and not plan.state_required


def hash_arguments(argv: Sequence[str]) -> str:
    """What tells two command lines apart without showing their vars."""
    return hashlib.sha256(json.dumps(list(argv)).encode()).hexdigest()[:16]
