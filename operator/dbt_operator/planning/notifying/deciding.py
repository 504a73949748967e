"""Who is told of the end of a run or a backfill.

It is decided in the write that ends it, so no end is forgotten, and none is told twice. A failure
of a schedule that goes on is told once in a while; one of other nodes, or for another reason, at
once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from dbt_operator.api.parts.notify import (
    REMEMBERED,
    EventName,
    Notification,
    Notify,
    Series,
    ToldFailure,
)
from dbt_operator.api.status import ConditionType, Reason
from dbt_operator.common.channels import Channel
from dbt_operator.planning.common.conditions import Conditions
from dbt_operator.planning.common.durations import duration, format_time, parse_time
from dbt_protocol.digests import MARK

DEFAULT_EVENTS: tuple[EventName, ...] = ("Failed", "Recovered", "Late", "Missed")
_KEY = 32  # characters


@dataclass(frozen=True)
class End:
    """How a run or a backfill has ended, as far as it matters who is told."""

    uid: str
    failed: bool
    succeeded: bool
    reason: Reason | None = None
    marks: str = ""  # of the nodes that failed; empty where they are not known
    warned: bool = False


@dataclass(frozen=True)
class Listeners:
    """Who wants to be told, and who may be."""

    wanted: Sequence[Notify] = ()
    channels: Mapping[str, Channel] = field(default_factory=dict)
    namespace: str = ""

    def refuse(self, name: str) -> str:
        """Why nothing may be sent on a channel; empty if it may."""
        channel = self.channels.get(name)
        if channel is None:
            known = ", ".join(sorted(self.channels)) or "none"
            return (
                f"there is no channel {name}: the chart's values declare them in"
                f" notifications.channels ({known})"
            )
        if not channel.admits(self.namespace):
            return (
                f"channel {name} is not for namespace {self.namespace}: add it to"
                f" notifications.channels.{name}.namespaces of the chart's values"
            )
        return ""


def decide(
    end: End, listeners: Listeners, series: Sequence[Series], now: datetime
) -> list[Notification]:
    """The messages about an end, each with what becomes of it.

    Args:
        end: how it ended.
        listeners: who wants to be told, and may be.
        series: the failures before, of the schedule that it is of.
        now: the time.
    """
    before = {each.channel: each for each in series}
    found: list[Notification] = []
    for notify in listeners.wanted:
        of_channel = before.get(notify.channel)
        event = _find_event(end, notify.events or DEFAULT_EVENTS, of_channel)
        if event is None:
            continue
        message = Notification(
            channel=notify.channel,
            event=event,
            key=make_key(end.uid, notify.channel, event),
            state="Pending",
            since=format_time(now),
            after=of_channel.run if of_channel and event == "Recovered" else None,
        )
        channel = listeners.channels.get(notify.channel)
        if refusal := listeners.refuse(notify.channel):
            message = message.model_copy(update={"state": "Failed", "message": refusal})
        elif channel and event == "Failed" and of_channel:
            message = _keep_silent(message, end, of_channel, channel, now)
        found.append(message)
    return found


def _find_event(end: End, events: Sequence[EventName], series: Series | None) -> EventName | None:
    """What is told of an end; there is one message at most."""
    if end.failed:
        return "Failed" if "Failed" in events else None
    if not end.succeeded:
        return None
    if series is not None and "Recovered" in events:
        return "Recovered"
    if end.warned and "Warned" in events:
        return "Warned"
    return "Succeeded" if "Succeeded" in events else None


def _keep_silent(
    message: Notification, end: End, series: Series, channel: Channel, now: datetime
) -> Notification:
    """A message about a failure, which is not sent where the same was told a while ago."""
    for told in series.told:
        again = parse_time(told.at) + timedelta(seconds=channel.repeat)
        if told.reason == end.reason and now < again and not _has_new(end.marks, told.marks or ""):
            why = (
                f"the same failure was told at {told.at}; if it goes on, it is told again after"
                f" {duration(channel.repeat)}"
            )
            return message.model_copy(update={"state": "Silent", "message": why})
    return message


def _has_new(marks: str, told: str) -> bool:
    """Whether a node failed that had not failed before; what is not known is nothing new."""
    return not _split(marks) <= _split(told) if marks else False


def _split(marks: str) -> set[str]:
    return {marks[place : place + MARK] for place in range(0, len(marks), MARK)}


def make_key(uid: str, channel: str, event: str, occurrence: str = "") -> str:
    """What is the same in each copy of a message, and in no other message."""
    text = f"{uid}/{channel}/{event}/{occurrence}"
    return sha256(text.encode()).hexdigest()[:_KEY]


def follow_series(
    series: Sequence[Series], run: str, end: End, notifications: Iterable[Notification]
) -> list[Series]:
    """The failures that channels know of, after the end of another run of a schedule."""
    if end.succeeded:
        return []
    found = {each.channel: each for each in series}
    for message in notifications:
        if message.event != "Failed" or message.state not in ("Pending", "Sent"):
            continue
        before = found.get(message.channel)
        others = [each for each in (before.told if before else ()) if each.reason != end.reason]
        told = ToldFailure(
            reason=end.reason or Reason.UNKNOWN, marks=end.marks or None, at=message.since
        )
        found[message.channel] = Series(
            channel=message.channel,
            run=run,
            since=before.since if before else message.since,
            told=[told, *others][:REMEMBERED],
        )
    return list(found.values())


def set_notified(conditions: Conditions, notifications: Sequence[Notification]) -> None:
    """Say whether whoever is to be told has been told."""
    if not notifications:
        conditions.remove(ConditionType.NOTIFIED)
        return
    failed = [each for each in notifications if each.state == "Failed"]
    pending = [each for each in notifications if each.state == "Pending"]
    if failed:
        conditions.set(ConditionType.NOTIFIED, "False", "NotSent", _say(failed))
    elif any(each.tries for each in pending):
        conditions.set(ConditionType.NOTIFIED, "False", "Retrying", _say(pending))
    elif pending:
        channels = ", ".join(each.channel for each in pending)
        conditions.set(ConditionType.NOTIFIED, "Unknown", "Pending", f"to be sent: {channels}")
    else:
        conditions.set(ConditionType.NOTIFIED, "True", "Notified", _say(notifications))


def _say(notifications: Sequence[Notification]) -> str:
    return "; ".join(
        f"{each.event} to {each.channel}: {each.message or each.state.lower()}"
        for each in notifications
    )
