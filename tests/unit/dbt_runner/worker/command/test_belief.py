"""Which results of dbt 2 are believed, by lines of its log as it writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dbt_runner.worker.command.belief import keep_believed
from dbt_runner.worker.command.node_events import NodeEvents

MODEL, HOOK, TEST = "model.shop.a", "operation.shop.shop-on-run-end-0", "unit_test.shop.a.b"


def line(name: str, level: str = "info", msg: str = "", **data: Any) -> bytes:
    return json.dumps({"info": {"name": name, "level": level, "msg": msg}, "data": data}).encode()


def ended(unique_id: str, status: str, name: str = "LogModelResult", **node: Any) -> bytes:
    info = {"unique_id": unique_id, "node_status": status, **node}
    return line(name, node_info=info, status=status)


@pytest.mark.parametrize(
    ("command", "result", "log", "believed"),
    [
        ("build", "success", "success", "success"),
        ("build", "success", None, None),
        ("build", "error", "success", None),
        ("build", "success", "error", None),
        ("build", None, "success", None),
        ("build", None, "error", "error"),
        ("build", "error", None, None),
        ("compile", None, "success", "success"),
    ],
)
def test_a_result_counts_where_the_log_says_the_same(
    tmp_path: Path, command: str, result: str | None, log: str | None, believed: str | None
) -> None:
    rows = [{"unique_id": MODEL, "status": result, "message": ""}] if result else []
    path = tmp_path / "run_results.json"
    path.write_text(json.dumps({"metadata": {"invocation_id": "i"}, "results": rows}))
    events = NodeEvents(lambda **_: None)
    if log:
        events.take(ended(MODEL, log))
    keep_believed(tmp_path, command, events, None)
    found = json.loads(path.read_text())
    assert found["metadata"] == {"invocation_id": "i"}
    statuses = {row["unique_id"]: row["status"] for row in found["results"]}
    assert statuses == ({MODEL: believed} if believed else {})


def test_what_only_the_log_tells_has_its_words(tmp_path: Path) -> None:
    path = tmp_path / "run_results.json"
    path.write_text(json.dumps({"metadata": {}, "results": []}))
    events = NodeEvents(lambda **_: None)
    for each in (
        line("Generic", "error", "it broke down\n   0: <unknown>\n", node_info={"unique_id": TEST}),
        ended(TEST, "error", "LogTestResult"),
        ended(HOOK, "error", "LogHookEndLine"),
    ):
        events.take(each)
    keep_believed(tmp_path, "build", events, None)
    rows = json.loads(path.read_text())["results"]
    assert {row["unique_id"]: row["message"] for row in rows} == {
        TEST: "it broke down",
        HOOK: "it broke down",
    }


def test_progress_counts_what_is_built() -> None:
    told: list[dict[str, str]] = []
    events = NodeEvents(lambda **what: told.append(what))
    started = {"node_status": "started"}
    for each in (
        line("LogHookStartLine", node_info={"unique_id": HOOK, **started}),
        line("NodeStart", "debug", node_info={"unique_id": MODEL, **started}),
        line("LogStartLine", node_info={"unique_id": MODEL, **started}),
        ended(MODEL, "success"),
        ended("model.shop.inlined", "no-op", materialized="ephemeral"),
    ):
        events.take(each)
    assert told == [{"started": MODEL}, {"ended": MODEL, "status": "success"}]


@pytest.mark.parametrize(
    "data", [b"thread panicked\n", b"[]\n", b"{}\n", b'{"info": 1}\n', b"\xff\n"]
)
def test_what_is_no_line_of_a_log_is_shown_as_it_is(data: bytes) -> None:
    events = NodeEvents(lambda **_: None)
    assert events.take(data).text == data.decode(errors="replace").strip()
    assert events.ended == {}


def test_a_message_is_without_the_statement(tmp_path: Path) -> None:
    said = "Database Error in a\n  Failed to execute query 'select ': x': ERROR: it is wrong"
    path = tmp_path / "run_results.json"
    rows = [{"unique_id": MODEL, "status": "error", "message": said}]
    path.write_text(json.dumps({"metadata": {}, "results": rows}))
    events = NodeEvents(lambda **_: None)
    events.take(ended(MODEL, "error"))
    keep_believed(tmp_path, "run", events, None)
    [row] = json.loads(path.read_text())["results"]
    assert row["message"] == "Database Error in a\n  ERROR: it is wrong"


@pytest.mark.parametrize(
    ("status", "listed", "counts"),
    [
        ("success", {MODEL}, True),
        ("success", set(), False),
        ("error", set(), True),
        ("success", None, True),
    ],
)
def test_what_was_not_listed_was_not_built(
    tmp_path: Path, status: str, listed: set[str] | None, counts: bool
) -> None:
    path = tmp_path / "run_results.json"
    rows = [{"unique_id": MODEL, "status": status, "message": ""}]
    path.write_text(json.dumps({"metadata": {}, "results": rows}))
    events = NodeEvents(lambda **_: None)
    events.take(ended(MODEL, status))
    keep_believed(tmp_path, "build", events, listed)
    assert bool(json.loads(path.read_text())["results"]) is counts
