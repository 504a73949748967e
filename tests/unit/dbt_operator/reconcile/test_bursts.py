"""Many runs that fail at once because of what they share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from dbt_notifier.messages import Answer, Outcome
from dbt_operator.cluster.errors import ClusterError
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.planning.common.conditions import Conditions
from dbt_operator.planning.common.durations import format_time
from dbt_operator.planning.notifying.deciding import make_key
from dbt_operator.reconcile.loop import Reconciler
from tests.support.builders import NOW, run
from tests.support.fake_cluster import FakeCluster, KilledError, Manifest
from tests.support.post_office import CHANNEL, PostOffice, Receivers

MANY, FEW = 8, 5


class Outage:
    """Runs that have failed within a minute, and whoever tells of them."""

    def __init__(self, number: int, reason: str = "Unavailable") -> None:
        self.now = NOW
        self.runs = [f"run{place}" for place in range(number)]
        self.cluster = FakeCluster(*(self._fail(name, reason) for name in self.runs))
        self.receivers = Receivers()
        self.office = PostOffice(self.cluster, self.receivers, lambda: self.now)
        self.restart()

    def _fail(self, name: str, reason: str) -> Manifest:
        made = run()
        uid = f"uid-of-{name}"
        since = format_time(NOW - timedelta(seconds=self.runs.index(name) * 5))
        message = {
            "channel": CHANNEL,
            "event": "Failed",
            "key": make_key(uid, CHANNEL, "Failed"),
            "state": "Pending",
            "since": since,
        }
        conditions = Conditions(1, NOW)
        conditions.stalled(reason)
        made["metadata"] |= {"name": name, "uid": uid}
        made["status"] = {
            "observedGeneration": 1,
            "phase": "Failed",
            "reason": reason,
            "message": "the warehouse does not answer",
            "finishedAt": since,
            "notifications": [message],
            "conditions": [each.to_dict() for each in conditions.list()],
        }
        return made

    def restart(self) -> None:
        store = Store()
        self.office.open(Reconciler(self.cluster, store, "runner:1", lambda: self.now), store)  # type: ignore[arg-type]

    def look(self) -> None:
        """Everything that is to be sent is looked at once."""
        for name in self.runs:
            self.office.deliver(Key("DbtRun", "analytics", name))

    def look_until(self, seconds: int) -> None:
        for _ in range(0, seconds, 10):
            self.look()
            self.now += timedelta(seconds=10)

    @property
    def states(self) -> set[str]:
        found = [self.cluster.objects["DbtRun", name]["status"] for name in self.runs]
        return {status["notifications"][0]["state"] for status in found}


def test_many_become_one_message_that_names_them() -> None:
    outage = Outage(MANY)
    outage.look()
    assert outage.receivers.got == []
    outage.look_until(180)
    ((_, message),) = outage.receivers.got
    assert outage.states == {"Sent"}
    assert message.other_count == MANY - 1
    assert {each.name for each in (message.about, *message.others)} == set(outage.runs)


def test_few_are_told_one_by_one_after_a_while() -> None:
    outage = Outage(FEW)
    outage.look_until(90)
    assert outage.receivers.got == []
    outage.look_until(60)
    assert len(outage.receivers.got) == FEW
    assert outage.states == {"Sent"}


def test_other_failures_are_each_told_at_once() -> None:
    outage = Outage(MANY, "ModelError")
    outage.look()
    assert len(outage.receivers.got) == MANY


def test_a_receiver_that_is_away_gets_the_one_message_later() -> None:
    outage = Outage(MANY)
    outage.receivers.answers = [Answer(Outcome.UNAVAILABLE, "it answers 503")] * 2
    outage.look_until(300)
    assert len(outage.receivers.got) == 1
    assert outage.states == {"Sent"}


def test_an_operator_that_takes_over_late_hears_of_all_before_it_tells() -> None:
    outage = Outage(MANY)
    outage.now += timedelta(minutes=10)
    outage.look_until(120)
    assert len(outage.receivers.got) == 1


def test_an_api_server_that_does_not_answer_makes_no_second_copy() -> None:
    for number in range(1, 40):
        outage = Outage(MANY)
        refusals = iter([number])

        def refuse(count: int, refused: Iterator[int] = refusals, at: int = number) -> None:
            if count == at and next(refused, None):
                raise ClusterError("it does not answer")

        outage.cluster.before_write = refuse
        for _ in range(60):
            with suppress(ClusterError):
                outage.look()
            outage.now += timedelta(seconds=10)
        assert outage.states == {"Sent"}
        named = [
            about.name
            for _, message in outage.receivers.got
            for about in (message.about, *message.others)
        ]
        assert sorted(named) == outage.runs, number
        if outage.cluster.writes < number:
            return
    raise AssertionError("there were writes that were all answered")


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_write_has_every_run_told_of_in_one_message(*, after: bool) -> None:
    for number in range(1, 40):
        outage = Outage(MANY)
        outage.cluster.kill_at(number, after=after)
        killed = False
        for _ in range(60):
            try:
                outage.look()
            except KilledError:
                killed = True
                outage.restart()
            outage.now += timedelta(seconds=10)
        assert outage.states == {"Sent"}
        told = {
            (about.name, message.key)
            for _, message in outage.receivers.got
            for about in (message.about, *message.others)
        }
        # Those that had become one before the kill, and those that had not, are two at worst; of
        # each run one message tells, however many copies of it there are.
        assert sorted(name for name, _ in told) == outage.runs, (number, told)
        if not killed:
            return
    raise AssertionError("there were writes at which nobody was killed")
