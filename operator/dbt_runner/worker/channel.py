"""The worker's ends of the pipes between it and the supervisor."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dbt_runner.worker_messages import Message, NodeProgress, decode, encode


@dataclass(frozen=True)
class Pipes:
    """The descriptors of the pipes between this process and the supervisor."""

    commands: int
    events: int


class Channel:
    """Sends messages to the supervisor. Parent and child take turns, and so do the threads of
    one.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._turn = threading.Lock()

    def send(self, message: Message) -> None:
        """Send one message."""
        data = encode(message)
        with self._turn:
            while data:
                data = data[os.write(self._descriptor, data) :]

    def send_progress(self, **what: Any) -> None:
        """Tell how far dbt is: the fields of :class:`NodeProgress`."""
        self.send(NodeProgress(**what))


class Commands:
    """What the supervisor wants, up to the end of the pipe.

    Nothing is read ahead: the process that takes over for a window finds its commands still in the
    pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __iter__(self) -> Iterator[Message]:
        line = bytearray()
        while byte := os.read(self._descriptor, 1):
            if byte != b"\n":
                line += byte
                continue
            yield decode(bytes(line))
            line.clear()
