"""Has messages sent, one channel beside another, and writes down what became of each.

A message stands in the status of its object before it is sent for the first time, and what became
of it after. So whatever an operator has not brought to its end the next one finds there; a second
copy goes out only where an operator is killed between the receiver's answer and that record, and it
has the key of the first. A channel that hangs, or refuses, delays nobody on another one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from dbt_notifier.messages import Answer, Message
from dbt_operator.api.parts.notify import Notification
from dbt_operator.cluster import live
from dbt_operator.cluster.client import Cluster
from dbt_operator.cluster.errors import ClusterError, ConflictError, NotFoundError
from dbt_operator.cluster.projection import PROJECTED, is_notifying
from dbt_operator.cluster.store import Store
from dbt_operator.common.channels import Channel
from dbt_operator.common.keys import Key
from dbt_operator.common.pulse import Pulse
from dbt_operator.common.workqueue import WorkQueue
from dbt_operator.planning.common.durations import parse_time
from dbt_operator.planning.common.reading import UnreadableError
from dbt_operator.planning.notifying.outcomes import (
    find_wait,
    give_up,
    keep_silent,
    record_try,
    replace_notification,
)
from dbt_operator.reconcile.bursts import Bursts, Letter, is_shared
from dbt_operator.reconcile.kinds import ROWS
from dbt_operator.reconcile.letters import read_notifications, write_bare
from dbt_operator.reconcile.notifier import Sender

log = structlog.get_logger()

Manifest = Mapping[str, Any]

_WRITES = 5  # tries to write down what became of a message, before it is tried later
_NOT_DECLARED = (
    "notifications.channels of the chart's values does not declare the channel any more, or not for"
    " this namespace"
)
_NAMED = 20  # objects that a message about many names
_ALL_HEARD = timedelta(hours=1)  # this operator knows all messages that are to become one
_WAIT_FOR_SPEAKER = 30.0  # seconds; the one that speaks for all is on its way
_WAIT_FOR_OTHER = 5.0  # seconds; a message that has to be sent before is on its way
_SLOWEST = 600.0  # seconds that a thread may be at one message


@dataclass(frozen=True)
class Post:
    """What it takes to deliver."""

    cluster: Cluster
    store: Store
    sender: Sender
    leads: Callable[[], bool]
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


class Deliveries:
    """A thread for each channel. :meth:`look` may be called by any thread."""

    def __init__(
        self,
        post: Post,
        channels: Mapping[str, Channel],
        pulse: Callable[[str, float], Pulse],
    ) -> None:
        self.channels = channels
        self._post = post
        self._carriers = {
            name: Carrier(post, name, pulse(f"channel {name}", _SLOWEST), channel)
            for name, channel in channels.items()
        }
        # Of channels that were declared once: nothing must wait for them for ever.
        self._lost = Carrier(post, "", pulse("lost channels", _SLOWEST))

    def start(self) -> None:
        """Begin to deliver."""
        for carrier in self._list_carriers():
            carrier.thread.start()

    def stop(self, seconds: float) -> bool:
        """Begin to send no more, and wait for what is being sent. Whether that has ended in
        time.
        """
        for carrier in self._list_carriers():
            carrier.close()
        deadline = time.monotonic() + seconds
        threads = [carrier.thread for carrier in self._list_carriers()]
        for thread in threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def look(self, key: Key, manifest: Manifest) -> None:
        """See what is to be sent about an object as it stands now. Of one that has ended little may
        be kept: all of it is asked for.

        Raises:
            ClusterError: the API server refused or did not answer.
        """
        if not is_notifying(manifest):
            return
        if manifest.get(PROJECTED):
            post = self._post
            whole = live.get(post.cluster, post.store, key.kind, key.namespace, key.name)
            if whole is None:
                return
            manifest = whole
        for message in read_notifications(manifest):
            if message.state == "Pending":
                carrier = self._carriers.get(message.channel, self._lost)
                carrier.offer((key, message.key))

    def _list_carriers(self) -> list[Carrier]:
        return [*self._carriers.values(), self._lost]


class Carrier:
    """Delivers on one channel, one message after another."""

    def __init__(
        self, post: Post, channel: str, pulse: Pulse, declared: Channel | None = None
    ) -> None:
        """``declared`` is what the chart says of the channel; None where it says nothing."""
        self.thread = threading.Thread(target=self._run, name=f"channel-{channel}", daemon=True)
        self._post = post
        self._channel = channel
        self._pulse = pulse
        self._declared = declared
        self._queue: WorkQueue[Letter] = WorkQueue()
        self._lock = threading.Lock()
        self._known: set[Letter] = set()  # whatever is in the queue, waits there or is being sent
        # What the receiver has answered and is not written down yet: it is not asked again.
        self._answers: dict[str, Answer] = {}
        self._tries: dict[str, int] = {}
        self._bursts = Bursts()
        self._held_until: datetime | None = None  # the receiver has asked to be left alone

    def offer(self, letter: Letter) -> None:
        """Have a message delivered, unless that is under way: then it waits its time."""
        with self._lock:
            if letter in self._known:
                return
            self._known.add(letter)
        self._queue.add(letter)

    def close(self) -> None:
        """Begin with no other message."""
        self._queue.close()

    def _run(self) -> None:
        """Deliver until the queue is closed, or another operator leads."""
        while (letter := self._queue.get()) is not None:
            if not self._post.leads():
                return
            key, _ = letter
            self._pulse.beat(f"a message about {key.kind} {key.namespace}/{key.name}")
            self._deliver_once(letter)
            self._pulse.rest()

    def _deliver_once(self, letter: Letter) -> None:
        key, _ = letter
        try:
            wait = self.deliver(letter)
            self._queue.forget(letter)
            if wait is not None:
                self._queue.add_after(letter, wait)
            else:
                with self._lock:
                    self._known.discard(letter)
        except ClusterError as error:
            wait = self._queue.retry(letter)
            log.warning("will be delivered later", **vars(key), seconds=wait, error=str(error))
        except Exception:
            # One message must not stop the others, whatever is wrong with it.
            wait = self._queue.retry(letter)
            log.exception("will be delivered later", **vars(key), seconds=wait)
        finally:
            self._queue.done(letter)

    def deliver(self, letter: Letter) -> float | None:
        """Send a message, unless that has been done; the seconds after which it is to be tried
        again, or None.

        Raises:
            ClusterError: the API server refused or did not answer.
        """
        key, message_key = letter
        manifest = self._get(key)
        notification = _find(manifest, message_key) if manifest else None
        if manifest is None or notification is None:
            self._forget(letter)
            return None
        if self._declared is None or not self._declared.admits(key.namespace):
            self._write(letter, lambda found: give_up(found, _NOT_DECLARED))
            self._forget(letter)
            return None
        now = self._post.clock()
        if message_key not in self._answers:
            if self._held_until and now < self._held_until:
                return (self._held_until - now).total_seconds()
            obstacle = self._find_obstacle(key, notification)
            if isinstance(obstacle, float):
                return obstacle
            if obstacle is not None:
                why = obstacle
                self._write(letter, lambda found: keep_silent(found, why))
                return None
        if is_shared(manifest, notification):
            return self._deliver_shared(letter, notification)
        if message_key not in self._answers:
            answer = self._send(letter, self._compose(key, manifest, notification))
            if answer is None:
                return None
        return self._record(letter, notification, self._answers[message_key])

    def _compose(self, key: Key, manifest: Manifest, notification: Notification) -> Message | None:
        write = ROWS[key.kind].write_message
        try:
            return write(self._post.store, manifest, notification) if write else None
        except UnreadableError:
            return write_bare(manifest, notification)

    def _send(self, letter: Letter, message: Message | None) -> Answer | None:
        """Try once, and keep the answer; None where that is not up to this operator."""
        if message is None or not self._post.leads():
            return None
        key, message_key = letter
        answer = self._post.sender.send(self._channel, message)
        self._answers[message_key] = answer
        self._say(key, message, answer)
        if answer.retry_after is not None:
            self._held_until = self._post.clock() + timedelta(seconds=answer.retry_after)
        return answer

    def _deliver_shared(self, letter: Letter, notification: Notification) -> float | None:
        """A message about what may have struck many runs: alone, or as one for all of them."""
        now = self._post.clock()
        self._bursts.hear(letter, notification, now)
        if (wait := self._bursts.find_wait(letter, now)) > 0:
            return wait
        group = notification.group
        if group is None:
            others = self._bursts.find_others(letter)
            group = letter[1] if others else None
            for member in (letter, *others) if others else ():
                self._join(member, letter[1], now)
        if group is None:
            members = [letter]
        else:
            members = self._bursts.list_group(group)
            if members[0] != letter:
                return _WAIT_FOR_SPEAKER
        return self._deliver_for(members, group)

    def _join(self, letter: Letter, group: str, now: datetime) -> None:
        """Write down that a message has become one with others."""
        self._write(letter, lambda found: found.model_copy(update={"group": group}))
        manifest = self._get(letter[0])
        joined = _find(manifest, letter[1]) if manifest else None
        if joined is None:
            self._bursts.forget(letter)
        else:
            self._bursts.hear(letter, joined, now - _ALL_HEARD)

    def _deliver_for(self, members: list[Letter], group: str | None) -> float | None:
        """Send one message for all of them, and write down what became of it: of the one that
        speaks for them last, so that whoever goes on after a kill knows what to do.
        """
        first = members[0]
        found = []
        for member in members:
            manifest = self._get(member[0])
            notification = _find(manifest, member[1]) if manifest else None
            if manifest is None or notification is None:
                self._bursts.forget(member)
            elif message := self._compose(member[0], manifest, notification):
                found.append((member, notification, message))
        if not found or found[0][0] != first:
            return _WAIT_FOR_SPEAKER
        message = found[0][2]
        if group is not None:
            others = tuple(each.about for _, _, each in found[1:])
            message = replace(
                message,
                key=group,
                series=f"{group}/{self._channel}",
                others=others[:_NAMED],
                other_count=len(others),
            )
        answer = self._answers.get(first[1]) or self._send(first, message)
        if answer is None:
            return None
        wait = None
        for member, notification, _ in reversed(found):
            wait = self._record(member, notification, answer)
            if wait is None:
                self._bursts.forget(member)
        return wait

    def _say(self, key: Key, message: Message, answer: Answer) -> None:
        log.info(
            "message",
            **vars(key),
            channel=self._channel,
            about=str(message.event),
            key=message.key,
            outcome=str(answer.outcome),
            answer=answer.text,
        )

    def _find_obstacle(self, key: Key, notification: Notification) -> str | float | None:
        """Why a message is not sent, or the seconds after which that will be known. That something
        goes well again is told only where it was told that it did not.
        """
        if notification.after is None:
            return None
        try:
            before = self._post.cluster.get(key.kind, key.namespace, notification.after)
        except NotFoundError:
            return None
        states = {
            each.state
            for each in read_notifications(before)
            if each.channel == self._channel and each.event == "Failed"
        }
        if "Pending" in states:
            return _WAIT_FOR_OTHER
        if states and "Sent" not in states:
            return "nobody was told of the failure before"
        return None

    def _record(self, letter: Letter, notification: Notification, answer: Answer) -> float | None:
        """Write down what became of a message; the seconds after which it is tried again."""
        message_key = letter[1]
        tries = self._tries.get(message_key, notification.tries or 0) + 1
        now = self._post.clock()
        wait = find_wait(answer, tries, parse_time(notification.since), now)
        ended = wait is None
        self._write(letter, lambda found: record_try(found, answer, tries, now, ended=ended))
        self._answers.pop(message_key, None)
        if wait is None:
            self._forget(letter)
            return None
        self._tries[message_key] = tries
        return wait

    def _write(self, letter: Letter, change: Callable[[Notification], Notification]) -> None:
        """Change what a status says of a message that is still to be sent, whoever else writes."""
        post, (key, message_key) = self._post, letter
        for _ in range(_WRITES):
            manifest = self._get(key)
            known = _find(manifest, message_key) if manifest else None
            if manifest is None or known is None:
                return
            patch = replace_notification(manifest, change(known), post.clock())
            try:
                written = post.cluster.patch_status(key.kind, manifest, patch)
            except ConflictError:
                continue
            except NotFoundError:
                return
            post.store.put(key.kind, written)
            return
        raise ConflictError(f"{key.kind} {key.name} changes all the time")

    def _get(self, key: Key) -> Manifest | None:
        return live.get(self._post.cluster, self._post.store, key.kind, key.namespace, key.name)

    def _forget(self, letter: Letter) -> None:
        self._answers.pop(letter[1], None)
        self._tries.pop(letter[1], None)
        self._bursts.forget(letter)


def _find(manifest: Manifest, message_key: str) -> Notification | None:
    """A message that is still to be sent."""
    return next(
        (
            each
            for each in read_notifications(manifest)
            if each.key == message_key and each.state == "Pending"
        ),
        None,
    )
