"""What attempts leave to the next, and that no failure is lost on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from dbt_protocol.plans import RunPlan
from dbt_protocol.result_file import NodeResult, ResultFile, StepResult
from dbt_runner.artifact_files import RUN_RESULTS
from dbt_runner.contents import CONTENTS, record_contents
from dbt_runner.layout import Layout
from dbt_runner.outcome import merge, resume
from dbt_runner.outcome.classify import classify, done
from dbt_runner.outcome.resume import StartOver
from dbt_runner.outcome.step_outcome import Outcome
from dbt_runner.outcome.steps import hash_arguments
from tests.support.pods import step
from tests.support.step_evidence import HOOK, MODEL, TEST, seen

GOOD = ("success", "pass", "warn", "no-op", "reused")
BAD = ("error", "fail", "skipped", "partial success", "runtime error", "a status of the future")
ABSENT = ""
STATUSES = (*GOOD, *BAD, ABSENT)
GONE = ["DbtDatabaseError"]


def attempts(command: str, codes: tuple[int, ...], *nodes: tuple[str, ...]) -> Iterator[Outcome]:
    """The outcomes of attempts in which dbt gives these statuses to the nodes that it is asked to
    run.
    """
    before = Outcome()
    for number, code in enumerate(codes):
        earlier = before.results if before.resume == "Nodes" else []
        left_out = set(done(earlier))
        rows = [(f"model.shop.m{at}", statuses[number]) for at, statuses in enumerate(nodes)]
        ran = [row for row in rows if row[0] not in left_out]
        written = [row for row in ran if row[1] != ABSENT]
        expected = [row[0] for row in ran]
        before = classify(seen(command, *written, code=code, expected=expected, earlier=earlier))
        yield before


def succeeded_later(statuses: tuple[str, ...]) -> bool:
    """Whether the last that was heard of a node is good. A node that is good is not run again."""
    found = ABSENT
    for status in statuses:
        if status != ABSENT and found not in GOOD:
            found = status
    return found in GOOD


@pytest.mark.parametrize("command", ["build", "run", "test", "seed", "snapshot", "clone"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_failure_of_a_node_becomes_a_success_unless_that_node_has_succeeded(
    command: str, count: int
) -> None:
    """Every combination of status and exit code, also those that dbt would not combine."""
    greens = 0
    for statuses in product(STATUSES, repeat=count):
        for codes in product((0, 1, 2), repeat=count):
            for at, outcome in enumerate(attempts(command, codes, statuses), start=1):
                if outcome.reason == "":
                    greens += 1
                    assert codes[at - 1] == 0
                    assert succeeded_later(statuses[:at]), statuses
                    break
    assert greens


def test_nor_does_another_node_that_succeeds_hide_it() -> None:
    for first in product(STATUSES, repeat=2):
        for second in product(STATUSES, repeat=2):
            for at, outcome in enumerate(attempts("build", (1, 0), first, second), start=1):
                if outcome.reason == "":
                    assert succeeded_later(first[:at])
                    assert succeeded_later(second[:at])
                    break


def test_an_attempt_that_had_nothing_to_do_changes_nothing() -> None:
    first = classify(seen("build", (MODEL, "success"), (TEST, "fail", "Got 3 results"), code=1))
    again = classify(seen("build", code=0, expected=None, empty=True, earlier=first.results))
    assert (again.reason, again.nodes) == (first.reason, first.nodes)
    assert [failure.unique_id for failure in again.failures] == [TEST]


def test_what_succeeds_later_stands_and_is_counted_once() -> None:
    first = classify(seen("build", (MODEL, "success"), (TEST, "error", "deadlock"), code=1))
    assert (first.resume, done(first.results)) == ("Nodes", [MODEL])
    second = classify(seen("build", (TEST, "pass"), code=0, earlier=first.results))
    assert second.reason == ""
    assert (second.nodes.total, second.nodes.success, second.nodes.passed) == (2, 1, 1)


def test_a_skipped_exposure_is_no_failure_and_its_turn_comes_again() -> None:
    board = "exposure.shop.board"
    rows = (MODEL, "success"), (TEST, "fail"), (board, "skipped")
    first = classify(seen("build", *rows, code=1))
    assert [failure.unique_id for failure in first.failures] == [TEST]
    assert done(first.results) == [MODEL]


@pytest.mark.parametrize(
    ("case", "resume"),
    [
        (seen("build", (MODEL, "error"), code=1), "Nodes"),
        (seen("build", (MODEL, "error"), code=2, exception=["DbtDatabaseError"]), "Nodes"),
        (seen("build", (MODEL, "error"), code=2, exception=GONE, expected=[MODEL, TEST]), "Step"),
        (seen("build", (MODEL, "error"), code=2, exception=GONE, expected=[MODEL, HOOK]), "Nodes"),
        (seen("build", (MODEL, "error"), code=2, exception=GONE, expected=None), "Nodes"),
        (
            seen("build", code=2, exception=["FailedToConnectError"], message="could not connect"),
            "Step",
        ),
        (seen("runOperation", ("macro.shop.grant", "error"), code=1), "Step"),
        (seen("sourceFreshness", ("source.shop.raw.orders", "error"), code=1), "Step"),
        (seen("build", (MODEL, "error"), code=1, stopped="Timeout"), ""),
        (seen("build", (MODEL, "error"), code=1, stopped="Cancelled"), ""),
        (seen("build", (MODEL, "success"), code=2, exception=["KeyboardInterrupt"]), ""),
        (seen("build", (MODEL, "success"), code=None, signal=9, out_of_memory=True), ""),
        (seen("build", (MODEL, "success"), code=None), ""),
        (seen("build", (MODEL, "error"), (HOOK, "error", "boom"), code=1), ""),
    ],
)
def test_how_another_attempt_may_go_on(case: Any, resume: str) -> None:
    found = classify(case)
    assert found.reason
    assert found.resume == resume


# Reading what the attempt before has left

BUILD = step("build", name="1-build")
DOCS = step("docs", name="2-docs", always=True)


def plan(**fields: Any) -> RunPlan:
    base: dict[str, Any] = {
        "namespace": "analytics",
        "run": "nightly",
        "run_uid": "uid-1",
        "attempt": 2,
        "resume": 1,
    }
    return RunPlan(
        **{**base, "project_dir": "/project", "target": "prod", "steps": [BUILD, DOCS], **fields}
    )


def result(name: str = "1-build", state: str = "Failed", **fields: Any) -> StepResult:
    argv = (BUILD if name == BUILD.name else DOCS).argv
    results = [NodeResult(MODEL, "success", ""), NodeResult(TEST, "fail", "Got 3 results")]
    base: dict[str, Any] = {
        "digest": hash_arguments(argv),
        "resume": "Nodes",
        "results": results,
        "reason": "TestFailed",
    }
    return StepResult(name, name[2:], state, **{**base, **fields})


def leave(layout: Layout, *steps: StepResult, **fields: Any) -> None:
    layout.previous.mkdir(parents=True)
    document = ResultFile("nightly", "uid-1", 1, None, steps=list(steps)).to_document()
    (layout.previous / merge.RESULT).write_text(json.dumps({**document, **fields}))
    record_contents(layout.previous, plan(attempt=1), [merge.RESULT])


def test_what_is_done_is_known_by_step_and_node(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    leave(layout, result(), result("2-docs", "Succeeded"))
    earlier = resume.load_earlier(layout, plan())
    assert done(earlier.list_results("1-build")) == [MODEL]
    assert earlier.find_finished("1-build", always=False) is None
    assert earlier.find_finished("2-docs", always=False) == result("2-docs", "Succeeded")
    assert earlier.find_finished("2-docs", always=True) is None, (
        "it tells of what has changed since"
    )


@pytest.mark.parametrize(
    ("steps", "fields", "planned", "words"),
    [
        ([result(), result("2-docs")], {"attempt": 3}, {}, "not of 1"),
        ([result(), result("2-docs")], {"run_uid": "uid-2"}, {}, "not of 1"),
        (
            [result(), result("2-docs")],
            {"source": {"commit": "abc"}},
            {},
            "the project has changed",
        ),
        ([result()], {}, {}, "steps are not the same"),
        ([result(digest="another"), result("2-docs")], {}, {}, "another command line"),
        ([result(resume="", reason="Timeout"), result("2-docs")], {}, {}, "Timeout"),
        ([result(), result("2-docs")], {"steps": [{"name": 1}]}, {}, "cannot be read"),
        ([result(), result("2-docs")], {}, {"resume": 2}, "not of 2"),
    ],
)
def test_everything_runs_again_where_nothing_is_proved(
    tmp_path: Path,
    steps: list[StepResult],
    fields: dict[str, Any],
    planned: dict[str, Any],
    words: str,
) -> None:
    layout = Layout(str(tmp_path))
    leave(layout, *steps, **fields)
    with pytest.raises(StartOver, match=words):
        resume.load_earlier(layout, plan(**planned))


def test_results_that_were_not_written_together_prove_nothing(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    leave(layout, result(), result("2-docs"))
    (layout.previous / RUN_RESULTS).write_text("of the attempt")
    record_contents(layout.previous, plan(attempt=1), [merge.RESULT, RUN_RESULTS])
    resume.load_earlier(layout, plan())
    (layout.previous / RUN_RESULTS).write_text("of the one before it")
    with pytest.raises(StartOver, match=r"run_results\.json is not the one"):
        resume.load_earlier(layout, plan())
    (layout.previous / CONTENTS).unlink()
    with pytest.raises(StartOver, match=r"contents\.json is missing"):
        resume.load_earlier(layout, plan())


def test_what_sources_were_found_to_be_is_needed_where_it_was_gone_by(tmp_path: Path) -> None:
    """It is asked again only as long as nothing was built behind it."""
    freshness = step("sourceFreshness", name="0-sourceFreshness")

    def checked(state: str, **fields: Any) -> StepResult:
        return StepResult(
            freshness.name,
            "sourceFreshness",
            state,
            digest=hash_arguments(freshness.argv),
            **fields,
        )

    def find(*steps: StepResult, at_hand: bool, always: bool = False) -> bool:
        """Whether the step is taken for done."""
        layout = Layout(str(tmp_path / str(len(list(tmp_path.iterdir())))))
        planned = [replace(freshness, always=always), BUILD]
        if at_hand:
            layout.previous_sources(freshness.name).parent.mkdir(parents=True)
            layout.previous_sources(freshness.name).write_text('{"results": []}')
        earlier = resume.find_earlier(layout, steps, planned)
        return earlier.find_finished(freshness.name, always=always) is not None

    may_fail = {"allow_failure": True, "reason": "FreshnessFailed", "resume": "Step"}
    not_built = StepResult(BUILD.name, "build", "Skipped")
    assert find(checked("Succeeded"), result(), at_hand=True)
    assert find(checked("Succeeded"), result(), at_hand=True, always=True)
    assert find(checked("Failed", **may_fail), result(), at_hand=True)
    assert not find(checked("Failed", **may_fail), not_built, at_hand=False)
    assert not find(checked("Succeeded"), not_built, at_hand=False, always=True)
    for steps in [(checked("Succeeded"), result()), (checked("Failed", **may_fail), result())]:
        with pytest.raises(StartOver, match="is not at hand"):
            find(*steps, at_hand=False)
    with pytest.raises(StartOver, match="has to be asked again"):
        find(checked("Failed", resume="Step"), result(), at_hand=True)


@pytest.mark.parametrize("text", [None, "", "[]", '{"run_uid"'])
def test_results_that_did_not_arrive_prove_nothing(tmp_path: Path, text: str | None) -> None:
    layout = Layout(str(tmp_path))
    layout.previous.mkdir(parents=True)
    if text is not None:
        (layout.previous / merge.RESULT).write_text(text)
    with pytest.raises(StartOver, match="not at hand"):
        resume.load_earlier(layout, plan())
