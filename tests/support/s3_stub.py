"""As much of S3 as the runner needs, and with an IAM policy that does not list objects."""

from __future__ import annotations

import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from minio.credentials import Credentials
from minio.signer import sign_v4_s3

from dbt_protocol.plans import Bucket
from tests.support.certificates import Tls

KEYS = {"AWS_ACCESS_KEY_ID": "some", "AWS_SECRET_ACCESS_KEY": "key"}
_REGION = "us-east-1"
_COPIED = (
    '<CopyObjectResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ETag>"one"</ETag>'
    "<LastModified>2024-01-01T00:00:00.000Z</LastModified></CopyObjectResult>"
)


@dataclass
class Stub:
    """The bucket's objects, and what is refused."""

    port: int = 0
    objects: dict[str, bytes] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)  # keys that may not be read
    may_put: bool = True
    code: str = "AccessDenied"  # of what is refused
    secret: str = ""  # the key that requests have to be signed with; empty: any
    asked: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)  # of all requests, and so are the tokens
    tokens: list[str] = field(default_factory=list)
    scheme: str = "http"

    def make_bucket(self, region: str | None = _REGION, ca: str = "") -> Bucket:
        return Bucket(f"{self.scheme}://127.0.0.1:{self.port}", "dbt", region, ca)

    def take_note(self, command: str, path: str, headers: Message) -> bool:
        """Note who sends a request; whether it is signed as it has to be."""
        found = headers["Authorization"]
        self.logins.append(found)
        self.tokens.append(headers.get("X-Amz-Security-Token", ""))
        if not self.secret:
            return True
        names = found.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        signed = sign_v4_s3(
            method=command,
            url=urlsplit(f"http://{headers['Host']}{path}"),
            region=_REGION,
            headers={name: headers[name] for name in names},
            credentials=Credentials(KEYS["AWS_ACCESS_KEY_ID"], self.secret),
            content_sha256=headers["X-Amz-Content-Sha256"],
            date=datetime.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC),
        )
        return bool(signed["Authorization"] == found)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: ClassVar[Stub]

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.stub.may_put or not self._is_known():
            self._refuse()
            return
        source = self.headers.get("X-Amz-Copy-Source")
        if source is None:
            self.stub.objects[self._key()] = body
            self._answer(200, b"")
            return
        copied = self.stub.objects[unquote(source).removeprefix("/dbt/")]
        self.stub.objects[self._key()] = copied
        self._answer(200, _COPIED)

    def do_GET(self) -> None:
        key = self._key()
        self.stub.asked.append(key)
        if self._is_known() and key in self.stub.objects and key not in self.stub.hidden:
            self._answer(200, self.stub.objects[key])
        else:
            self._refuse()

    def do_HEAD(self) -> None:
        self.do_GET()

    def _is_known(self) -> bool:
        return self.stub.take_note(self.command, self.path, self.headers)

    def _refuse(self) -> None:
        self._answer(403, f"<Error><Code>{self.stub.code}</Code><Message>no</Message></Error>")

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix("/dbt/")

    def _answer(self, status: int, answer: bytes | str) -> None:
        body = answer.encode() if isinstance(answer, str) else answer
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


@contextmanager
def serve(signed: Tls | None = None) -> Iterator[Stub]:
    """A bucket at 127.0.0.1; with a certificate, over TLS."""
    stub = Stub(scheme="https" if signed else "http")
    handler = type("Handler", (_Handler,), {"stub": stub})

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        stub.port = server.server_port
        if signed:
            server.socket = _wrap(signed).wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()


def _wrap(signed: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as name:
        certificate, key = Path(name) / "crt", Path(name) / "key"
        certificate.write_text(signed.certificate)
        key.write_text(signed.key)
        context.load_cert_chain(certificate, key)
    return context
