"""kill -9 at the writes of a schedule, one after another: each occurrence has one run. The rounds
begin before all other tests, as they wait for the clock.
"""

from __future__ import annotations

import pytest

from tests.support.schedule_kills import ASKED, BY_CLOCK, SIDES, STEP, Rounds


@pytest.mark.parametrize("after", SIDES, ids=lambda after: "after" if after else "before")
@pytest.mark.parametrize("number", BY_CLOCK)
def test_killed_as_it_is_due_an_occurrence_has_one_run(
    schedule_kills: Rounds, number: int, *, after: bool
) -> None:
    assert schedule_kills["clock", number, after].result(), "it takes fewer writes"


@pytest.mark.parametrize("after", SIDES, ids=lambda after: "after" if after else "before")
@pytest.mark.parametrize("path", ASKED)
def test_killed_at_its_writes_what_is_asked_for_is_done_once(
    schedule_kills: Rounds, path: str, *, after: bool
) -> None:
    kills = schedule_kills[path, 0, after].result()
    assert kills * STEP >= 10
