from __future__ import annotations

import pytest

from dbt_operator.api.status import ConditionType
from dbt_operator.planning.common.conditions import Conditions
from dbt_operator.planning.common.durations import duration, format_time, parse_time, seconds
from tests.support.builders import NOW, later, stamp


def test_a_transition_is_a_change_of_status_only() -> None:
    first = Conditions.of(None, 1, NOW)
    first.set(ConditionType.FINISHED, "False", "Pending")
    second = Conditions.of(first.list(), 2, later(60))
    second.set(ConditionType.FINISHED, "False", "Running", "dbt is running")
    (same,) = second.list()
    assert (same.last_transition_time, same.reason, same.observed_generation) == (
        stamp(),
        "Running",
        2,
    )
    third = Conditions.of(second.list(), 2, later(120))
    third.set(ConditionType.FINISHED, "True", "Succeeded")
    (changed,) = third.list()
    assert changed.last_transition_time == stamp(120)


@pytest.mark.parametrize(
    ("set_one", "expected"),
    [
        ("ready", {"Ready": "True", "Reconciling": "False", "Stalled": "False"}),
        ("progressing", {"Ready": "False", "Reconciling": "True", "Stalled": "False"}),
        ("stalled", {"Ready": "False", "Reconciling": "False", "Stalled": "True"}),
    ],
)
def test_kstatus_finds_exactly_one_state(set_one: str, expected: dict[str, str]) -> None:
    conditions = Conditions(1, NOW)
    getattr(conditions, set_one)("Because", "of this")
    assert {c.type: c.status for c in conditions.list()} == expected


@pytest.mark.parametrize(
    ("text", "number"), [("30m", 1800), ("1h30m", 5400), ("90s", 90), ("1h0m5s", 3605)]
)
def test_durations_are_read(text: str, number: int) -> None:
    assert seconds(text) == number


@pytest.mark.parametrize("text", ["", "30", "m", "1d", "-1s", "1m1h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0s"), (59.6, "1m"), (92, "1m32s"), (3600, "1h"), (3725, "1h2m")]
)
def test_durations_are_written(number: float, text: str) -> None:
    assert duration(number) == text


def test_times_survive_being_written_and_read() -> None:
    assert parse_time(format_time(NOW)) == NOW
