"""What stands behind the channels of the tests.

HTTP on port 8080: a POST to /NAME is kept, and answered as PUT /answers/NAME says, a JSON list of
{"status": 429, "headers": {...}} or {"hang": true} for the next ones; after them all are taken. GET
/got tells all that was kept. SMTP with STARTTLS and a login on port 2525: mail is kept as /mail.
"""

import json
import os
import ssl
import threading
from collections import defaultdict
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

_KEYS = "/etc/receiver"
_lock = threading.Lock()
_got: list[dict[str, object]] = []
_answers: dict[str, list[dict[str, Any]]] = defaultdict(list)


def keep(name: str, headers: Mapping[str, str], body: str) -> None:
    with _lock:
        _got.append({"name": name, "headers": headers, "body": body})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with _lock:
            text = json.dumps(_got)
        self._answer(200, text.encode())

    def do_PUT(self) -> None:
        name = self.path.removeprefix("/answers/")
        with _lock:
            _answers[name] = json.loads(self._read())
        self._answer(200)

    def do_POST(self) -> None:
        name, body = self.path.strip("/").partition("?")[0], self._read().decode()
        with _lock:
            answers = _answers[name]
            answer = answers.pop(0) if answers else {}
        if answer.get("hang"):
            self.rfile.read(1)  # there is nothing more, until whoever asks gives up
            return
        status = answer.get("status", 200)
        if status < 300:
            keep(name, dict(self.headers), body)
        self._answer(status, answer.get("body", "").encode(), answer.get("headers", {}))

    def _read(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for header, value in (headers or {}).items():
            self.send_header(header, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Mailbox:
    async def handle_DATA(  # noqa: N802 - aiosmtpd calls it so
        self, _: object, __: object, envelope: Any
    ) -> str:
        headers = {"from": envelope.mail_from, "to": ", ".join(envelope.rcpt_tos)}
        keep("mail", headers, envelope.content.decode("utf-8", "replace"))
        return "250 taken"


def check(_: object, __: object, ___: object, ____: object, data: object) -> Any:
    wanted = (os.environ["SMTP_USER"].encode(), os.environ["SMTP_PASSWORD"].encode())
    right = isinstance(data, LoginPassword) and (data.login, data.password) == wanted
    return AuthResult(success=right, handled=False)


def main() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{_KEYS}/tls.crt", f"{_KEYS}/tls.key")
    Controller(
        Mailbox(),
        hostname="0.0.0.0",  # noqa: S104 - in a pod
        port=2525,
        tls_context=context,
        require_starttls=True,
        authenticator=check,
        auth_required=True,
    ).start()
    ThreadingHTTPServer(("", 8080), Handler).serve_forever()


main()
