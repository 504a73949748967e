"""Messages about a schedule: what it tells itself, and what it remembers of what its runs told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from dbt_operator.api.kinds.run import DbtRunStatus
from dbt_operator.api.parts.notify import Notify, Series
from dbt_operator.planning.common.conditions import Conditions
from dbt_operator.planning.notifying.deciding import Listeners, decide
from dbt_operator.planning.notifying.telling import describe_end
from tests.support.fake_cluster import Manifest
from tests.support.post_office import CHANNEL, CHANNELS, PostOffice, Receivers
from tests.support.schedule_world import ScheduleWorld

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
NOTIFY = [{"channel": CHANNEL}]
NIGHT = timedelta(days=1)
SOON = timedelta(seconds=3)


class ToldWorld(ScheduleWorld):
    """A schedule whose channel is told."""

    def __init__(self, **spec: Any) -> None:
        self.receivers = Receivers()
        self.office: PostOffice | None = None
        super().__init__(START, **{"notify": NOTIFY} | spec)
        self.look()

    def restart(self) -> None:
        super().restart()
        if self.office is None:
            self.office = PostOffice(self.cluster, self.receivers, lambda: self.now)
        self.office.open(self.reconciler, self.store)

    def go_to_next(self) -> str:
        """To when the next run has begun; its name."""
        before = set(self.runs)
        self.now = datetime.fromisoformat(self.status["nextRunTimes"][0]) + SOON
        self.look()
        (name,) = set(self.runs) - before
        return name

    def end_run(self, phase: str, reason: str = "", marks: str = "") -> str:
        """The next run begins and ends, as its planner would write it; what was to be told."""
        name = self.go_to_next()
        run = self.runs[name]
        status: Manifest = {"phase": phase, "reason": reason} if reason else {"phase": phase}
        if marks:
            status["details"] = {
                "failed": 1,
                "failedMarks": marks,
                "skipped": 0,
                "warned": 0,
                "affectedExposures": 0,
            }
        end = describe_end(run["metadata"]["uid"], DbtRunStatus.model_validate(status))
        series = [Series.model_validate(each) for each in self.status.get("series", ())]
        wanted = [Notify.model_validate(each) for each in run["spec"]["notify"]]
        messages = decide(end, Listeners(wanted, CHANNELS, "analytics"), series, self.now)
        told = [message.to_dict() for message in messages]
        if told:
            status["notifications"] = told
        conditions = Conditions(run["metadata"]["generation"], self.now)
        conditions.ready("Ended")
        status["conditions"] = [each.to_dict() for each in conditions.list()]
        status["observedGeneration"] = run["metadata"]["generation"]
        self.finish_runs(**status)
        self.look()
        return " ".join(f"{message.event} {message.state}" for message in messages)

    def deliver(self) -> list[str]:
        assert self.office is not None
        self.office.deliver(self.key)
        return self.receivers.events


def test_runs_are_told_whom_the_schedule_names() -> None:
    world = ToldWorld(run={"notify": [{"channel": "others"}]})
    name = world.go_to_next()
    assert world.runs[name]["spec"]["notify"] == NOTIFY
    world = ToldWorld(notify=None, run={"notify": [{"channel": "others"}]})
    name = world.go_to_next()
    assert world.runs[name]["spec"]["notify"] == [{"channel": "others"}]


def test_a_series_opens_goes_on_and_ends() -> None:
    world = ToldWorld(schedules=["0 * * * *"])
    told = [
        world.end_run("Succeeded"),
        world.end_run("Failed", "ModelError", "aaaaaaaa"),
        world.end_run("Failed", "ModelError", "aaaaaaaa"),
        world.end_run("Cancelled", "Cancelled"),
        world.end_run("Failed", "ModelError", "aaaaaaaabbbbbbbb"),
        world.end_run("Skipped", "NotFresh"),
        world.end_run("Succeeded"),
        world.end_run("Succeeded"),
    ]
    assert told == [
        "",
        "Failed Pending",
        "Failed Silent",
        "",
        "Failed Pending",
        "",
        "Recovered Pending",
        "",
    ]


def test_a_failure_that_goes_on_is_told_once_a_day() -> None:
    world = ToldWorld()
    told = [world.end_run("Failed", "ModelError", "aaaaaaaa") for _ in range(3)]
    assert told == ["Failed Pending"] * 3
    world = ToldWorld(schedules=["0 */6 * * *"])
    told = [world.end_run("Failed", "ModelError", "aaaaaaaa") for _ in range(6)]
    assert told == ["Failed Pending", *["Failed Silent"] * 3, "Failed Pending", "Failed Silent"]


def test_what_is_not_known_to_be_told_yet_keeps_a_run() -> None:
    world = ToldWorld(history={"failed": 0})
    world.end_run("Failed", "ModelError")
    world.end_run("Failed", "ModelError")
    assert len(world.runs) == 2
    for run in world.runs.values():
        for message in run["status"].get("notifications", ()):
            message["state"] = "Sent"
        world._touch(run)
    world.look()
    assert len(world.runs) == 1


def test_what_is_late_is_told_once() -> None:
    world = ToldWorld(finishWithin="1h")
    world.go_to_next()
    assert "notifications" not in world.status
    world.now += timedelta(hours=1)
    world.look()
    assert world.deliver() == ["Late"]
    assert world.condition("Notified")["status"] == "True"
    world.restart()
    world.now += NIGHT
    world.look()
    assert world.deliver() == ["Late"]
    ((_, message),) = world.receivers.got
    assert (message.about.occurrence, message.times.since) == (
        "2026-03-03T03:00:00Z",
        "2026-03-03T04:00:00Z",
    )


def test_what_was_missed_is_told_once_however_many_follow() -> None:
    world = ToldWorld(startingDeadline="10m", catchUp="All")
    for _ in range(3):
        world.now += NIGHT
        world.look()
    assert {past["phase"] for past in world.status["history"]} == {"Missed"}
    assert world.deliver() == ["Missed"]


def test_a_run_that_was_deleted_is_told_of_by_its_schedule() -> None:
    world = ToldWorld()
    name = world.go_to_next()
    world.look()
    del world.cluster.objects["DbtRun", name]
    world.look()
    assert world.deliver() == ["Failed"]
    ((_, message),) = world.receivers.got
    assert "was deleted before its end was seen" in message.summary
    assert message.reason == "Unknown"


def test_recovery_waits_for_the_failure_and_follows_none_that_nobody_heard_of() -> None:
    for state, expected in (("Sent", ["Recovered"]), ("Failed", []), ("Pending", [])):
        world = ToldWorld()
        world.end_run("Failed", "ModelError")
        (failed,) = world.runs
        told = world.runs[failed]["status"]["notifications"][0]
        world.end_run("Succeeded")
        told["state"] = state
        (green,) = set(world.runs) - {failed}
        key = type(world.key)("DbtRun", "analytics", green)
        assert world.office is not None
        waits = world.office.deliver(key)
        assert world.receivers.events == expected
        assert waits == ([5.0] if state == "Pending" else [])
        (message,) = world.runs[green]["status"]["notifications"]
        assert message["state"] == {"Failed": "Silent"}.get(state, state)


def test_a_test_message_goes_to_every_channel_once_for_each_value() -> None:
    world = ToldWorld(notify=[{"channel": CHANNEL, "events": ["Late"]}, {"channel": "others"}])
    world.annotate(**{"dbt-operator.dev/test-message": "1"})
    world.look()
    assert world.deliver() == ["Test"]
    states = {each["channel"]: each["state"] for each in world.status["notifications"]}
    assert states == {CHANNEL: "Sent", "others": "Failed"}
    world.restart()
    world.look()
    assert world.deliver() == ["Test"]
    world.annotate(**{"dbt-operator.dev/test-message": "2"})
    world.look()
    assert world.deliver() == ["Test", "Test"]
    assert len({message.key for _, message in world.receivers.got}) == 2
