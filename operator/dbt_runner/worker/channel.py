"""The pipes between the supervisor and the process that runs dbt: JSON lines."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from typing import Any


class Channel:
    """Sends events to the supervisor, one line each. Parent and child take turns, and so do the
    threads of one.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._turn = threading.Lock()

    def send(self, event: str, **content: object) -> None:
        """Send one event."""
        data = (json.dumps({"event": event, **content}) + "\n").encode()
        with self._turn:
            while data:
                data = data[os.write(self._descriptor, data) :]

    def node(self, **what: object) -> None:
        """Tell how far dbt is: how many nodes there are, and which one has started or ended."""
        self.send("progress", **what)


class Commands:
    """What the supervisor wants, one JSON object a line, up to the end of the pipe.

    Nothing is read ahead: the process that takes over for a window finds its commands still in the
    pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __iter__(self) -> Iterator[dict[str, Any]]:
        line = b""
        while byte := os.read(self._descriptor, 1):
            if byte != b"\n":
                line += byte
                continue
            yield json.loads(line)
            line = b""
