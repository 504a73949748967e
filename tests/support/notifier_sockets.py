"""The notifier's unix socket."""

from __future__ import annotations

import http.client
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

from dbt_notifier.channels import Channel
from dbt_notifier.server import Sending
from tests.support.notifier_servers import Stopping, serve


@contextmanager
def make_socket_path() -> Iterator[Path]:
    """A place for a socket; the kernel takes no path of more than 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="notifier-") as folder:
        yield Path(folder) / "sock"


@contextmanager
def serve_sending(channels: Mapping[str, Channel], secrets: Path) -> Iterator[Path]:
    """The notifier's server, in a thread; the path of its socket."""
    with make_socket_path() as path:

        async def start() -> tuple[int, Stopping]:
            app = Sending(channels, secrets).make_app()
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
            await runner.setup()
            await web.UnixSite(runner, path).start()
            return 0, runner.cleanup

        with serve(start):
            yield path


def request(path: Path, method: str, place: str, body: bytes = b"") -> tuple[int, bytes]:
    """Ask the server for something; the status and the body of its answer."""
    connection = http.client.HTTPConnection("notifier", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.settimeout(60)
        connection.sock.connect(str(path))
        connection.request(method, place, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
