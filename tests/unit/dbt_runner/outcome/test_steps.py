"""The verdict on a run, from those on its steps, and the last line of its log."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dbt_protocol.result_file import StepResult
from dbt_protocol.summaries import Nodes, Summary
from dbt_runner.outcome.steps import format_last_line, summarize

OK = StepResult("build", "build", "Succeeded", 0, nodes=Nodes(total=2, success=1, warn=1))
STALE = StepResult(
    "fresh", "sourceFreshness", "NotFresh", 1, "NotFresh", "raw.orders is older than it may be"
)
BAD = StepResult("test", "test", "Failed", 1, "TestFailed", "a test failed")


@pytest.mark.parametrize(
    ("steps", "stopped", "reason", "code"),
    [
        ([OK], "", "", 0),
        ([OK, BAD], "", "TestFailed", 1),
        ([BAD, StepResult("docs", "docs", "Failed", 2, "ModelError", "x")], "", "TestFailed", 1),
        (
            [StepResult("docs", "docs", "Failed", 1, "ModelError", "x", allow_failure=True), OK],
            "",
            "",
            0,
        ),
        ([StepResult("b", "build", "Failed", 0, "NothingSelected", "x")], "", "NothingSelected", 1),
        ([StepResult("b", "build", "Failed", None, "ConfigError", "x")], "", "ConfigError", 2),
        ([OK, StepResult("docs", "docs", "Skipped")], "Cancelled", "Cancelled", 1),
        ([OK, STALE, StepResult("build", "build", "Skipped")], "", "NotFresh", 0),
        ([STALE, OK, BAD], "", "TestFailed", 1),
        ([STALE, StepResult("docs", "docs", "Skipped")], "Cancelled", "Cancelled", 1),
    ],
)
def test_the_first_failure_that_counts_decides(
    steps: list[StepResult], stopped: str, reason: str, code: int
) -> None:
    summary = summarize(steps, "1.11.16", stopped)
    assert (summary.reason, summary.exit_code) == (reason, code)


@pytest.mark.parametrize(
    ("before", "when"), [([], "before its first step"), ([OK], "between two steps")]
)
def test_a_stop_is_told_with_how_far_the_run_was(before: list[StepResult], when: str) -> None:
    summary = summarize([*before, StepResult("docs", "docs", "Skipped")], "1.11.16", "Timeout")
    assert summary.message == f"the run was stopped (Timeout) {when}"


def test_a_name_that_was_lost_is_told_and_leaves_no_state() -> None:
    summary = summarize([OK, replace(OK, name="docs", lost_name="*****")], "1.11.16", "")
    assert (summary.reason, summary.leaves_state) == ("", False)
    assert "the name ***** in its artifacts holds the value of a secret" in summary.message
    assert summarize([OK], "1.11.16", "").leaves_state


def test_the_last_line_counts_a_success() -> None:
    assert (
        format_last_line(summarize([OK], "", "")) == "Succeeded: 2 nodes: 1 success, 0 pass, 1 warn"
    )


def test_the_last_line_of_a_run_that_is_skipped_speaks_of_no_failure() -> None:
    assert (
        format_last_line(summarize([STALE], "", ""))
        == "Skipped (NotFresh): raw.orders is older than it may be"
    )


def test_the_last_line_of_a_failure_without_nodes_says_why() -> None:
    assert (
        format_last_line(Summary("ParseError", "it is broken"))
        == "Failed (ParseError): it is broken"
    )
