"""Sends messages, and counts what became of each try."""

from __future__ import annotations

from collections.abc import Callable

from dbt_notifier.messages import Answer, Message, Outcome
from dbt_operator.reconcile.notifier import Sender


class CountedSender:
    """A sender that is watched."""

    def __init__(self, sender: Sender, count: Callable[[str, Outcome], None]) -> None:
        self._sender = sender
        self._count = count

    def send(self, channel: str, message: Message) -> Answer:
        """Send a message on a channel."""
        answer = self._sender.send(channel, message)
        self._count(channel, answer.outcome)
        return answer
