"""JSON that the project's code may have written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dbt_runner.json_files import read_json, read_results
from dbt_runner.volume import LARGEST_FILE

ROW = {"unique_id": "model.shop.orders", "status": "success"}


def test_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run_results.json")
    assert read_json(tmp_path / "run_results.json") is None


def test_a_file_without_an_end_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "run_results.json").symlink_to("/dev/zero")
    assert read_json(tmp_path / "run_results.json") is None


def test_a_file_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "run_results.json").touch()
    os.truncate(tmp_path / "run_results.json", LARGEST_FILE << 10)
    assert read_json(tmp_path / "run_results.json") is None


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"metadata": 5, "results": []},
        {"metadata": {}, "results": 7},
        {"metadata": {}, "results": [1]},
        {"metadata": {}, "results": [{"unique_id": ["x"]}]},
        {"metadata": {}, "results": [ROW, {}]},
    ],
)
def test_results_of_another_shape_are_none(tmp_path: Path, document: object) -> None:
    (tmp_path / "run_results.json").write_text(json.dumps(document))
    assert read_results(tmp_path / "run_results.json") is None


def test_results_as_dbt_writes_them_are_read(tmp_path: Path) -> None:
    document = {"metadata": {"invocation_id": "x"}, "results": [ROW], "args": {}}
    (tmp_path / "run_results.json").write_text(json.dumps(document))
    assert read_results(tmp_path / "run_results.json") == document
