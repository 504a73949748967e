"""Ports on loopback for servers that cannot be told to take any."""

from __future__ import annotations

import socket


def find_free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
