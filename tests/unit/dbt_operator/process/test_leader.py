"""The election: candidates with clocks of ours, and one Lease in memory."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from dbt_operator.cluster.errors import ClusterError, ConflictError
from dbt_operator.common.keys import Key
from dbt_operator.planning.leadership import (
    TERMS,
    LeaseFacts,
    Record,
    Terms,
    claim,
    leads,
    look,
    micro_time,
    record_of,
    spec_of,
)
from dbt_operator.process.health import Health
from dbt_operator.process.leader import Candidacy, Elector, own_identity
from tests.support.kube import PATIENCE

LEASE = Key("Lease", "ns", "operator")
NOW = "2026-01-02T03:04:05.000006Z"
START = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
OURS = Record("me", 15, "long ago", "before", 3)
THEIRS = Record("you", 15, "long ago", "before", 3)


@pytest.mark.parametrize(
    ("record", "since", "wanted"),
    [
        (None, 0, Record("me", 15, NOW, NOW, 0)),
        (OURS, 100, Record("me", 15, "long ago", NOW, 3)),
        (OURS, 0, Record("me", 15, "long ago", NOW, 3)),
        (THEIRS, 100, None),
        (THEIRS, 85.001, None),
        (THEIRS, 85, Record("me", 15, NOW, NOW, 4)),
        (Record("you", 60, "", "", 3), 85, None),  # what its holder has promised counts
        (Record("you", 0, "", "", 3), 99, None),  # and what is usual, where it promised nothing
        (Record("", 1, NOW, NOW, 3), 100, Record("me", 15, NOW, NOW, 4)),  # given back
    ],
)
def test_who_may_take_the_lease_100_seconds_after_a_start(
    record: Record | None, since: float, wanted: Any
) -> None:
    assert claim(LeaseFacts(record, since), "me", 100, NOW, TERMS) == wanted


def test_a_record_is_as_old_as_its_last_change_that_was_seen() -> None:
    seen = look(None, THEIRS, 10)
    assert look(seen, THEIRS, 20) == LeaseFacts(THEIRS, 10)
    renewed = Record("you", 15, "long ago", "now", 3)
    assert look(seen, renewed, 20) == LeaseFacts(renewed, 20)


def test_a_leader_believes_in_itself_for_less_long_than_others_wait() -> None:
    assert not leads(None, 100, TERMS)
    assert leads(100, 109.9, TERMS)
    assert not leads(100, 110, TERMS)
    assert TERMS.renew_deadline < TERMS.lease_duration


def test_a_lease_says_the_same_after_it_was_read_and_written() -> None:
    assert record_of({"spec": spec_of(OURS)}) == OURS
    assert record_of({}) == record_of({"spec": None}) == Record()
    assert micro_time(START) == NOW


def test_every_process_has_an_identity_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", "operator-0")
    assert own_identity().startswith("operator-0_")
    assert own_identity() != own_identity()


class World:
    """Time, a Lease, and an API server that may do anything at any request."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lease: dict[str, Any] | None = None
        self.on_request: Callable[[], None] = lambda: None
        self.on_answer: Callable[[], None] = lambda: None
        self._version = 0

    def clock(self) -> float:
        return self.now

    def wall_clock(self) -> datetime:
        return START + timedelta(seconds=self.now)

    def get_lease(self, _namespace: str, _name: str) -> dict[str, Any] | None:
        self.on_request()
        return copy.deepcopy(self.lease)

    def create_lease(self, manifest: Any) -> Any:
        return self._write(manifest, lambda: self.lease is None)

    def replace_lease(self, manifest: Any) -> Any:
        version = manifest["metadata"]["resourceVersion"]
        return self._write(
            manifest, lambda: self.lease and self.lease["metadata"]["resourceVersion"] == version
        )

    def _write(self, manifest: Any, allowed: Callable[[], Any]) -> Any:
        self.on_request()
        if not allowed():
            raise ConflictError("somebody was faster")
        self._version += 1
        self.lease = copy.deepcopy(dict(manifest))
        self.lease["metadata"]["resourceVersion"] = str(self._version)
        self.on_answer()
        return self.lease

    @property
    def record(self) -> Record:
        assert self.lease is not None
        return record_of(self.lease)


