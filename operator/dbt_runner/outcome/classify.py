"""What a step's end means: pure functions from what was seen of a dbt invocation to a reason and a
sentence.

dbt's exit codes say little: 0 is also an empty selection, 1 is also a failed hook, 2 is nearly
everything else. So the verdict is drawn from the artifacts of *this* invocation, the exception and
the signal, and success has to be proved: exit code 0, a result for everything that dbt selected and
for each hook that it was to run, and no status but known good ones.

When several things went wrong, the first of these gives the reason, because it explains the rest or
needs the more careful reaction: the runner's own end (Timeout, Cancelled), OOMKilled and other
signals, dbt's exception, Unavailable (every error is one of connection), HookFailed (a retry has to
run everything again), ModelError, TestFailed, FreshnessFailed, Unknown, NothingSelected.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dbt_protocol.summaries import Failure, Nodes
from dbt_runner.outcome.ending_kinds import NO
from dbt_runner.outcome.sentences import describe_results, first_lines, list_first, list_names
from dbt_runner.outcome.step_outcome import Outcome, Result, StepEvidence, is_hook
from dbt_runner.outcome.warehouse_errors import (
    find_again,
    find_common_reason,
    find_exception_ending,
    warn_of_lasting,
)

_ERRORS = {"error", "runtime error", "partial success"}
_FAILED_TEST = {
    "fail",
    "warn",
}  # a warning stands among what is bad only where fail_on_warn says so
NOT_FRESH = "NotFresh"
# Names of no exception of dbt's: the runner has found out which file it was that dbt cannot read.
UNREADABLE_FILE = "UnreadableFile"
UNREADABLE_PROFILE = "UnreadableProfile"
LACKS_DRIVER = "LacksDriver"  # dbt 2 has none for the warehouse, and could not fetch one
_STALE = {"error", "warn"}  # of a source; the query itself ends in "runtime error"
_COUNTED_AS = {
    "success": "success",
    "reused": "success",
    "error": "error",
    "runtime error": "error",
    "partial success": "error",
    "skipped": "skipped",
    "pass": "passed",
    "warn": "warn",
    "fail": "fail",
    "no-op": "no_op",
}

# Steps that leave run_results.json behind, and of those the ones whose results are not what the
# user counts as nodes.
_WITH_RESULTS = {
    "build",
    "run",
    "test",
    "seed",
    "snapshot",
    "clone",
    "compile",
    "docs",
    "runOperation",
}
NOT_COUNTED = {"compile", "docs", "list", "runOperation"}
COUNTED = _WITH_RESULTS - NOT_COUNTED
_BY_NODE = COUNTED
_MAY_BE_EMPTY = {"docs", "runOperation"}

# Reasons whose errors say themselves whether another attempt may do better.
_MAY_PASS = ("Unavailable", "ModelError")


def classify(seen: StepEvidence) -> Outcome:
    """Draw the verdict on a step, from the results of all attempts: the latest of each node
    counts.
    """
    latest = _results(seen)
    results = merged(seen.earlier, latest)
    nodes = _count(seen, results)
    failures = _failures(results)
    kept = [result.shortened() for result in results if not result.is_hook]
    resume = _resume(seen, latest)
    for judge in (_stopped, _killed, _raised, _failed, _incomplete, _nothing_selected):
        verdict = judge(seen, results if judge in (_failed, _nothing_selected) else latest)
        if verdict:
            reason, message = verdict
            stale = reason == "FreshnessFailed" and _is_stale(seen, results)
            again = find_again(seen, results) if reason in _MAY_PASS else ""
            message += warn_of_lasting(seen, results) if again == NO else ""
            return Outcome(reason, message, nodes, failures, kept, resume, stale, again)
    return Outcome("", "", nodes, failures, kept, resume)


def merged(earlier: Iterable[Result], latest: Iterable[Result]) -> list[Result]:
    """The results of several attempts: for each node the last. Only a later result replaces one,
    never its absence.
    """
    return list({result.unique_id: result for result in [*earlier, *latest]}.values())


def done(results: Iterable[Result]) -> list[str]:
    """The nodes that need not run again."""
    good = (result for result in results if result.is_good)
    # A skipped exposure is no failure, but its turn comes with that of what it depends on.
    return [result.unique_id for result in good if result.status != "skipped"]


def _resume(seen: StepEvidence, latest: Sequence[Result]) -> str:
    """How another attempt may go on after this end, if it was none that succeeded.

    After an interrupt or a kill nodes may be half done, and dbt has no results of them; a failed
    hook has to run again, and with it what it prepares. What came to its own end is known node by
    node where there are results.
    """
    if _interrupted(seen) or seen.signal is not None or seen.exit_code is None:
        return ""
    if any(result.is_hook and not result.is_good for result in latest):
        return ""
    ended = any(not result.is_hook for result in latest)
    # dbt also ends with 2 when the warehouse goes while the hooks at the end are due, and all nodes
    # have ended by then. Those hooks run again only where nodes do.
    lacking = _lacking(seen, latest)
    lacks_nodes = any(not is_hook(node) for node in lacking)
    owes_hooks = bool(lacking) and not lacks_nodes and all(result.is_good for result in latest)
    is_known = ended and not owes_hooks and (seen.exit_code in (0, 1) or not lacks_nodes)
    return "Nodes" if seen.command in _BY_NODE and is_known else "Step"


def _lacking(seen: StepEvidence, results: Iterable[Result]) -> list[str]:
    """What has to have a result and has none.

    Names are compared and not numbers, since dbt's results hold more than it counts as selected:
    the hooks of a build, which for compile and docs are themselves nodes that are selected, and the
    ephemeral models of a compile with --select.
    """
    found = {result.unique_id for result in results}
    return [node for node in seen.expected or () if node not in found]


def not_fresh(outcome: Outcome) -> Outcome:
    """What stale sources mean to a run that is skipped because of them: nothing has failed."""
    return replace(outcome, reason=NOT_FRESH, failures=[], results=[], resume="", stale=False)


def waited(outcome: Outcome, stopped: str) -> Outcome:
    """What stale sources mean to a run that was stopped while it waited for them."""
    why = "ran longer than its timeout" if stopped == "Timeout" else "was cancelled"
    message = f"the run {why} while it waited for fresh sources: {outcome.message}"
    return replace(outcome, reason=stopped, message=message, results=[], resume="", stale=False)


def _results(seen: StepEvidence) -> list[Result]:
    """The results of this very invocation: a stale file of an earlier one proves nothing."""
    artifact = seen.sources if seen.command == "sourceFreshness" else seen.run_results
    if not artifact or artifact.get("metadata", {}).get("invocation_id") != seen.invocation_id:
        artifact = {}
    codes = {each["unique_id"]: each.get("codes", "") for each in seen.causes}
    log = (
        "\n".join(seen.errors) if seen.command == "runOperation" else ""
    )  # dbt gives its result no message
    return [
        Result(
            str(r.get("unique_id", "")),
            str(r.get("status", "")).lower(),  # in sources.json dbt 2 has "Pass"
            str(r.get("message") or r.get("error") or log),
            not seen.fail_on_warn,
            codes.get(str(r.get("unique_id", "")), ""),
            rows if type(rows := r.get("failures")) is int else None,
        )
        for r in _completed(seen, artifact.get("results", ()))
    ]


def _completed(
    seen: StepEvidence, rows: Iterable[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """What the artifact holds, with what dbt reported in the place of what it lacks or calls
    skipped all the same.
    """
    reported = {r["unique_id"]: r for r in seen.raised}
    for row in rows:
        better = reported.pop(row.get("unique_id", ""), None)
        is_better = better is not None and row.get("status") in ("skipped", better["status"])
        yield {**row, **better} if better is not None and is_better else row
    if not _interrupted(seen):  # else these are what the interrupt did to its queries
        yield from reported.values()


def _interrupted(seen: StepEvidence) -> bool:
    return bool(seen.stopped) or "KeyboardInterrupt" in seen.exception


def _count(seen: StepEvidence, results: Iterable[Result]) -> Nodes:
    """Nodes by status. Hooks are no nodes, and a step that only compiles would count every node a
    second time.
    """
    if seen.command in NOT_COUNTED:
        return Nodes()
    total = Nodes()
    for result in results:
        if not result.is_hook:
            counted = {_COUNTED_AS[result.status]: 1} if result.status in _COUNTED_AS else {}
            total += Nodes(total=1, **counted)
    return total


def _failures(results: Iterable[Result]) -> list[Failure]:
    """What did not end well: causes first, then what was skipped because of them."""
    bad = [result for result in results if not result.is_good]
    bad.sort(key=lambda result: (result.status == "skipped", result.status in _FAILED_TEST))
    return [Failure(result.unique_id, result.status, first_lines(result.message)) for result in bad]


def _stopped(seen: StepEvidence, results: Sequence[Result]) -> tuple[str, str] | None:
    if not _interrupted(seen):
        return None
    why = "ran longer than its timeout" if seen.stopped == "Timeout" else "was cancelled"
    if seen.parsing:
        return seen.stopped or "Cancelled", f"the run {why} before dbt had started its first node"
    if seen.doubted:
        return seen.stopped or "Cancelled", f"the run {why}; {_DOUBT}"
    done = sum(1 for result in results if not result.is_hook)
    selected = sum(1 for node in seen.expected or () if not is_hook(node))
    of = f" of {selected}" if selected else ""
    return seen.stopped or "Cancelled", f"the run {why}; {done}{of} nodes had ended by then"


def _killed(seen: StepEvidence, results: Sequence[Result]) -> tuple[str, str] | None:
    del results
    if seen.out_of_memory and (seen.signal == signal.SIGKILL or "MemoryError" in seen.exception):
        return (
            "OOMKilled",
            (
                "dbt was killed because the container's memory limit was reached; raise "
                "resources.limits.memory"
            ),
        )
    if seen.signal is not None:
        return (
            "Unknown",
            f"dbt was ended by {signal_name(seen.signal)}, which the runner did not send",
        )
    if seen.exit_code is None:
        return "Unknown", "dbt ended without an exit code"
    return None


_DOUBT = (
    "what this dbt says of nodes after an interrupt is not believed, so another attempt runs all of"
    " them"
)


def signal_name(number: int) -> str:
    """SIGSEGV for 11, and "signal 99" for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _raised(seen: StepEvidence, results: Sequence[Result]) -> tuple[str, str] | None:
    if not seen.exception or any(not result.is_good for result in results):
        return None  # with failed nodes at hand, those say more (fail-fast, for example)
    text = first_lines(seen.message) or seen.exception[0]
    ending = find_exception_ending(seen)
    if ending and not _SPECIAL.intersection(seen.exception):
        return ending.reason, text
    for names, words, reason, remedy in _EXCEPTIONS:
        known = not names or names.intersection(seen.exception)
        if known and (words is None or words.search(seen.message)):
            return reason, f"{text}{remedy}"
    if "DbtBaseException" in seen.exception or "DbtRuntimeError" in seen.exception:
        return ("ParseError" if seen.parsing else "ModelError"), text
    return "Unknown", f"{seen.exception[0]}: {text}"


