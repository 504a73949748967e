"""Messages about the ends of runs: who gets them, and what an operator that is killed does to
that.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dbt_notifier.messages import Answer, Outcome
from dbt_operator.cluster.errors import ConflictError
from dbt_operator.common.channels import Channel
from tests.support.builders import (
    ended_status,
    failed_summary,
    project,
    run,
    running_status,
    target,
)
from tests.support.fake_cluster import KilledError
from tests.support.post_office import CHANNEL, PostOffice, Receivers
from tests.support.run_world import RUN, World

NOTIFY = [{"channel": CHANNEL}]


class ToldWorld(World):
    """A run of which somebody is told."""

    def __init__(self, *manifests: dict[str, Any]) -> None:
        self.receivers = Receivers()
        self.office: PostOffice | None = None
        super().__init__(*(manifests or (run(notify=NOTIFY), project(), target())))

    def restart(self) -> None:
        super().restart()
        if self.office is None:
            self.office = PostOffice(self.cluster, self.receivers, lambda: self.now)
        self.office.open(self.reconciler, self.store)

    def fail(self) -> None:
        self.settle()
        self.pod(running_status())
        self.settle()
        self.pod(ended_status(1, failed_summary()))
        self.settle()

    def deliver(self) -> list[float]:
        assert self.office is not None
        return self.office.deliver(RUN)

    @property
    def message(self) -> dict[str, Any]:
        (found,) = self.status["notifications"]
        return dict(found)

    @property
    def notified(self) -> tuple[str, str]:
        return next(
            (each["status"], each["reason"])
            for each in self.status["conditions"]
            if each["type"] == "Notified"
        )


def test_the_intent_stands_there_with_the_end_and_the_outcome_after() -> None:
    world = ToldWorld()
    world.fail()
    assert world.status["phase"] == "Failed"
    assert (world.message["event"], world.message["state"]) == ("Failed", "Pending")
    assert world.notified == ("Unknown", "Pending")
    assert world.deliver() == []
    assert world.message["state"] == "Sent"
    assert world.notified == ("True", "Notified")
    ((channel, message),) = world.receivers.got
    assert (channel, message.key) == (CHANNEL, world.message["key"])
    assert (message.about.project, message.about.target) == ("shop", "prod")
    assert message.reason == world.status["reason"]
    assert world.deliver() == []
    assert len(world.receivers.got) == 1


def test_the_projects_default_holds_for_a_run_that_names_nobody() -> None:
    world = ToldWorld(run(), project(defaults={"notify": NOTIFY}), target())
    world.fail()
    assert world.message["channel"] == CHANNEL
    world = ToldWorld(run(notify=[]), project(defaults={"notify": NOTIFY}), target())
    world.fail()
    assert "notifications" not in world.status


def test_a_channel_that_may_not_be_used_is_no_error_of_the_run() -> None:
    world = ToldWorld(run(notify=[{"channel": "others"}]), project(), target())
    world.fail()
    assert world.status["reason"] != "InvalidSpec"
    assert world.message["state"] == "Failed"
    assert world.notified == ("False", "NotSent")
    assert world.receivers.got == []


def test_what_a_receiver_cannot_take_is_tried_again_ever_more_rarely() -> None:
    world = ToldWorld()
    world.fail()
    world.receivers.answers = [Answer(Outcome.UNAVAILABLE, "it answers 503")] * 3
    assert [world.deliver() for _ in range(3)] == [[5.0], [10.0], [20.0]]
    assert (world.message["tries"], world.message["message"]) == (3, "it answers 503")
    assert world.notified == ("False", "Retrying")
    assert world.deliver() == []
    assert world.notified == ("True", "Notified")


def test_a_receiver_that_asks_to_be_left_alone_is() -> None:
    world = ToldWorld()
    world.fail()
    world.receivers.answers = [Answer(Outcome.UNAVAILABLE, "it answers 429", 120.0)]
    assert world.deliver() == [120.0]
    world.now += timedelta(seconds=100)
    assert world.deliver() == [20.0]
    assert world.receivers.got == []
    world.now += timedelta(seconds=20)
    assert world.deliver() == []
    assert world.receivers.events == ["Failed"]


def test_what_is_refused_for_good_is_not_tried_again() -> None:
    world = ToldWorld()
    world.fail()
    world.receivers.answers = [Answer(Outcome.REFUSED, "it answers 400: invalid_blocks")]
    assert world.deliver() == []
    assert world.message["state"] == "Failed"
    assert world.notified == ("False", "NotSent")


def test_after_a_day_a_message_is_given_up() -> None:
    world = ToldWorld()
    world.fail()
    world.now += timedelta(hours=23, minutes=45)
    world.receivers.answers = [Answer(Outcome.MISCONFIGURED, "it answers 404")]
    assert world.deliver() == []
    assert (world.message["state"], world.message["message"]) == ("Failed", "it answers 404")


def test_an_operator_that_does_not_lead_sends_nothing() -> None:
    world = ToldWorld()
    world.fail()
    assert world.office is not None
    world.office.leads = False
    assert world.deliver() == []
    assert (world.receivers.got, world.message["state"]) == ([], "Pending")


def test_an_object_that_changes_meanwhile_is_no_reason_to_send_again() -> None:
    world = ToldWorld()
    world.fail()
    refusals = iter([True, True])

    def refuse(_: int) -> None:
        if next(refusals, False):
            raise ConflictError("the object has been modified")

    world.cluster.before_write = refuse
    assert world.deliver() == []
    assert (len(world.receivers.got), world.message["state"]) == (1, "Sent")


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_write_loses_no_message_and_doubles_none_but_by_the_rule(
    *, after: bool
) -> None:
    for number in range(1, 60):
        world = ToldWorld()
        world.cluster.kill_at(number, after=after)
        world.fail()
        killed_at_record = False
        for _ in range(3):
            try:
                world.deliver()
            except KilledError:
                killed_at_record = True
                world.restart()
        keys = {message.key for _, message in world.receivers.got}
        assert (world.message["state"], len(keys)) == ("Sent", 1)
        # A second copy where the record was not written, and never another one.
        assert len(world.receivers.got) == 1 + (killed_at_record and not after)
        if world.cluster.writes < number:
            return
    raise AssertionError("there were writes at which nobody was killed")


def test_a_kill_before_the_answer_is_followed_by_the_same_message() -> None:
    world = ToldWorld()
    world.fail()

    def die() -> None:
        world.receivers.when_asked = lambda: None
        raise KilledError

    world.receivers.when_asked = die
    with pytest.raises(KilledError):
        world.deliver()
    world.restart()
    assert world.deliver() == []
    assert world.receivers.events == ["Failed"]


def test_a_run_whose_spec_cannot_be_read_is_told_of_too() -> None:
    made = run(notify=NOTIFY)
    made["spec"]["steps"] = [{"build": {"select": 7}}]
    world = ToldWorld(made, project(), target())
    world.settle()
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "InvalidSpec")
    assert world.deliver() == []
    ((_, message),) = world.receivers.got
    assert (message.reason, message.nodes) == ("InvalidSpec", None)
    assert "spec.steps" in message.summary
    assert world.notified == ("True", "Notified")


def test_whoever_cannot_be_read_among_listeners_is_nobody() -> None:
    made = run()
    made["spec"]["notify"] = [{"channel": 7}]
    world = ToldWorld(made, project(defaults={"notify": NOTIFY}), target())
    world.settle()
    assert world.status["reason"] == "InvalidSpec"
    assert world.deliver() == []
    assert world.receivers.events == ["Failed"]


@pytest.mark.parametrize("namespaces", [None, ()])
def test_a_channel_that_is_taken_away_meanwhile_is_waited_for_by_nobody(
    namespaces: tuple[str, ...] | None,
) -> None:
    world = ToldWorld()
    world.fail()
    assert world.office is not None
    if namespaces is None:
        del world.office.channels[CHANNEL]
    else:
        world.office.channels[CHANNEL] = Channel(CHANNEL, namespaces)
    world.restart()
    assert world.deliver() == []
    assert (world.message["state"], world.receivers.got) == ("Failed", [])
    assert "does not declare the channel any more" in world.message["message"]
    assert world.notified == ("False", "NotSent")


def test_what_is_to_be_told_is_looked_for_though_no_channel_is_left() -> None:
    world = ToldWorld()
    world.fail()
    assert world.office is not None
    world.office.channels.clear()
    world.restart()
    world.settle()  # whatever is pending of an ended run is asked for live
    assert world.deliver() == []
    assert world.message["state"] == "Failed"


def test_a_run_is_not_deleted_before_everybody_has_been_told() -> None:
    world = ToldWorld(run(notify=NOTIFY, ttlAfterFinished="1m"), project(), target())
    world.fail()
    world.now += timedelta(hours=1)
    world.settle()
    assert ("DbtRun", "nightly") in world.cluster.objects
    assert world.deliver() == []
    assert world.receivers.events == ["Failed"]
    world.settle()
    assert ("DbtRun", "nightly") not in world.cluster.objects
