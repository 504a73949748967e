"""What the flags of a step say, where dbt is no Python program."""

from __future__ import annotations

import pytest

from dbt_runner.worker.command.step_flags import make_listing


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["build"], ""),
        (["run", "--full-refresh", "--threads", "4"], "--resource-type model"),
        (["test"], "--resource-type test --resource-type unit_test"),
        (["test", "--resource-types", "unit_test"], "--resource-types unit_test"),
        (
            ["build", "--select", "a", "b+", "--fail-fast", "--exclude", "c", "--threads", "4"],
            "--select a b+ --exclude c",
        ),
        (
            ["build", "--selector=nightly", "--vars", '{"a":1}', "--empty"],
            '--selector=nightly --vars {"a":1}',
        ),
        (["build", "--event-time-start", "2024-01-01", "--warn-error-options", "{}"], ""),
    ],
)
def test_what_a_step_selects_is_asked_of_dbt_list(argv: list[str], expected: str) -> None:
    asked = make_listing(argv)
    assert asked is not None
    assert (
        " ".join(asked) == f"list --quiet --output json --output-keys unique_id {expected}".strip()
    )


@pytest.mark.parametrize(
    "argv", [["retry"], ["--debug", "run"], ["run", "--no-such-flag"], ["build", "--inline", "x"]]
)
def test_what_dbt_list_cannot_be_asked(argv: list[str]) -> None:
    assert make_listing(argv) is None