# What these say is not about the warehouse, whatever words are in it.
_SPECIAL = {
    LACKS_DRIVER,
    UNREADABLE_FILE,
    UNREADABLE_PROFILE,
    "CompilationError",
    "DbtProfileError",
    "DbtProjectError",
    "ParsingError",
    "UsageError",
    "InvalidSelectorError",
    "UninstalledPackagesFoundError",
}

_DRIVER_REMEDY = (
    "; dbt 2 fetches the driver of the warehouse when it first needs it, and could not reach the"
    " place: put the driver into the image, below the folder that XDG_CACHE_HOME names there (see"
    " docs/dbt-2.md), or let the pod reach the server that dbt downloads from"
)
LACKS_STATE = "the selection compares with a state, and the run has none"
STATE_REMEDY = ": a selector by state needs spec.state, for example state: {defer: true}"

# In order: (classes, any if empty; words of the message, any if None; reason; what to add to the
# message).
_EXCEPTIONS: list[tuple[set[str], re.Pattern[str] | None, str, str]] = [
    ({UNREADABLE_FILE}, None, "ParseError", ""),
    ({UNREADABLE_PROFILE}, None, "ConfigError", ""),
    ({LACKS_DRIVER}, None, "ConfigError", _DRIVER_REMEDY),
    (
        {"DbtProfileError"},
        re.compile(r"does not have a target named|target '.{0,200}' not found", re.IGNORECASE),
        "EnvironmentMismatch",
        "; the DbtTarget's spec.target must be an output of profiles.yml",
    ),
    (
        set(),
        re.compile(r"nothing to do|no nodes selected", re.IGNORECASE),
        "NothingSelected",
        "",
    ),
    (
        set(),
        re.compile(r"does not match any enabled nodes", re.IGNORECASE),
        "ConfigError",
        ", and a warning of that is an error here: correct its spelling, or leave it out",
    ),
    (
        {"DbtInternalError"},
        re.compile(r"node selection returned", re.IGNORECASE),
        "ConfigError",
        "; dbt builds nothing of that type: leave it out of resourceTypes",
    ),
    (
        set(),
        re.compile(r"compares with a state, and the run has none", re.IGNORECASE),
        "ConfigError",
        STATE_REMEDY,
    ),
    (
        set(),
        re.compile(r"no previous state comparison freshness results", re.IGNORECASE),
        "MissingState",
        "; a run leaves them in its state if a sourceFreshness step comes before what it builds",
    ),
    (
        set(),
        re.compile(r"no current state comparison freshness results", re.IGNORECASE),
        "ConfigError",
        "; source_status: goes by what a sourceFreshness step before it has found",
    ),
    (
        set(),
        re.compile(
            r"--state|--defer-state|no comparison (manifest|run_results)|from state path"
            r"|previous run in '.{0,1000}' target directory",
            re.IGNORECASE,
        ),
        "MissingState",
        "",
    ),
    (
        {"UninstalledPackagesFoundError"},
        None,
        "ConfigError",
        "; install the packages or set deps in the DbtProject",
    ),
    (
        {
            "DbtConfigError",
            "DbtUsageException",
            "DependencyError",
            "ModuleNotFoundError",
            "ImportError",
        },
        None,
        "ConfigError",
        "",
    ),
    (
        {"UsageError", "InvalidSelectorError", "RequiredVarNotFoundError", "EnvVarMissingError"},
        None,
        "ConfigError",
        "",
    ),
    (
        {"DbtRuntimeError"},
        re.compile(
            r"trying to read your profiles.yml|invalid --project-dir|not a dbt project|no "
            r"dbt_project.yml found",
            re.IGNORECASE,
        ),
        "ConfigError",
        "",
    ),
]


