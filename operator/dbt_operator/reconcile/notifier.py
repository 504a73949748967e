"""Asks the notifier, which runs beside the operator, to send a message."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Protocol

from dbt_notifier.messages import Answer, Message, Outcome, encode
from dbt_protocol.json_input import parse_json

# The notifier gives up on a receiver long before.
_PATIENCE = 90.0  # seconds


class Sender(Protocol):
    """Whoever sends messages."""

    def send(self, channel: str, message: Message) -> Answer:
        """Try once to send a message."""


class Notifier:
    """The notifier, by its unix socket. Safe to use from several threads."""

    def __init__(self, socket_path: str) -> None:
        self._path = socket_path

    def send(self, channel: str, message: Message) -> Answer:
        """Have it try once. Whatever is wrong with the notifier passes, or is somebody's to mend,
        and counts as that.
        """
        connection = _Connection(self._path)
        try:
            body = json.dumps({"channel": channel, "message": encode(message)})
            connection.request("POST", "/send", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
            if response.status != http.client.OK:
                return Answer(Outcome.UNAVAILABLE, f"the notifier answers {response.status}")
            return _read_answer(text)
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            return Answer(Outcome.UNAVAILABLE, f"the notifier does not answer: {error}")
        finally:
            connection.close()


def _read_answer(text: bytes) -> Answer:
    found = parse_json(text)
    after = found.get("retry_after")
    return Answer(
        Outcome(found["outcome"]),
        str(found.get("text") or ""),
        float(after) if after is not None else None,
    )


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("notifier", timeout=_PATIENCE)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