def candidate(world: World, name: str, on_lead: Callable[[], Any] = lambda: None) -> Elector:
    pulse = Health(world.clock).pulse("election", 60)
    candidacy = Candidacy(name, clock=world.clock, wall_clock=world.wall_clock)
    return Elector(world, LEASE, pulse, on_lead, candidacy)


def rounds(world: World, seconds: float, *candidates: Elector) -> None:
    until = world.now + seconds
    while world.now < until:
        for each in candidates:
            each.round()
        world.now += TERMS.retry_period


def test_who_could_not_begin_begins_in_the_next_round() -> None:
    world, begun = World(), []

    def begin() -> None:
        begun.append(world.now)
        if len(begun) == 1:
            raise KeyError("a label that is missing")

    first = candidate(world, "first", begin)
    with pytest.raises(KeyError):
        first.round()
    rounds(world, 10, first)
    assert first.leads()
    assert len(begun) == 2


def test_the_thread_of_the_election_outlives_whatever_goes_wrong_in_a_round() -> None:
    world, begun = World(), threading.Event()
    failures = [KeyError("a label"), TypeError("no lease")]

    def begin() -> None:
        if failures:
            raise failures.pop()
        begun.set()

    terms = Terms(retry_period=0.01)
    pulse = Health(world.clock).pulse("election", 60)
    elector = Elector(world, LEASE, pulse, begin, Candidacy(terms=terms, clock=world.clock))
    elector.start()
    assert begun.wait(PATIENCE)
    elector.release()


def refuse() -> None:
    raise ClusterError("the API server cannot be reached")


def test_the_first_leads_and_goes_on_to() -> None:
    world, begun = World(), []
    first, second = (
        candidate(world, "first", lambda: begun.append("first")),
        candidate(world, "second"),
    )
    assert first.say_missing()
    rounds(world, 60, first, second)
    assert (first.leads(), second.leads()) == (True, False)
    assert (first.say_missing(), second.say_missing()) == ("", ""), "a standby is ready as well"
    assert begun == ["first"]
    assert world.record == Record("first", 15, NOW, micro_time(START + timedelta(seconds=58)), 0)


def test_a_standby_takes_over_once_the_lease_has_expired() -> None:
    world = World()
    first, second = candidate(world, "first"), candidate(world, "second")
    rounds(world, 10, first, second)
    rounds(world, 14, second)
    assert not second.leads()
    rounds(world, 4, second)
    assert second.leads()
    assert (world.record.holder, world.record.transitions) == ("second", 1)


def test_a_standby_takes_over_at_once_what_was_given_back() -> None:
    world = World()
    first, second = candidate(world, "first"), candidate(world, "second")
    rounds(world, 10, first, second)
    first.release()
    assert world.record == Record("", 1, world.record.acquired, micro_time(world.wall_clock()), 0)
    second.round()
    assert second.leads()
    assert world.record.transitions == 1


def test_only_the_holder_gives_the_lease_back() -> None:
    world = World()
    first, second = candidate(world, "first"), candidate(world, "second")
    rounds(world, 10, first, second)
    second.release()
    assert world.record.holder == "first"


def test_a_short_outage_costs_nobody_the_lead() -> None:
    world = World()
    first, second = candidate(world, "first"), candidate(world, "second")
    rounds(world, 10, first, second)
    world.on_request = refuse
    rounds(world, 6, first, second)
    world.on_request = lambda: None
    rounds(world, 30, first, second)
    assert first.leads()


def test_api_server_away_for_10_minutes() -> None:
    world = World()
    first, second = candidate(world, "first"), candidate(world, "second")
    rounds(world, 10, first, second)
    world.on_request = refuse
    with structlog.testing.capture_logs() as logs:
        rounds(world, 12, first, second)
        assert first.lost(), "its process ends, and comes back as a standby"
        third = candidate(world, "third")
        rounds(world, 588, second, third)
    assert (second.leads(), third.leads()) == (False, False)
    assert len([each for each in logs if each["log_level"] == "warning"]) == 3, "each says it once"
    world.on_request = lambda: None
    rounds(world, 20, second, third)
    assert second.leads() != third.leads()
    assert (second.lost(), third.lost()) == (False, False)