def _failed(seen: StepEvidence, results: Sequence[Result]) -> tuple[str, str] | None:
    bad = [result for result in results if not result.is_good]
    errors = [result for result in bad if result.status in _ERRORS]
    causes = [result for result in bad if result.status != "skipped"]
    if seen.command == "sourceFreshness":
        return _freshness(seen, bad)
    if not bad:
        return None
    common = find_common_reason(seen, causes)
    if common == "Unavailable":
        return "Unavailable", f"the warehouse could not be reached: {describe_results(causes)}"
    if common == "ConfigError":
        return "ConfigError", describe_results(causes)
    if any(result.is_hook for result in errors) and seen.command != "runOperation":
        return "HookFailed", describe_results([result for result in errors if result.is_hook])
    if errors:
        return "ModelError", describe_results(errors)
    if failed := [result for result in bad if result.status in _FAILED_TEST]:
        return "TestFailed", describe_results(failed)
    unknown = [result for result in causes if result.status not in _COUNTED_AS]
    if unknown:
        return (
            "Unknown",
            (
                f"dbt reported the status {unknown[0].status!r}, which the runner does not know: "
                f"{describe_results(unknown)}"
            ),
        )
    return "Unknown", f"nodes were skipped although none failed: {describe_results(bad)}"


def _freshness(seen: StepEvidence, bad: Sequence[Result]) -> tuple[str, str] | None:
    stale = [result for result in bad if result.status in _STALE]
    if stale:
        limit = "error_after" if any(result.status == "error" for result in stale) else "warn_after"
        verb = "is" if len(stale) == 1 else "are"
        return "FreshnessFailed", f"{list_names(stale)} {verb} older than {limit} allows"
    common = find_common_reason(seen, bad)
    if common == "Unavailable":
        return "Unavailable", f"the warehouse could not be reached: {describe_results(bad)}"
    if common == "ConfigError":
        return "ConfigError", describe_results(bad)
    if bad or seen.exit_code == 1:
        what = describe_results(bad) if bad else first_lines(next(iter(seen.errors), ""))
        return "FreshnessFailed", f"the freshness of sources could not be determined: {what}"
    return None


