"""Who gets the slots of a target: the decision, over what can be seen of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.planning.queueing.slots import (
    STARVES_AFTER,
    Claim,
    Occupant,
    SlotFacts,
    State,
    allocate,
    order,
)
from tests.support.builders import NOW, later, stamp, target

OLD = "2026-01-01T00:00:00.000000Z"


def seen(*holders: str, limit: int | None = None, **fields: Any) -> SlotFacts:
    manifest = target(**({"maxConcurrentRuns": limit} if limit else {}))
    manifest["status"]["holders"] = [
        {"kind": "DbtRun", "name": name, "uid": f"uid-{name}", "since": OLD} for name in holders
    ]
    manifest["status"]["released"] = fields.pop("released", [])
    return SlotFacts(
        target=DbtTarget.model_validate(manifest),
        states={f"uid-{name}": state for name, state in fields.pop("states", {}).items()},
        occupants={f"uid-{o.name}": o for o in fields.pop("occupants", ())},
        yielded={f"uid-{name}": since for name, since in fields.pop("yielded", {}).items()},
        **fields,
    )


def claim(name: str, priority: int = 0, age: float = 0, **fields: Any) -> Claim:
    return Claim(name, f"uid-{name}", priority, later(-age), **fields)


def occupant(name: str, **fields: Any) -> Occupant:
    return Occupant("DbtRun", name, f"uid-{name}", **fields)


def holders(found: SlotFacts) -> list[str]:
    return [holder.name for holder in allocate(found, NOW).holders]


def test_a_free_slot_goes_to_the_highest_priority_and_then_to_the_oldest() -> None:
    claims = [
        claim("new", age=1),
        claim("old", age=9),
        claim("urgent", priority=1),
        claim("low", priority=-1, age=99),
    ]
    assert [c.name for c in order(claims)] == ["urgent", "old", "new", "low"]
    found = allocate(seen(claims=claims), NOW)
    assert ([h.name for h in found.holders], found.queued) == (["urgent"], 3)


def test_nobody_waits_for_ever() -> None:
    """Whatever comes, after 30 minutes for each step of priority between them the older one is
    first.
    """
    urgent, patient = (
        claim("urgent", priority=2),
        claim("patient", waited=2 * STARVES_AFTER, age=3600),
    )
    assert order([urgent, patient])[0] is patient
    impatient = claim("patient", waited=2 * STARVES_AFTER - timedelta(seconds=1), age=3600)
    assert order([urgent, impatient])[0] is urgent


def test_there_are_as_many_slots_as_the_target_says() -> None:
    claims = [claim(f"run-{number}") for number in range(5)]
    assert len(allocate(seen(claims=claims), NOW).holders) == 1
    assert len(allocate(seen(claims=claims, limit=3), NOW).holders) == 3
    assert len(allocate(seen("a", "b", claims=claims, limit=3), NOW).holders) == 3


def test_lowering_their_number_takes_no_slot_away() -> None:
    assert holders(seen("a", "b", "c", limit=1, claims=[claim("next")])) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("state", "living", "kept"),
    [
        (State.ACTIVE, {}, True),
        (State.ENDED, {}, False),
        (State.ENDED, {"job": True}, False),  # created late: nobody records it
        (State.ENDED, {"gated": True}, False),
        (State.ENDED, {"running": True}, True),
        (State.GONE, {}, False),
        (State.GONE, {"job": True}, True),
        (State.GONE, {"gated": True}, True),
        (State.GONE, {"running": True}, True),
    ],
)
def test_a_slot_is_free_when_its_holder_has_done_and_nothing_of_it_lives(
    state: State, living: dict[str, bool], kept: bool
) -> None:
    occupants = [occupant("last", **living)] if living else []
    found = allocate(
        seen("last", states={"last": state}, occupants=occupants, claims=[claim("next")]), NOW
    )
    assert [h.name for h in found.holders] == (["last"] if kept else ["next"])
    assert found.waiting_for == (["last"] if kept and state is not State.ACTIVE else [])


def test_a_slot_that_was_given_up_is_not_the_next_one_of_the_same_run() -> None:
    claims = [claim("retried", yielded=OLD)]
    found = allocate(seen("retried", yielded={"retried": OLD}, claims=claims), NOW)
    assert found.holders[0].since != OLD
    at_the_same_time = allocate(
        seen(claims=[claim("retried", yielded=found.holders[0].since)]), NOW
    )
    assert at_the_same_time.holders[0].since not in (OLD, found.holders[0].since)


def test_a_target_that_was_created_anew_finds_who_is_at_work() -> None:
    at_work = occupant("at-work", running=True, job=True)
    assert holders(seen(occupants=[at_work], claims=[claim("next", priority=9)])) == ["at-work"]
    both = [occupant("another", running=True), at_work]
    assert holders(seen(occupants=both, claims=[claim("next")])) == [
        "another"
    ]  # and the other one blocks, unnamed


def test_what_has_begun_comes_before_everybody() -> None:
    """An attempt stands in its status, and its Job may be created at any moment."""
    assert holders(seen(claims=[claim("urgent", priority=9), claim("begun", begun=True)])) == [
        "begun"
    ]


def test_who_works_without_a_slot_keeps_others_from_getting_one() -> None:
    beside = occupant("beside", running=True)
    assert holders(seen("holder", occupants=[beside], claims=[claim("next")])) == ["holder"]
    assert holders(seen("holder", occupants=[beside], limit=2, claims=[claim("next")])) == [
        "holder",
        "beside",
    ]


def test_the_pod_of_a_lost_node_is_named_and_holds_the_slot() -> None:
    lost = occupant("lost", running=True, lost_pod="lost-1 on node a")
    found = allocate(
        seen("lost", states={"lost": State.ENDED}, occupants=[lost], claims=[claim("next")]), NOW
    )
    assert [(h.name, h.lost_pod) for h in found.holders] == [("lost", "lost-1 on node a")]


def test_until_somebody_releases_it_by_force_which_is_recorded() -> None:
    lost = occupant("lost", running=True, lost_pod="lost-1 on node a")
    forced = seen("lost", occupants=[lost], claims=[claim("next")], force_release="uid-lost")
    found = allocate(forced, NOW)
    assert [h.name for h in found.holders] == ["next"]
    assert [(r.name, r.uid, r.at) for r in found.released] == [("lost", "uid-lost", stamp())]
    recorded = [release.to_dict() for release in found.released]
    again = seen(
        "next",
        occupants=[lost],
        released=recorded,
        force_release="uid-lost",
        claims=[claim("third")],
    )
    assert holders(again) == ["next"]
    assert len(allocate(again, later(60)).released) == 1


def test_the_annotation_of_a_stranger_releases_nothing() -> None:
    assert holders(seen("a", force_release="uid-b")) == ["a"]


NAMES = st.sampled_from("abcdef")


@given(
    limit=st.integers(1, 4),
    held=st.lists(NAMES, unique=True, max_size=4),
    states=st.dictionaries(NAMES, st.sampled_from(State)),
    living=st.dictionaries(NAMES, st.tuples(st.booleans(), st.booleans(), st.booleans())),
    claims=st.lists(NAMES, unique=True),
)
def test_there_are_never_more_holders_than_slots_and_none_is_lost(
    limit: int,
    held: list[str],
    states: dict[str, State],
    living: dict[str, tuple[bool, bool, bool]],
    claims: list[str],
) -> None:
    occupants = [
        occupant(n, job=job, gated=gated, running=running)
        for n, (job, gated, running) in living.items()
    ]
    given_ = seen(
        *held[:limit],
        limit=limit,
        states=states,
        occupants=occupants,
        claims=[claim(n) for n in claims],
    )
    found = allocate(given_, NOW)
    names = [holder.name for holder in found.holders]
    assert len(names) == len(set(names)) <= limit
    working = {o.name for o in occupants if o.occupies(states.get(o.name, State.ACTIVE))}
    granted = {c.name for c in found.granted}
    assert len(working - set(names)) + len(names) <= limit or not granted - working
    assert working & set(held[:limit]) <= set(names)