def test_who_was_paused_for_too_long_does_not_lead_when_it_wakes_up() -> None:
    world = World()
    first, second = candidate(world, "first"), candidate(world, "second")
    rounds(world, 10, first, second)
    rounds(world, 20, second)
    assert second.leads()
    assert not first.leads(), "before it has sent or heard anything"
    rounds(world, 60, first, second)
    assert first.lost()
    assert world.record.holder == "second"


def test_an_answer_that_comes_late_does_not_make_the_leader_believe_for_longer() -> None:
    world = World()
    first, second = candidate(world, "first"), candidate(world, "second")
    rounds(world, 10, first, second)

    def late() -> None:
        world.on_answer = lambda: None
        rounds(world, 20, second)

    world.on_answer = late
    first.round()
    assert second.leads()
    assert first.lost()


def test_who_sees_another_holder_ends_at_once() -> None:
    world = World()
    first = candidate(world, "first")
    rounds(world, 4, first)
    assert world.lease is not None
    world.lease["spec"]["holderIdentity"] = "somebody who has edited it"
    first.round()
    assert first.lost()


def test_who_has_lost_does_not_come_back_even_if_nobody_took_over() -> None:
    world = World()
    first = candidate(world, "first")
    rounds(world, 4, first)
    world.now += 11
    rounds(world, 60, first)
    assert first.lost()


@dataclass(frozen=True)
class Step:
    who: int
    pauses: tuple[float, float, float]  # before the look, between look and write, before the answer
    meanwhile: (
        int | None
    )  # who else has rounds between look and write, and between write and answer
    fails: str


PAUSE = st.one_of(st.just(0.0), st.floats(0, 3), st.floats(0, 40))
STEP = st.builds(
    Step,
    who=st.integers(0, 2),
    pauses=st.tuples(PAUSE, PAUSE, PAUSE),
    meanwhile=st.one_of(st.none(), st.integers(0, 2)),
    fails=st.sampled_from(["no", "no", "no", "before", "after"]),
)


class Election:
    """Three candidates whose requests are delayed, lost and interrupted by others, and who sleep at
    any moment.
    """

    def __init__(self) -> None:
        self.world = World()
        self.candidates = [candidate(self.world, f"candidate-{number}") for number in range(3)]

    def pause(self, seconds: float) -> None:
        self.world.now += seconds
        assert sum(each.leads() for each in self.candidates) <= 1

    def others(self, step: Step) -> None:
        """Somebody else has a round, in which nothing special happens."""
        if step.meanwhile in (None, step.who):
            return
        ours = self.world.on_request, self.world.on_answer
        self.world.on_request = self.world.on_answer = lambda: None
        self.candidates[step.meanwhile or 0].round()
        self.world.on_request, self.world.on_answer = ours
        self.pause(0)

    def pause_among_others(self, step: Step, seconds: float) -> None:
        self.others(step)
        self.pause(seconds)
        self.others(step)

    def take(self, step: Step) -> None:
        requests: list[int] = []

        def request() -> None:
            requests.append(1)
            if len(requests) == 2:  # the write
                self.pause_among_others(step, step.pauses[1])
                if step.fails == "before":
                    refuse()

        def answer() -> None:
            self.pause_among_others(step, step.pauses[2])
            if step.fails == "after":
                refuse()

        self.pause(step.pauses[0])
        self.world.on_request, self.world.on_answer = request, answer
        self.candidates[step.who].round()
        self.world.on_request = self.world.on_answer = lambda: None
        self.pause(0)


@settings(max_examples=500)
@given(st.lists(STEP, max_size=25))
def test_never_do_two_believe_to_lead(steps: list[Step]) -> None:
    election = Election()
    for step in steps:
        election.take(step)
    alive = [each for each in election.candidates if not each.lost()]
    rounds(election.world, 40, *alive)
    assert sum(each.leads() for each in alive) == min(1, len(alive))
