"""Channels of the tests' own, whose receivers keep what they get and answer as they are told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from dbt_notifier.messages import Answer, Message, Outcome
from dbt_operator.cluster.store import Store
from dbt_operator.common.channels import Channel
from dbt_operator.common.keys import Key
from dbt_operator.common.pulse import Pulse
from dbt_operator.reconcile.delivering import Carrier, Deliveries, Post
from dbt_operator.reconcile.letters import read_notifications
from dbt_operator.reconcile.loop import Reconciler
from tests.support.fake_cluster import FakeCluster

CHANNEL = "data-team"
CHANNELS = {
    CHANNEL: Channel(CHANNEL, ("analytics",)),
    "others": Channel("others", ("elsewhere",)),
}
SENT = Answer(Outcome.SENT)


class Receivers:
    """What stands behind the channels."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Message]] = []
        self.answers: list[Answer] = []  # the next ones; after them everything is taken
        self.when_asked: Callable[[], None] = lambda: None

    def send(self, channel: str, message: Message) -> Answer:
        self.when_asked()
        answer = self.answers.pop(0) if self.answers else SENT
        if answer.outcome is Outcome.SENT:
            self.got.append((channel, message))
        return answer

    @property
    def events(self) -> list[str]:
        return [str(message.event) for _, message in self.got]


class PostOffice:
    """Delivers what statuses hold, one message after another, when it is asked to."""

    def __init__(
        self, cluster: FakeCluster, receivers: Receivers, clock: Callable[[], datetime]
    ) -> None:
        self._cluster = cluster
        self._receivers = receivers
        self._clock = clock
        self.leads = True
        self.channels = dict(CHANNELS)

    def open(self, reconciler: Reconciler, store: Store) -> None:
        """Have a new operator tell of what happens."""
        post = Post(
            self._cluster,  # type: ignore[arg-type]
            store,
            self._receivers,
            lambda: self.leads,
            self._clock,
        )
        pulse = Pulse("a channel", 1.0, lambda: 0.0)
        reconciler.tell_by(Deliveries(post, self.channels, lambda _, __: pulse))
        self._carriers = {
            name: Carrier(post, name, pulse, channel) for name, channel in self.channels.items()
        }
        self._lost = Carrier(post, "", pulse)

    def deliver(self, key: Key) -> list[float]:
        """Try everything once that is to be sent about an object; the waits in seconds before what
        is left is to be tried again.
        """
        manifest = self._cluster.get(key.kind, key.namespace, key.name)
        waits = [
            self._carriers.get(message.channel, self._lost).deliver((key, message.key))
            for message in read_notifications(manifest)
            if message.state == "Pending"
        ]
        return [wait for wait in waits if wait is not None]
