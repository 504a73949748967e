"""A receiver of CloudEvents on loopback and a notifier beside it, for operators that are killed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.kube import wait_for

CHANNEL = "hook"


class Keeper:
    """What the receiver got."""

    def __init__(self) -> None:
        self.copies: Counter[str] = Counter()  # how often each message has come, by its key
        self.names: dict[str, str] = {}  # the object of each
        # Called when a message has come, before it is answered.
        self.before_answer: Callable[[str], None] = lambda _: None
        self._lock = threading.Lock()

    def take(self, event: Mapping[str, Any]) -> None:
        """A message has come."""
        with self._lock:
            self.copies[event["id"]] += 1
            self.names[event["id"]] = event["subject"]
        self.before_answer(event["subject"])


@contextmanager
def keeper() -> Iterator[tuple[Keeper, str]]:
    """A receiver, and its address."""
    found = Keeper()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.take(json.loads(body))
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found, f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def notifier(folder: Path, url: str) -> Iterator[dict[str, str]]:
    """A notifier with one channel; the settings of operators that send by it."""
    secrets = folder / "secrets" / CHANNEL
    secrets.mkdir(parents=True)
    (secrets / "url").write_text(url)
    (folder / "channels.json").write_text(json.dumps({"channels": {CHANNEL: {"kind": "webhook"}}}))
    socket = folder / "notifier.sock"
    with (folder / "notifier.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dbt_notifier"],
            env={
                "DBT_NOTIFIER_SOCKET": str(socket),
                "DBT_NOTIFIER_CHANNELS": str(folder / "channels.json"),
                "DBT_NOTIFIER_SECRETS": str(folder / "secrets"),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for("the notifier's socket", socket.exists)
        yield {
            "DBT_OPERATOR_CHANNELS": json.dumps({CHANNEL: {"namespaces": ["*"]}}),
            "DBT_OPERATOR_NOTIFIER_SOCKET": str(socket),
        }
    finally:
        process.terminate()
        process.wait()
