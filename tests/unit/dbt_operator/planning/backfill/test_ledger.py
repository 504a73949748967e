"""The ledger of a backfill."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbt_operator.api.kinds.backfill import WindowRun
from dbt_operator.api.status import Reason
from dbt_operator.planning.backfill import ledger as ledgers
from dbt_operator.planning.backfill.ledger import Heard, Ledger
from dbt_operator.planning.common import window_states
from dbt_protocol.window_codes import code_of, reason_of
from tests.support.builders import stamp


def given_to(*windows: int, name: str = "run-1") -> WindowRun:
    return WindowRun(name=name, uid=f"uid-of-{name}", windows=list(windows), created_at=stamp())


def after(states: str, heard: Heard, *windows: int) -> Ledger:
    places = windows or range(len(states))
    return ledgers.advance(Ledger(states, [given_to(*places)]), {"run-1": heard})


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (Heard(), "---"),
        (Heard("+>-"), "+>-"),
        (Heard("+++", ended=True), "+++"),
        (Heard("+~+", ended=True), "+~+"),
        (Heard("++-", ended=True), "++?"),  # a success that does not say what became of a window
        (Heard("", ended=True), "???"),
        (Heard("++", ended=True), "???"),  # another number of windows says nothing
        (Heard("+T-", ended=True, reason=Reason.TEST_FAILED), "+T-"),
        (Heard("+>-", ended=True, reason=Reason.OOM_KILLED), "+O-"),
        (Heard("+X-", ended=True, reason=Reason.INFRASTRUCTURE), "+I-"),
        (Heard("+>-", ended=True, reason=Reason.CANCELLED), "+X-"),
        (Heard("+--", ended=True, reason=Reason.YIELDED), "+--"),
        (Heard("---", ended=True, reason=Reason.CANCELLED), "---"),
        (
            Heard("", ended=True, reason=Reason.IMAGE_PULL_FAILED),
            "VVV",
        ),  # the next one would fail the same way
        (Heard("---", ended=True, reason=Reason.UNKNOWN), "???"),
        (
            Heard("---", ended=True, reason=Reason.INFRASTRUCTURE),
            "I--",
        ),  # another pod may have another node
    ],
)
def test_what_a_run_says_of_its_windows(heard: Heard, expected: str) -> None:
    ledger = after("---", heard)
    assert ledger.states == expected
    assert bool(ledger.runs) is not heard.ended


def test_what_is_done_stays_done() -> None:
    assert after("+-", Heard("--", ended=True, reason=Reason.UNKNOWN)).states == "+?"
    assert after("~+", Heard("?-", ended=True, reason=Reason.UNKNOWN)).states == "~+"


@pytest.mark.parametrize("reason", [Reason.CONFIG_ERROR, Reason.UPLOAD_FAILED])
def test_a_run_that_failed_as_a_whole_has_done_nothing(reason: Reason) -> None:
    code = code_of(reason)
    assert after("+>-", Heard("++-", ended=True, reason=reason)).states == f"{code}{code}-"
    assert after("+>-", Heard("+T-", ended=True, reason=reason)).states == "+T-"


def test_windows_that_were_done_before_the_node_went_are_done() -> None:
    assert after("+>-", Heard("++-", ended=True, reason=Reason.INFRASTRUCTURE)).states == "++-"


def test_a_run_speaks_of_its_own_windows_only() -> None:
    assert (
        after("-----", Heard("+T", ended=True, reason=Reason.TEST_FAILED), 1, 3).states == "-+-T-"
    )


def test_windows_that_a_run_has_are_not_free() -> None:
    ledger = Ledger("+--T-", [given_to(1)])
    assert ledger.free == [2, 4]
    assert ledger.failed == [3]
    assert ledger.ended == 2


# Its runs are of no schedule, and wait for nothing.
NOT_OF_WINDOWS = {Reason.REPLACED, Reason.UPSTREAM_MISSING, Reason.NOT_ARRIVED}


@pytest.mark.parametrize(
    "reason", sorted(set(Reason) - {Reason.YIELDED, Reason.NOT_FRESH} - NOT_OF_WINDOWS)
)
def test_every_reason_that_a_run_can_end_for_has_a_character(reason: Reason) -> None:
    if reason is Reason.SLOT_HELD_BY_LOST_NODE:
        return  # of runs that wait
    assert reason_of(code_of(reason)) == reason


@pytest.mark.parametrize(
    ("free", "lanes", "at_once", "per_pod", "expected"),
    [
        (7, 1, 1, None, [[0, 1, 2, 3, 4, 5, 6]]),
        (7, 2, 2, None, [[0, 2, 4, 6], [1, 3, 5]]),
        (7, 2, 2, 1, [[0], [1]]),
        (7, 1, 2, 2, [[0, 1]]),
        (1, 2, 2, None, [[0]]),
        (500, 2, 2, None, [list(range(0, 100, 2)), list(range(1, 100, 2))]),
        (0, 2, 2, None, []),
        (3, 0, 2, None, []),
    ],
)
def test_how_windows_are_shared_out(
    free: int, lanes: int, at_once: int, per_pod: int | None, expected: list[list[int]]
) -> None:
    assert ledgers.shares(range(free), lanes, at_once, per_pod) == expected


@given(st.integers(0, 400), st.integers(1, 50), st.integers(1, 50), st.none() | st.integers(1, 100))
def test_shares_have_each_window_once_and_the_first_ones(
    free: int, lanes: int, at_once: int, per_pod: int | None
) -> None:
    found = ledgers.shares(range(free), lanes, at_once, per_pod)
    taken = sorted(place for share in found for place in share)
    assert taken == list(range(len(taken)))
    assert len(found) == min(lanes, free)
    assert all(share == sorted(share) and 1 <= len(share) <= 100 for share in found)


CODES = "-+~>TMO?X"


@given(
    st.text(CODES, min_size=1, max_size=60),
    st.text(CODES, min_size=1, max_size=60),
    st.sampled_from([None, *Reason]),
)
def test_a_window_that_is_done_is_never_free_again(
    states: str, said: str, reason: Reason | None
) -> None:
    ledger = after(states, Heard(said, ended=True, reason=reason))
    done = [place for place, code in enumerate(states) if code in window_states.DONE]
    assert not ledger.runs
    assert not set(done) & set(ledger.free)
    assert len(ledger.states) == len(states)
    assert ">" not in ledger.states or ">" in states


# As people read it


def test_up_to_a_thousand_windows_have_an_entry_each() -> None:
    keys = [f"w{number}" for number in range(1000)]
    found = ledgers.entries(Ledger("+" * 1000, given=dict.fromkeys(range(1000), "run-1")), keys)
    assert [entry.window for entry in found] == keys
    assert found[0].to_dict() == {"window": "w0", "phase": "Succeeded", "run": "run-1"}


def test_above_that_windows_that_stand_alike_share_one() -> None:
    keys = [f"w{number}" for number in range(2000)]
    states = "+" * 900 + "T" + ">" + "-" * 1098
    given = {place: f"run-{place % 2}" for place in range(902)}
    found = [entry.to_dict() for entry in ledgers.entries(Ledger(states, given=given), keys)]
    assert found == [
        {"window": "w0", "until": "w899", "count": 900, "phase": "Succeeded"},
        {"window": "w900", "phase": "Failed", "run": "run-0", "reason": "TestFailed"},
        {"window": "w901", "phase": "Running", "run": "run-1"},
        {"window": "w902", "until": "w1999", "count": 1098, "phase": "Pending"},
    ]


@given(st.text(CODES, min_size=1001, max_size=3000))
def test_entries_are_bounded_and_tell_of_the_first_windows(states: str) -> None:
    keys = [f"w{number}" for number in range(len(states))]
    found = ledgers.entries(Ledger(states), keys)
    assert len(found) <= 1000
    told = "".join(entry.phase[0] * (entry.count or 1) for entry in found)
    assert told == "".join(ledgers.phase_of(code)[0] for code in states)[: len(told)]


@given(st.text(CODES, min_size=1, max_size=30))
def test_counts_add_up(states: str) -> None:
    found = window_states.counts(states)
    parts = (found.pending, found.running, found.succeeded, found.failed, found.skipped)
    assert sum(parts) == found.total == len(states)
    assert Counter(states)["+"] == found.succeeded


def test_the_ledger_is_read_as_it_was_written() -> None:
    keys = ["a", "b", "c"]
    before = Ledger("+T-", [given_to(2)], {0: "run-1", 1: "run-2", 2: "run-1"})
    assert ledgers.read("+T-", before.runs, ledgers.entries(before, keys), keys) == before
