"""result.json byte for byte, and what a reader makes of files that it did not expect. The golden
files are written anew with WRITE_GOLDEN=1.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dbt_protocol.messages import ProtocolError
from dbt_protocol.result_file import (
    NodeResult,
    Parse,
    ResultFile,
    StepResult,
    WindowParses,
    WindowResult,
)
from dbt_protocol.summaries import Failure, Nodes, Summary
from dbt_runner.json_files import write_json

GOLDEN = Path(__file__).parent / "golden"
FAILURE = Failure("model.shop.orders", "error", "Größe")
BUILD = StepResult(
    name="1-build",
    command="build",
    state="Failed",
    exit_code=1,
    reason="ModelError",
    message="model.shop.orders has status error",
    started_at="2024-01-01T00:00:00Z",
    finished_at="2024-01-01T00:01:00Z",
    nodes=Nodes(total=2, success=1, error=1),
    failures=[FAILURE],
    attempt=2,
    digest="d1",
    resume="Nodes",
    results=[
        NodeResult("model.shop.days", "success", ""),
        NodeResult("model.shop.orders", "error", "Größe", may_warn=False),
    ],
    left_out=0,
)
REFUSED = StepResult(
    name="1-build",
    command="build",
    state="Failed",
    reason="EnvironmentMismatch",
    message="no",
    started_at="2024-01-01T00:00:00Z",
    finished_at="2024-01-01T00:00:01Z",
    attempt=2,
    digest="d1",
)
DOCS = StepResult("2-docs", "docs", "Skipped", allow_failure=True)
PARSE = Parse(seconds=1.5, cached=True)
SUMMARY = Summary(
    "ModelError",
    "step 1-build: model.shop.orders has status error",
    1,
    "1.11.16",
    BUILD.nodes,
    [FAILURE],
    1,
    whole=True,
)
RUN = ResultFile(
    run="nightly",
    run_uid="uid-1",
    attempt=2,
    source={"commit": "abc", "fingerprint": "f1"},
    parse=PARSE,
    summary=SUMMARY,
    steps=[BUILD, DOCS],
)
UNDER_WAY = replace(
    RUN,
    parse=WindowParses(count=2, obstacle=None),
    summary=None,
    steps=None,
    codes="+M-",
    windows=[
        WindowResult("a", "Succeeded", "", "1 of 1 steps succeeded", 2, Nodes(total=1, success=1)),
        WindowResult("b", "Failed", "ModelError", SUMMARY.message, 2, BUILD.nodes, [BUILD, DOCS]),
        WindowResult("c", "Pending"),
    ],
)
FILES = {
    "run": RUN,
    "ended_before_its_first_step": replace(
        RUN,
        parse=Parse(),
        summary=Summary("EnvironmentMismatch", "step 1-build: no", 2, "1.11.16"),
        steps=[REFUSED, DOCS],
    ),
    "one_window": replace(RUN, parse=replace(PARSE, count=1, obstacle=""), key="b", state="Failed"),
    "windows_under_way": UNDER_WAY,
    "windows": replace(
        UNDER_WAY,
        summary=Summary(
            "ModelError",
            f"window b: {SUMMARY.message}",
            1,
            "1.11.16",
            Nodes(total=3, success=2, error=1),
            [replace(FAILURE, message="b: Größe")],
            1,
            windows="+M-",
        ),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_the_file_is_byte_for_byte_as_others_read_it(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / "result.json", FILES[name].to_document())
    written = (tmp_path / "result.json").read_bytes()
    if os.environ.get("WRITE_GOLDEN"):
        (GOLDEN / f"{name}.json").write_bytes(written)
    assert (GOLDEN / f"{name}.json").read_bytes() == written


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_as_it_was_written(name: str) -> None:
    document = json.loads((GOLDEN / f"{name}.json").read_text())
    assert ResultFile.from_document(document) == FILES[name]


def test_there_is_a_file_of_each_kind() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == FILES.keys()


def document_of(file: ResultFile, **other: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(file.to_document())), **other}


def test_what_a_later_runner_has_added_is_passed_over() -> None:
    document = document_of(RUN, brand_new=1, summary="x", windows="")
    for part in (
        document["steps"][0],
        document["steps"][0]["nodes"],
        document["steps"][0]["failures"][0],
        document["steps"][0]["results"][0],
        document["parse"],
        document["nodes"],
    ):
        part["brand_new"] = 1
    assert ResultFile.from_document(document) == RUN


def test_a_file_without_a_version_is_of_the_first() -> None:
    document = document_of(RUN)
    del document["schema_version"]
    assert ResultFile.from_document(document) == RUN


@pytest.mark.parametrize(
    "wrong",
    [
        {"schema_version": 2},
        {"schema_version": None},
        {"attempt": "2"},
        {"run_uid": 1},
        {"parse": []},
        {"nodes": 1},
        {"failures": [1]},
        {"steps": 1},
        {"steps": [{}]},
        {"steps": [1]},
        {"steps": [{"name": "a", "command": "build", "state": "Failed"}]},
    ],
)
def test_what_is_no_such_file_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        ResultFile.from_document(document_of(RUN, **wrong))


@pytest.mark.parametrize(
    "wrong",
    [{"windows": 1}, {"windows": [{}]}, {"windows": [1]}, {"codes": 1}, {"parse": {"count": "1"}}],
)
def test_what_is_no_file_of_windows_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        ResultFile.from_document(document_of(UNDER_WAY, **wrong))


@pytest.mark.parametrize("steps", [1, None, [1], [{}]])
def test_steps_that_cannot_be_read_are_those_of_their_window_alone(steps: object) -> None:
    document = document_of(UNDER_WAY)
    document["windows"][1]["steps"] = steps
    found = ResultFile.from_document(document).windows
    assert found is not None
    assert [window.steps for window in found] == [[], None, []]
