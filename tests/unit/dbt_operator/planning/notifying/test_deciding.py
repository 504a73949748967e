"""Who is told of an end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from dbt_operator.api.parts.notify import EventName, Notification, Notify, Series
from dbt_operator.api.status import Reason
from dbt_operator.common.channels import Channel
from dbt_operator.planning.notifying.deciding import End, Listeners, decide, follow_series
from dbt_operator.planning.notifying.reason_words import MEANINGS
from tests.support.builders import NOW, stamp

CHANNELS = {"team": Channel("team", ("analytics",)), "closed": Channel("closed")}
FAILED = End("uid-1", failed=True, succeeded=False, reason=Reason.MODEL_ERROR, marks="aaaaaaaa")
GREEN = End("uid-2", failed=False, succeeded=True)
HOUR = timedelta(hours=1)


def listeners(*events: EventName, channel: str = "team") -> Listeners:
    wanted = [Notify(channel=channel, events=list(events) or None)]
    return Listeners(wanted, CHANNELS, "analytics")


def told(end: End, *events: EventName, series: Sequence[Series] = ()) -> list[str]:
    return [each.event for each in decide(end, listeners(*events), series, NOW)]


def after(end: End, series: Sequence[Series] = (), hours: int = 0) -> list[Series]:
    """The failures that are known of after an end."""
    messages = decide(end, listeners(), series, NOW + hours * HOUR)
    return follow_series(series, f"run-of-{end.uid}", end, messages)


def state(end: End, series: Sequence[Series], hours: int = 1) -> Notification:
    (message,) = decide(end, listeners(), series, NOW + hours * HOUR)
    return message


@pytest.mark.parametrize(
    ("end", "events", "expected"),
    [
        (FAILED, (), ["Failed"]),
        (FAILED, ("Recovered",), []),
        (GREEN, (), []),
        (GREEN, ("Succeeded",), ["Succeeded"]),
        (replace(GREEN, warned=True), ("Succeeded", "Warned"), ["Warned"]),
        (replace(GREEN, warned=True), ("Succeeded",), ["Succeeded"]),
        (replace(GREEN, succeeded=False), ("Succeeded", "Failed"), []),
    ],
)
def test_a_run_without_a_schedule_sends_one_message_at_most(
    end: End, events: tuple[EventName, ...], expected: list[str]
) -> None:
    assert told(end, *events) == expected


def test_recovery_is_told_once_and_only_after_a_failure_that_was_told() -> None:
    series = after(FAILED)
    assert told(GREEN, series=series) == ["Recovered"]
    assert state(GREEN, series).after == "run-of-uid-1"
    assert told(GREEN, "Succeeded", series=series) == ["Succeeded"]
    assert after(GREEN, series) == []
    assert told(GREEN, series=after(GREEN, series)) == []


def test_what_was_cancelled_or_skipped_neither_opens_nor_closes_a_series() -> None:
    cancelled = replace(FAILED, failed=False, reason=Reason.CANCELLED)
    assert after(cancelled) == []
    series = after(FAILED)
    assert after(cancelled, series) == series


@pytest.mark.parametrize(
    ("change", "hours", "expected"),
    [
        ({}, 1, "Silent"),
        ({}, 23, "Silent"),
        ({}, 24, "Pending"),
        ({"marks": "bbbbbbbb"}, 1, "Pending"),
        ({"marks": "aaaaaaaabbbbbbbb"}, 1, "Pending"),
        ({"marks": ""}, 1, "Silent"),
        ({"reason": Reason.OOM_KILLED}, 1, "Pending"),
    ],
)
def test_the_same_failure_is_told_once_a_day_and_another_at_once(
    change: dict[str, str], hours: int, expected: str
) -> None:
    series = after(FAILED)
    again = replace(FAILED, uid="uid-3", **change)  # type: ignore[arg-type]
    assert state(again, series, hours).state == expected


def test_fewer_nodes_are_nothing_new() -> None:
    series = after(replace(FAILED, marks="aaaaaaaabbbbbbbb"))
    assert state(FAILED, series).state == "Silent"


def test_failures_that_take_turns_are_each_told_once_a_day() -> None:
    other = replace(FAILED, uid="uid-3", reason=Reason.UNAVAILABLE, marks="")
    series = after(other, after(FAILED), hours=1)
    assert [state(end, series, hours=2).state for end in (FAILED, other)] == ["Silent", "Silent"]
    assert [each.reason for each in series[0].told] == ["Unavailable", "ModelError"]


def test_a_series_goes_on_from_its_first_failure_and_remembers_a_few() -> None:
    series: list[Series] = []
    for hours, reason in enumerate(
        [Reason.MODEL_ERROR, Reason.TIMEOUT, Reason.OOM_KILLED, Reason.UNAVAILABLE]
    ):
        series = after(replace(FAILED, uid=f"uid-{hours}", reason=reason), series, hours)
    (found,) = series
    assert (found.since, found.run) == (stamp(), "run-of-uid-3")
    assert [each.reason for each in found.told] == ["Unavailable", "OOMKilled", "Timeout"]


@pytest.mark.parametrize(
    ("channel", "remedy"),
    [
        ("nobody", "notifications.channels (closed, team)"),
        ("closed", "notifications.channels.closed.namespaces"),
    ],
)
def test_a_channel_that_may_not_be_used_is_said_and_nothing_follows(
    channel: str, remedy: str
) -> None:
    (message,) = decide(FAILED, listeners(channel=channel), (), NOW)
    assert message.state == "Failed"
    assert remedy in (message.message or "")
    assert follow_series((), "run", FAILED, [message]) == []


def test_keys_differ_by_run_channel_and_event() -> None:
    ends = [FAILED, replace(FAILED, uid="uid-9"), replace(FAILED, failed=False, succeeded=True)]
    keys = {
        each.key
        for end in ends
        for channel in ("team", "closed")
        for each in decide(end, listeners("Failed", "Succeeded", channel=channel), (), NOW)
    }
    assert len(keys) == 6


def test_every_reason_has_its_words() -> None:
    assert set(MEANINGS) == set(Reason)
