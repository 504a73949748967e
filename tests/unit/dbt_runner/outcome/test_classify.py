"""The verdict on a step, over what can be seen of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from dbt_protocol.summaries import Failure, Nodes
from dbt_runner.outcome.classify import classify
from dbt_runner.outcome.sentences import first_lines
from dbt_runner.outcome.step_outcome import Outcome, Result, StepEvidence
from tests.support.step_evidence import HOOK, MODEL, TEST, results, seen

REFUSED = 'connection to server at "warehouse" (10.0.0.1), port 5432 failed: Connection refused'
RAISED = f"Compilation Error in model a (models/a.sql)\n  {REFUSED}"
BATCH = f"PARTIAL SUCCESS (1/3): batch 2024-01-02 of a: Exception on worker thread. {RAISED}"


SOURCE = "source.shop.raw.orders"
GONE: dict[str, Any] = {"exception": ["DbtDatabaseError"], "message": REFUSED}
FAILED_FAST = {"unique_id": TEST, "status": "fail", "message": "1 row"}


@pytest.mark.parametrize("status", ["success", "pass", "warn", "no-op", "reused"])
def test_good_statuses_succeed(status: str) -> None:
    assert classify(seen("build", (MODEL, status))).reason == ""


@pytest.mark.parametrize(
    ("case", "reason", "words"),
    [
        (
            seen("build", (MODEL, "error", "Database Error: no such table"), code=1),
            "ModelError",
            "no such table",
        ),
        (seen("build", (TEST, "error", "bad SQL"), code=1), "ModelError", TEST),
        (
            seen("run", (MODEL, "partial success", "2 of 3 batches"), code=1),
            "ModelError",
            "partial success",
        ),
        (seen("build", (TEST, "fail", "Got 3 results"), code=1), "TestFailed", "Got 3 results"),
        (
            seen(
                "build",
                (TEST, "skipped"),
                code=1,
                raised=[{"unique_id": TEST, "status": "fail", "message": "1 row"}],
            ),
            "TestFailed",
            f"{TEST} has status fail: 1 row",
        ),
        (seen("build", (MODEL, "success"), (HOOK, "error", "boom"), code=1), "HookFailed", HOOK),
        (seen("build", (MODEL, "error", REFUSED), code=1), "Unavailable", "Connection refused"),
        (
            seen("build", (MODEL, "error", REFUSED), (TEST, "error", "bad SQL"), code=1),
            "ModelError",
            "1",
        ),
        (seen("build", (HOOK, "error", REFUSED), code=1), "Unavailable", "Connection refused"),
        # A project may raise anything by itself.
        (seen("build", (MODEL, "error", RAISED), code=1), "ModelError", "Connection refused"),
        (seen("build", (MODEL, "partial success", BATCH), code=1), "ModelError", "1/3"),
        (
            seen("runOperation", ("macro.shop.grant", "error", ""), code=1, errors=[RAISED]),
            "ModelError",
            "Connection refused",
        ),
        (
            seen("runOperation", ("macro.shop.grant", "error", ""), code=1, errors=["boom"]),
            "ModelError",
            "boom",
        ),
        (
            seen("sourceFreshness", (SOURCE, "error"), code=1),
            "FreshnessFailed",
            f"{SOURCE} is older",
        ),
        (
            seen(
                "sourceFreshness",
                code=1,
                raised=[{"unique_id": SOURCE, "status": "runtime error", "message": "no"}],
            ),
            "FreshnessFailed",
            f"{SOURCE} has status runtime error: no",
        ),
        (
            seen(
                "sourceFreshness",
                code=1,
                raised=[{"unique_id": "s", "status": "runtime error", "message": REFUSED}],
            ),
            "Unavailable",
            "refused",
        ),
    ],
)
def test_failed_nodes(case: StepEvidence, reason: str, words: str) -> None:
    outcome = classify(case)
    assert outcome.reason == reason
    assert words in outcome.message
    assert outcome.failures


@pytest.mark.parametrize(
    ("case", "reason", "words"),
    [
        (
            seen("build", (MODEL, "success"), (TEST, "warn", "Got 2 results")),
            "TestFailed",
            "Got 2 results",
        ),
        (
            seen("test", (TEST, "warn", "Got 2 results"), (MODEL, "skipped"), code=1),
            "TestFailed",
            TEST,
        ),
        (seen("build", (TEST, "warn"), (MODEL, "error", "boom"), code=1), "ModelError", "boom"),
        (seen("sourceFreshness", (SOURCE, "warn")), "FreshnessFailed", "older than warn_after"),
        (
            seen("sourceFreshness", (SOURCE, "warn"), ("s", "error"), code=1),
            "FreshnessFailed",
            "than error_after",
        ),
        (seen("sourceFreshness", (SOURCE, "pass")), "", ""),
    ],
)
def test_a_gate_may_let_what_warns_fail(case: StepEvidence, reason: str, words: str) -> None:
    outcome = classify(replace(case, fail_on_warn=True))
    assert outcome.reason == reason
    assert words in outcome.message
    assert {failure.status for failure in outcome.failures} == {
        result["status"] for result in (case.run_results or case.sources or {})["results"]
    } - {"success", "pass"}
    assert outcome.nodes == classify(case).nodes


NO_ANSWER = {"unique_id": "s2", "status": "runtime error", "message": "no such table"}


@pytest.mark.parametrize(
    ("case", "stale"),
    [
        (seen("sourceFreshness", (SOURCE, "error"), ("s2", "pass"), code=1), True),
        (seen("sourceFreshness", (SOURCE, "warn")), False),
        (seen("sourceFreshness", (SOURCE, "warn"), fail_on_warn=True), True),
        (seen("sourceFreshness", (SOURCE, "error"), code=1, raised=[NO_ANSWER]), False),
        (seen("sourceFreshness", code=1, raised=[NO_ANSWER]), False),
        (seen("sourceFreshness", (SOURCE, "error"), code=1, expected=[SOURCE, "s2"]), False),
        (seen("sourceFreshness", (SOURCE, "error"), code=2, stopped="Timeout"), False),
        (seen("sourceFreshness", (SOURCE, "pass")), False),
        (seen("build", (MODEL, "error", "boom"), code=1), False),
    ],
)
def test_sources_are_stale_when_their_age_is_all_that_is_wrong(
    case: StepEvidence, stale: bool
) -> None:
    assert classify(case).stale is stale


class Cause(NamedTuple):
    """What makes a step fail, among the rows of its results or in the fields of its evidence."""

    reason: str
    rows: tuple[tuple[str, ...], ...] = ()
    fields: Mapping[str, object] = MappingProxyType({})


ORDER = [
    Cause("Timeout", fields={"stopped": "Timeout"}),
    Cause("OOMKilled", fields={"signal": 9, "out_of_memory": True}),
    Cause("HookFailed", rows=((HOOK, "error", "boom"),)),
    Cause("ModelError", rows=((MODEL, "error", "boom"),)),
    Cause("TestFailed", rows=((TEST, "fail", "boom"),)),
]


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_the_first_of_several_causes_gives_the_reason(first: int) -> None:
    rows = [row for cause in ORDER[first:] for row in cause.rows]
    fields = {name: value for cause in ORDER[first:] for name, value in cause.fields.items()}
    assert classify(seen("build", *rows, code=1, **fields)).reason == ORDER[first].reason


def raised(names: str, message: str, **other: Any) -> StepEvidence:
    classes = [*names.split(), "DbtRuntimeError", "RuntimeError", "DbtBaseException", "Exception"]
    fields: dict[str, Any] = {
        "code": 2,
        "run_results": None,
        "expected": None,
        "parsing": True,
        **other,
    }
    return seen("build", exception=classes, message=message, **fields)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (
            raised("DbtProfileError DbtConfigError", "does not have a target named 'prod'"),
            "EnvironmentMismatch",
        ),
        (
            raised("DbtProfileError DbtConfigError", "Could not find profile named 'shop'"),
            "ConfigError",
        ),
        (raised("DbtProjectError DbtConfigError", "no dbt_project.yml found"), "ConfigError"),
        (raised("DbtUsageException", "No such option: --nope"), "ConfigError"),
        (raised("UninstalledPackagesFoundError CompilationError", "run dbt deps"), "ConfigError"),
        (
            raised("RequiredVarNotFoundError CompilationError", "Required var 'ds' not found"),
            "ConfigError",
        ),
        (
            raised("EnvVarMissingError ParsingError", "Env var required but not provided: 'X'"),
            "ConfigError",
        ),
        (raised("ImportError", "dbt cannot be imported"), "ConfigError"),
        (raised("LacksDriver", "HTTP error: io: failed to lookup address"), "ConfigError"),
        (raised("DbtProfileError", "target 'prod' not found in profile"), "EnvironmentMismatch"),
        (raised("", "Failed to load manifest.json from state path '/x'"), "MissingState"),
        (raised("CompilationError", "Expected an expression"), "ParseError"),
        (raised("ParsingError", "Invalid test config"), "ParseError"),
        (raised("", "Got a state selector method, but no comparison manifest"), "MissingState"),
        (raised("DbtInternalError", "No comparison run_results"), "MissingState"),
        (raised("", "the selection compares with a state, and the run has none"), "ConfigError"),
        (raised("", 'Could not find manifest in --state path: "state"'), "MissingState"),
        (
            raised(
                "EventCompilationError CompilationError",
                "Nothing to do. Try checking your model configs",
            ),
            "NothingSelected",
        ),
        (
            raised(
                "EventCompilationError CompilationError",
                "The selection criterion 'tag:x' does not match any enabled nodes",
            ),
            "ConfigError",
        ),
        (
            raised("DbtInternalError", "Node selection returned metric.shop.many, expected a node"),
            "ConfigError",
        ),
        (raised("FailedToConnectError DbtDatabaseError", "Database Error"), "Unavailable"),
        (raised("DbtDatabaseError", REFUSED, parsing=False), "Unavailable"),
        (raised("DbtDatabaseError", "permission denied for schema", parsing=False), "ConfigError"),
        (raised("", "IO Error: Could not set lock on file", parsing=False), "Unavailable"),
    ],
)
def test_exceptions(case: StepEvidence, reason: str) -> None:
    assert classify(case).reason == reason


def test_an_exception_that_is_not_dbts_is_unknown_and_named() -> None:
    outcome = classify(
        seen(code=2, exception=["ZeroDivisionError", "Exception"], message="division by zero")
    )
    assert outcome == Outcome("Unknown", "ZeroDivisionError: division by zero", resume="Step")


stopped_after_one = seen(
    "build", (MODEL, "success"), expected=[MODEL, "a", "b", HOOK], code=2, stopped="Timeout"
)


def test_an_exception_with_failed_nodes_at_hand_is_about_those() -> None:
    case = seen(
        "build",
        (MODEL, "error", "boom"),
        code=2,
        exception=["FailFastError", "DbtBaseException"],
        message="early",
    )
    assert classify(case).reason == "ModelError"


@pytest.mark.parametrize(
    ("case", "reason", "words"),
    [
        (stopped_after_one, "Timeout", "1 of 3 nodes"),
        (seen(code=2, stopped="Cancelled", parsing=True), "Cancelled", "before dbt had started"),
        (seen(code=1, stopped="Cancelled", doubted=True), "Cancelled", "is not believed"),
        (seen(code=2, exception=["KeyboardInterrupt"]), "Cancelled", "was cancelled"),
        (seen(code=None, signal=9, stopped="Timeout"), "Timeout", "ran longer"),
        (seen(code=None, signal=9, out_of_memory=True), "OOMKilled", "limits.memory"),
        (seen(code=2, exception=["MemoryError"], out_of_memory=True), "OOMKilled", "limits.memory"),
        (seen(code=None, signal=9), "Unknown", "SIGKILL"),
        (seen(code=None, signal=11, out_of_memory=True), "Unknown", "SIGSEGV"),
        (seen(code=None, signal=63), "Unknown", "signal 63"),
        (seen(code=None), "Unknown", "without an exit code"),
    ],
)
def test_ends_by_signals(case: StepEvidence, reason: str, words: str) -> None:
    outcome = classify(case)
    assert outcome.reason == reason
    assert words in outcome.message


@pytest.mark.parametrize(
    "command", ["build", "run", "test", "seed", "snapshot", "clone", "compile", "docs"]
)
@pytest.mark.parametrize("stale", [None, results((MODEL, "success"), invocation="an earlier one")])
def test_success_needs_results_of_this_invocation(
    command: str, stale: dict[str, Any] | None
) -> None:
    outcome = classify(seen(command, run_results=stale))
    assert outcome.reason == "Unknown"
    assert "run_results.json" in outcome.message


def test_success_needs_sources_of_this_invocation() -> None:
    assert classify(seen("sourceFreshness", sources=None)).reason == "Unknown"


@pytest.mark.parametrize(
    "command", ["build", "run", "test", "seed", "snapshot", "clone", "compile", "docs"]
)
@pytest.mark.parametrize("lacking", [MODEL, TEST, HOOK])
def test_success_needs_a_result_for_each_node_and_each_hook(command: str, lacking: str) -> None:
    """Also where there are as many results as nodes were selected: those of others prove
    nothing.
    """
    each = [
        (node, "success")
        for node in (MODEL, TEST, HOOK, "operation.package.other")
        if node != lacking
    ]
    outcome = classify(seen(command, *each, expected=[MODEL, TEST, HOOK]))
    assert outcome.reason == "Unknown"
    assert f"run_results.json has no result for {lacking}" in outcome.message


@pytest.mark.parametrize("command", ["compile", "docs"])
def test_hooks_are_among_what_compile_and_docs_select(command: str) -> None:
    outcome = classify(seen(command, (MODEL, "success"), (HOOK, "success")))
    assert (outcome.reason, outcome.nodes) == ("", Nodes())


def test_a_selection_of_ephemeral_models_is_not_said_to_match_nothing() -> None:
    outcome = classify(seen("build", (HOOK, "success"), selection="--select staging"))
    assert outcome.reason == "NothingSelected"
    assert "--select staging matches only ephemeral models or hooks" in outcome.message


def test_success_needs_known_statuses() -> None:
    outcome = classify(seen("build", (MODEL, "brand new")))
    assert outcome.reason == "Unknown"
    assert "'brand new'" in outcome.message
    assert outcome.nodes == Nodes(total=1)


def test_success_needs_exit_code_0() -> None:
    assert classify(seen("build", (MODEL, "success"), code=1, errors=["odd"])).message.endswith(
        "odd"
    )


def test_skipped_nodes_without_a_failure_are_no_success() -> None:
    assert classify(seen("build", (MODEL, "skipped"), code=1)).reason == "Unknown"


def test_a_skipped_exposure_is_no_failure() -> None:
    assert (
        classify(seen("build", (MODEL, "success"), ("exposure.shop.board", "skipped"))).reason == ""
    )


@pytest.mark.parametrize(
    ("command", "reason"),
    [("build", "NothingSelected"), ("sourceFreshness", "NothingSelected"), ("docs", "")],
)
def test_an_empty_selection(command: str, reason: str) -> None:
    assert (
        classify(seen(command, selection="--select tag:x", expected=None, empty=True)).reason
        == reason
    )
    assert classify(seen(command, expected=None, empty=True, allow_empty=True)).reason == ""


def test_an_empty_selection_needs_no_results() -> None:
    empty = seen("build", expected=None, empty=True, allow_empty=True, run_results=None)
    assert classify(empty).reason == ""


def test_nothing_is_left_to_do_where_earlier_attempts_have_done_it_all() -> None:
    done = Result(MODEL, "success", "")
    assert classify(seen("build", expected=None, empty=True, earlier=[done])).reason == ""
    failed = replace(done, status="error")
    assert classify(seen("build", expected=None, empty=True, earlier=[failed])).reason == (
        "ModelError"
    )


@pytest.mark.parametrize(
    ("status", "resume"), [("success", "Step"), ("error", "Nodes")], ids=["all done", "one left"]
)
def test_hooks_that_have_not_run_do_so_only_with_nodes(status: str, resume: str) -> None:
    case = seen("build", (MODEL, status), code=2, expected=[MODEL, HOOK], **GONE)
    assert classify(case).resume == resume


def test_the_list_command_leaves_no_results() -> None:
    assert classify(seen("list", run_results=None)).reason == ""
    assert classify(seen("list", run_results=None, empty=True)).reason == "NothingSelected"


def test_nodes_are_counted_without_hooks() -> None:
    each = [
        (MODEL, "success"),
        (TEST, "pass"),
        ("t2", "warn"),
        ("t3", "fail"),
        ("m2", "error"),
        ("m3", "skipped"),
    ]
    nodes = classify(seen("build", *each, ("e", "no-op"), (HOOK, "success"), code=1)).nodes
    assert nodes == Nodes(total=7, success=1, passed=1, warn=1, fail=1, error=1, skipped=1, no_op=1)


def test_failures_are_sorted_by_what_explains_the_rest() -> None:
    each = [("a", "skipped"), ("b", "fail"), ("c", "error"), ("d", "success")]
    assert [f.unique_id for f in classify(seen("build", *each, code=1)).failures] == ["c", "b", "a"]


def test_the_lines_of_an_error_that_help() -> None:
    message = """Database Error in model orders (models/orders.sql)
  column "nope" does not exist
  LINE 14: select nope
                  ^
  compiled code at target/run/shop/models/orders.sql"""
    assert first_lines(message) == (
        'Database Error in model orders (models/orders.sql): column "nope" does not exist LINE 14: '
        "select nope"
    )
    assert len(first_lines("x" * 1000)) == 300
    assert first_lines("") == ""


def test_a_failure_carries_the_helpful_lines() -> None:
    outcome = classify(
        seen("build", (MODEL, "error", "Database Error\n  boom\n  compiled code at x"), code=1)
    )
    assert outcome.failures == [Failure(MODEL, "error", "Database Error: boom")]


def test_what_an_interrupt_did_to_a_query_is_no_result() -> None:
    raised = [
        {"unique_id": TEST, "status": "error", "message": "canceling statement due to user request"}
    ]
    outcome = classify(
        seen("build", (MODEL, "success"), code=1, stopped="Cancelled", raised=raised)
    )
    assert [result.unique_id for result in outcome.results] == [MODEL]
