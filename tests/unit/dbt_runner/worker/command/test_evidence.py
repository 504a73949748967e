"""What is known of a dbt that has ended, where it is no Python program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dbt_runner.worker.command.dbt_program import ProgramEnd
from dbt_runner.worker.command.evidence import gather_end, is_own
from dbt_runner.worker.command.node_events import NodeEvents, ignore
from tests.support.step_evidence import MODEL

STARTED = 1767323045.5  # 2026-01-02T03:04:05.5Z


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (
            {
                "invocation_started_at": "2026-01-02T03:04:05.700000+00:00",
                "env": {"RUN_UID": "uid-1"},
            },
            True,
        ),
        ({"generated_at": "2026-01-02T03:04:05.123456789Z"}, True),
        ({"generated_at": "2026-01-02T03:04:04.999999Z"}, False),
        ({"invocation_started_at": "2026-01-02T03:05:00Z", "env": {"RUN_UID": "another"}}, False),
        ({"invocation_started_at": None}, False),
        ({"generated_at": "yesterday"}, False),
        ({}, False),
    ],
)
def test_which_results_are_a_steps_own(metadata: dict[str, Any], expected: bool) -> None:
    assert is_own(metadata, STARTED, "uid-1") is expected


def test_a_failure_that_wrote_results_is_judged_by_them(tmp_path: Path) -> None:
    metadata = {"invocation_id": "x", "generated_at": "2026-01-02T03:04:06Z"}
    written = {"metadata": metadata, "results": [{"unique_id": MODEL}]}
    (tmp_path / "run_results.json").write_text(json.dumps(written))
    ended = ProgramEnd(1, ["Encountered an error:", "it broke"])
    told = gather_end(ended, ["build"], tmp_path, STARTED, "uid-1")
    assert (told.expected, told.invocation_id, told.errors) == ([MODEL], "x", ["it broke"])
    assert told.exception == []


MATCHES_NOTHING = "The selection criterion 'tag:a' does not match any enabled nodes"
NOTHING_TO_DO = "Nothing to do. Try checking your model configs and model specification args"


@pytest.mark.parametrize(
    ("argv", "said", "empty"),
    [
        (["build", "--select", "tag:a", "--warn-error"], MATCHES_NOTHING, True),
        (["build", "--select", "tag:a", "--exclude", "tag:b"], MATCHES_NOTHING, True),
        (["test", "--select", "orders", "--warn-error"], NOTHING_TO_DO, True),
        (["build", "--select", "tag:a", "orders", "--warn-error"], MATCHES_NOTHING, False),
        (["build", "--select", "tag:a orders", "--warn-error"], MATCHES_NOTHING, False),
        (["build", "--exclude", "tag:a", "--warn-error"], MATCHES_NOTHING, False),
        (["docs", "generate", "--select", "tag:a", "--warn-error"], MATCHES_NOTHING, False),
    ],
)
def test_a_warning_that_nothing_is_selected_is_no_error(
    tmp_path: Path, argv: list[str], said: str, empty: bool
) -> None:
    """Only where it is about all that is selected."""
    ended = ProgramEnd(2, ["Encountered an error:", "Compilation Error", f"  {said}"])
    told = gather_end(ended, argv, tmp_path, STARTED, "uid-1")
    assert (told.empty, told.exit_code) == ((True, 0) if empty else (False, 2))
    assert bool(told.exception) is not empty


@pytest.mark.parametrize(
    ("argv", "left", "said"),
    [
        (["docs", "generate"], "catalog.json", ""),
        (["docs", "generate"], "manifest.json", "left no catalog.json"),
        (["source", "freshness", "--select", "a"], "sources.json", ""),
        (["source", "freshness"], "manifest.json", "left no sources.json"),
        (["build"], "manifest.json", ""),
    ],
)
def test_of_a_release_that_is_not_known_success_is_what_it_leaves(
    tmp_path: Path, argv: list[str], left: str, said: str
) -> None:
    """It may call a command another thing than a warning that is known."""
    (tmp_path / left).write_text("{}")
    ended = ProgramEnd(0, ["Skipped: no such command here"], NodeEvents(ignore))
    told = gather_end(ended, argv, tmp_path, STARTED, "uid-1")
    assert told.reason == ("ConfigError" if said else "")
    assert said in told.message
