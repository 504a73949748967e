"""What is known of windows before an attempt, and the verdict on all of them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from dbt_protocol import window_codes
from dbt_protocol.plans import RunPlan, Step, Window
from dbt_protocol.result_file import NodeResult, ResultFile, StepResult
from dbt_protocol.summaries import Failure, Nodes, Summary
from dbt_runner.layout import Layout
from dbt_runner.outcome import window_ledger
from dbt_runner.outcome.step_outcome import Result
from dbt_runner.outcome.steps import fill_step, format_last_line, hash_arguments, narrow_to_window
from dbt_runner.outcome.window_ledger import Entry

BUILD = Step("1-build", "build", ["build", "--vars", '{"ds":"$(window.start)","x":"$(other)"}'])
PLAN = RunPlan(
    "ns",
    "run",
    "uid",
    2,
    "/p",
    "prod",
    [BUILD],
    windows=[Window(key, {"window.start": key}) for key in "abcd"],
    resume=1,
)
GOOD = Result("model.shop.a", "success", "")
OLD = StepResult("0-old", "build", "Failed")


def step_of(key: str, **other: Any) -> StepResult:
    fields: dict[str, Any] = {
        "state": "Failed",
        "reason": "ModelError",
        "resume": "Nodes",
        "results": [NodeResult(GOOD.unique_id, GOOD.status, GOOD.message)],
    }
    argv = fill_step(BUILD, Window(key, {"window.start": key})).argv
    return StepResult(
        BUILD.name, BUILD.command, **{**fields, "digest": hash_arguments(argv), **other}
    )


def ended(key: str, reason: str, *steps: StepResult, attempt: int = 1) -> Entry:
    entry = Entry(key)
    entry.begin(attempt)
    failures = [Failure("model.shop.b", "error", "it broke")] if reason else []
    entry.end(
        Summary(reason, f"why {key}", 1 if reason else 0, nodes=Nodes(total=1), failures=failures),
        steps,
    )
    return entry


def at_work(key: str) -> Entry:
    entry = Entry(key, steps=[OLD])
    entry.begin(1)
    return entry


def left(layout: Layout, entries: list[Entry], **fields: Any) -> None:
    file = ResultFile("run", "uid", 1, None, windows=[entry.row for entry in entries])
    layout.previous.mkdir(parents=True)
    document = {**file.to_document(), **fields}
    (layout.previous / "result.json").write_text(json.dumps(document))


def loaded(layout: Layout, **plan: Any) -> tuple[list[Entry], list[str]]:
    said: list[str] = []
    return window_ledger.load(layout, replace(PLAN, **plan), said.append), said


def test_what_has_succeeded_is_over_and_what_failed_is_continued(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    left(layout, [ended("a", ""), ended("b", "ModelError", step_of("b")), at_work("c"), Entry("d")])
    entries, _ = loaded(layout)
    assert window_ledger.format_codes(entries) == "+---", "those that are not over are begun again"
    assert entries[0].nodes.total == 1
    continued = [
        list(
            window_ledger.find_earlier(
                Layout("/nowhere"), entry, steps_of(entry.key), lambda _: None
            ).steps
        )
        for entry in entries
    ]
    assert continued == [[], ["1-build"], [], []]
    again = window_ledger.find_earlier(
        Layout("/nowhere"), entries[1], steps_of("b"), lambda _: None
    )
    assert again.list_results("1-build") == [GOOD]


def steps_of(key: str) -> list[Step]:
    number = "abcd".index(key)
    return narrow_to_window(Layout(), PLAN, number)[1].steps


def test_of_an_older_attempt_only_what_has_succeeded_counts(tmp_path: Path) -> None:
    """A later one may have begun the others again, and may have left anything behind."""
    layout = Layout(str(tmp_path))
    left(layout, [ended("a", ""), ended("b", "ModelError", step_of("b"))])
    entries, _ = loaded(layout, resume=2, attempt=3)
    assert (window_ledger.format_codes(entries), entries[1].steps) == ("+---", [])


@pytest.mark.parametrize(
    "fields", [{"run_uid": "other"}, {"source": {"commit": "x"}}, {"windows": 1}, {"windows": [{}]}]
)
def test_results_that_are_not_of_this_say_nothing_but_the_plan_does(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    layout = Layout(str(tmp_path))
    left(layout, [ended("a", "")], **fields)
    entries, said = loaded(layout, done="-+~M")
    assert window_ledger.format_codes(entries) == "-+~-"
    assert said[0].startswith("every window that is not known to be done runs again: ")


def test_a_window_with_other_arguments_now_starts_over() -> None:
    said: list[str] = []
    found = window_ledger.find_earlier(
        Layout("/nowhere"),
        ended("a", "ModelError", step_of("a", digest="x")),
        steps_of("a"),
        said.append,
    )
    assert not found.steps
    assert said == ["window a: everything runs again: step 1-build has another command line now"]


def test_a_result_survives_another_attempt_that_does_not_get_to_it(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    left(layout, [ended("a", "ModelError", step_of("a"))])
    entries, _ = loaded(layout)
    row = entries[0].row
    assert (row.state, row.attempt) == ("Pending", 1)
    found = window_ledger.find_earlier(
        Layout("/nowhere"), Entry("a", steps=row.steps), steps_of("a"), lambda _: None
    )
    assert found.list_results("1-build") == [GOOD]


def test_a_window_whose_steps_cannot_be_read_starts_over(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    broken = {**asdict(ended("a", "ModelError", step_of("a")).row), "steps": [{}]}
    whole = asdict(ended("b", "ModelError", step_of("b")).row)
    left(layout, [], windows=[broken, whole])
    entries, said = loaded(layout)
    found = [
        window_ledger.find_earlier(Layout("/nowhere"), entry, steps_of(entry.key), said.append)
        for entry in entries
    ]
    assert [list(each.steps) for each in found] == [[], ["1-build"], [], []]
    assert said[-1].startswith("window a: everything runs again: ")


def test_a_file_of_no_windows_says_nothing_of_them(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    layout.previous.mkdir(parents=True)
    document = ResultFile("run", "uid", 1, None, steps=[]).to_document()
    (layout.previous / "result.json").write_text(json.dumps(document))
    entries, said = loaded(layout)
    assert window_ledger.format_codes(entries) == "----"
    assert "without windows" in said[-1]


def test_every_reason_has_a_character_and_comes_back() -> None:
    for reason in ("ModelError", "Timeout", "Cancelled", "OOMKilled", "EnvironmentMismatch"):
        assert window_codes.reason_of(ended("a", reason).code) == reason
    assert window_codes.reason_of(ended("a", "SomethingNew").code) == "Unknown"
    assert (
        ended("a", "").code,
        ended("a", "NotFresh").code,
        at_work("a").code,
        Entry("a").code,
    ) == tuple("+~>-")


A, B, SKIPPED, BROKEN, DEAD = (
    ended("a", ""),
    ended("b", ""),
    ended("s", "NotFresh"),
    ended("c", "ModelError"),
    ended("d", "Cancelled"),
)


@pytest.mark.parametrize(
    ("entries", "cancelled", "reason", "message", "code"),
    [
        ([A, B], False, "", "2 of 2 windows succeeded", 0),
        ([A, B], True, "", "2 of 2 windows succeeded", 0),
        ([A, SKIPPED], False, "", "1 of 2 windows succeeded; 1 had no fresh sources", 0),
        ([SKIPPED, SKIPPED], False, "NotFresh", "window s: why s", 0),
        ([A, BROKEN, B], False, "ModelError", "window c: why c", 1),
        ([A, BROKEN, Entry("e")], False, "ModelError", "window c: why c", 1),
        ([BROKEN, DEAD, Entry("e")], True, "Cancelled", "window d: why d", 1),
        (
            [BROKEN, Entry("e")],
            True,
            "Cancelled",
            "the run was cancelled between two windows: 1 of 2 windows were not begun",
            1,
        ),
        (
            [A, Entry("e")],
            False,
            "Yielded",
            "asked to stop between two windows: 1 of 2 windows were not begun",
            1,
        ),
    ],
)
def test_the_first_window_that_failed_decides(
    entries: list[Entry], cancelled: bool, reason: str, message: str, code: int
) -> None:
    summary = window_ledger.summarize(entries, "1.11", cancelled=cancelled)
    assert (summary.reason, summary.message, summary.exit_code) == (reason, message, code)
    assert summary.windows == window_ledger.format_codes(entries)


def test_failures_name_their_window() -> None:
    summary = window_ledger.summarize([A, BROKEN], "1.11", cancelled=False)
    assert summary.failures == [Failure("model.shop.b", "error", "c: it broke")]
    assert summary.nodes.total == 2
    line = format_last_line(summary, window_ledger.list_failed_nodes([A, BROKEN]))
    assert line == "Failed (ModelError): 1 node failed: c model.shop.b"


def test_a_hundred_windows_fit_into_the_termination_message() -> None:
    entries = [ended(f"2024-01-01T{number:02}", "ModelError") for number in range(100)]
    found = Summary.from_json(
        window_ledger.summarize(entries, "1.11.16", cancelled=False).to_json()
    )
    assert found.windows == "M" * 100
    assert found.failures_total == 100


def test_only_known_names_are_replaced() -> None:
    step = replace(BUILD, full=["build", "$(window.start)$(window.start)"])
    found = fill_step(step, Window("a", {"window.start": "2024-01-01T00:00:00+01"}))
    assert json.loads(found.argv[2]) == {"ds": "2024-01-01T00:00:00+01", "x": "$(other)"}
    assert found.full == ["build", "2024-01-01T00:00:00+012024-01-01T00:00:00+01"]
