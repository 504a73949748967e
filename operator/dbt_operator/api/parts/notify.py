"""Who is told of what, and what became of that."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from dbt_operator.api.base import Model, ShortName, rules
from dbt_operator.api.status import Reason
from dbt_operator.api.texts import Known, Moment, Note
from dbt_protocol.digests import MARK, MARKS

CHANNELS = 10  # of one object
REMEMBERED = 3  # failures of a series that are remembered, of each channel
NOTIFICATIONS = 20  # of a schedule

EventName = Literal["Failed", "Recovered", "Warned", "Late", "Missed", "Succeeded"]
Told = Literal["Failed", "Recovered", "Warned", "Late", "Missed", "Succeeded", "Test"]


class Notify(Model):
    """A channel, and what is told there."""

    channel: ShortName
    """A channel that the chart's values declare in notifications.channels, and that lists this
    namespace."""
    events: Annotated[list[EventName], Field(min_length=1, max_length=6)] | None = None
    """What is told. Failed: the run failed, in its last attempt. Recovered: the first success of a
    schedule after a failure that was told. Warned: it succeeded with warnings. Succeeded: it
    succeeded. Late and Missed, of a schedule: finishWithin or finishAt is over without a success;
    nobody was there to begin a run in time. Default: Failed, Recovered, Late and Missed."""


Notifies = Annotated[
    list[Notify],
    Field(
        max_length=CHANNELS,
        json_schema_extra=rules(
            (
                "self.all(n, self.exists_one(m, m.channel == n.channel))",
                "names a channel twice: put its events into one entry",
            )
        ),
    ),
]


class Notification(Model):
    """A message to a channel. It is written down here before it is sent for the first time."""

    channel: Known
    """The channel."""
    event: Told
    """What it tells; Test: nothing, but that the channel works."""
    key: Known
    """What each copy of it carries: should an operator be killed between the receiver's answer and
    this record, there may be a second one."""
    state: Literal["Pending", "Sent", "Failed", "Silent"]
    """Pending: it is being sent, or will be tried again. Sent: the receiver has taken it. Failed:
    it was given up. Silent: it is not to be sent, as message says."""
    since: Moment
    """When it was decided on."""
    tries: int | None = None
    """How often it could not be sent."""
    sent_at: Moment | None = None
    """When the receiver took it."""
    message: Note | None = None
    """Why it is not sent, or was not sent the last time."""
    after: Known | None = None
    """The run whose message has to be sent before this one, and without which this is not sent."""
    group: Known | None = None
    """The key of the one message that tells of this and of other runs, where many failed at once.
    """
    occurrence: Moment | None = None
    """The occurrence that it is about, of a schedule."""


Notifications = Annotated[list[Notification], Field(max_length=CHANNELS)]


class ToldFailure(Model):
    """A failure that was told, and is not told again for a while."""

    reason: Reason
    """Why the run failed."""
    marks: Annotated[str, StringConstraints(max_length=MARK * MARKS)] | None = None
    """The run's status.details.failedMarks."""
    at: Moment
    """When it was last told."""


class Series(Model):
    """Failures that follow on each other, of which a channel was told, and that no success has
    ended.
    """

    channel: Known
    """The channel."""
    run: Known
    """The run that was told of last."""
    since: Moment
    """When the first run of the series ended."""
    told: Annotated[list[ToldFailure], Field(max_length=REMEMBERED)]
    """What was told, the last first."""