def _is_stale(seen: StepEvidence, results: Sequence[Result]) -> bool:
    """Whether every source was asked for its age, and some are too old."""
    complete = not _lacking(seen, results)
    return complete and all(result.status in _STALE for result in results if not result.is_good)


def _incomplete(seen: StepEvidence, results: Sequence[Result]) -> tuple[str, str] | None:
    """Everything looks good; is it all there?"""
    if seen.exit_code != 0:
        log = first_lines(next(iter(seen.errors), "")) or "its log gives no error"
        return (
            "ParseError" if seen.parsing else "Unknown"
        ), f"dbt ended with exit code {seen.exit_code}: {log}"
    if seen.parsing or seen.command == "list":
        return None
    artifact = seen.sources if seen.command == "sourceFreshness" else seen.run_results
    name = "sources.json" if seen.command == "sourceFreshness" else "run_results.json"
    needs_results = seen.command in _WITH_RESULTS | {"sourceFreshness"} and not seen.empty
    if needs_results and (
        not artifact or artifact.get("metadata", {}).get("invocation_id") != seen.invocation_id
    ):
        return "Unknown", f"dbt ended with exit code 0, but left no {name} of this invocation"
    lacking = _lacking(seen, results)
    if lacking:
        nodes = list_first(lacking)
        return "Unknown", f"dbt ended with exit code 0, but {name} has no result for {nodes}"
    return None


def _nothing_selected(seen: StepEvidence, results: Sequence[Result]) -> tuple[str, str] | None:
    if seen.allow_empty or seen.parsing or seen.command in _MAY_BE_EMPTY:
        return None
    has_nodes = any(not result.is_hook for result in results)
    if has_nodes:
        return None  # of this attempt, or of those before it, which have left nothing to do
    if seen.empty or seen.command != "list":
        by = f"the selection {seen.selection}" if seen.selection else f"dbt's {seen.command}"
        if seen.expected is not None and not seen.empty:
            what = "ephemeral models or hooks, which dbt does not build"
            hint = "select models that use them, or set onEmptySelection: Succeed"
            return "NothingSelected", f"{by} matches only {what}; {hint}"
        hint = "check its spelling with dbt list, or set onEmptySelection: Succeed"
        return "NothingSelected", f"{by} matches nothing in the project; {hint}"
    return None
