"""What follows on a try to send a message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from dbt_notifier.messages import Answer, Outcome
from dbt_operator.api.parts.notify import Notification
from dbt_operator.api.status import Condition
from dbt_operator.planning.common.conditions import Conditions
from dbt_operator.planning.common.durations import format_time
from dbt_operator.planning.notifying.deciding import set_notified

Manifest = Mapping[str, Any]

_FIRST_WAIT, _LONGEST_WAIT = 5.0, 600.0  # seconds
# Where somebody has to do something, and each try may count against an account.
_WAIT_FOR_PEOPLE = 1800.0
# After that nobody needs the news any more.
_GIVEN_UP_AFTER = timedelta(hours=24)

_NOTIFICATIONS = TypeAdapter(list[Notification])
_CONDITIONS = TypeAdapter(list[Condition])


def find_wait(answer: Answer, tries: int, since: datetime, now: datetime) -> float | None:
    """The seconds after which a message is tried again; None where it is not.

    Args:
        answer: to the last try.
        tries: how many there were.
        since: when the message was decided on.
        now: the time.
    """
    if answer.outcome in (Outcome.SENT, Outcome.REFUSED):
        return None
    if answer.outcome is Outcome.MISCONFIGURED:
        wait = _WAIT_FOR_PEOPLE
    else:
        wait = min(_FIRST_WAIT * 2.0 ** min(tries - 1, 16), _LONGEST_WAIT)
    wait = max(wait, answer.retry_after or 0.0)
    return wait if now + timedelta(seconds=wait) < since + _GIVEN_UP_AFTER else None


def record_try(
    message: Notification, answer: Answer, tries: int, now: datetime, *, ended: bool
) -> Notification:
    """A message after a try to send it.

    Args:
        message: as it stood.
        answer: to the last try.
        tries: how many there were.
        now: the time.
        ended: whether there will be no other.
    """
    if answer.outcome is Outcome.SENT:
        return _change(message, state="Sent", sent_at=format_time(now), message=answer.text or None)
    state = "Failed" if ended else "Pending"
    return _change(message, state=state, tries=tries, message=answer.text)


def give_up(message: Notification, why: str) -> Notification:
    """A message that cannot be sent any more."""
    return _change(message, state="Failed", message=why)


def keep_silent(message: Notification, why: str) -> Notification:
    """A message that is not to be sent after all."""
    return _change(message, state="Silent", message=why)


def replace_notification(
    manifest: Manifest, message: Notification, now: datetime
) -> dict[str, Any]:
    """What is written where a message has changed, to be merged over the status."""
    status = manifest.get("status") or {}
    messages = [
        message if each.key == message.key else each
        for each in _NOTIFICATIONS.validate_python(status.get("notifications") or [])
    ]
    known = _CONDITIONS.validate_python(status.get("conditions") or [])
    conditions = Conditions.of(known, manifest["metadata"]["generation"], now)
    set_notified(conditions, messages)
    return {
        "notifications": [each.to_dict() for each in messages],
        "conditions": [each.to_dict() for each in conditions.list()],
    }


def add_notifications(
    patch: Mapping[str, Any], generation: int, messages: Sequence[Notification], now: datetime
) -> dict[str, Any]:
    """What is written of an end, with whom that is told."""
    known = _CONDITIONS.validate_python(patch["conditions"])
    conditions = Conditions.of(known, generation, now)
    set_notified(conditions, messages)
    return {
        **patch,
        "notifications": [each.to_dict() for each in messages],
        "conditions": [each.to_dict() for each in conditions.list()],
    }


def _change(old: Notification, **fields: object) -> Notification:
    return Notification.model_validate(old.model_copy(update=fields).to_dict())
