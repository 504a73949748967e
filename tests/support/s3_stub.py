"""As much of S3 as the runner needs, and with an IAM policy that does not list objects."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from dbt_protocol.plans import Bucket

KEYS = {"AWS_ACCESS_KEY_ID": "some", "AWS_SECRET_ACCESS_KEY": "key"}
_DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@dataclass
class Stub:
    """The bucket's objects, and what is refused."""

    port: int = 0
    objects: dict[str, bytes] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)  # keys that may not be read
    may_put: bool = True
    asked: list[str] = field(default_factory=list)

    def make_bucket(self, region: str | None = "us-east-1") -> Bucket:
        return Bucket(f"http://127.0.0.1:{self.port}", "dbt", region)


@contextmanager
def serve() -> Iterator[Stub]:
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not stub.may_put:
                self._answer(403, _DENIED)
                return
            stub.objects[self._key()] = body
            self._answer(200, b"")

        def do_GET(self) -> None:
            key = self._key()
            stub.asked.append(key)
            if key in stub.objects and key not in stub.hidden:
                self._answer(200, stub.objects[key])
            else:
                self._answer(403, _DENIED)

        def do_HEAD(self) -> None:
            self.do_GET()

        def _key(self) -> str:
            return unquote(urlsplit(self.path).path).removeprefix("/dbt/")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("ETag", '"one"')
            self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
