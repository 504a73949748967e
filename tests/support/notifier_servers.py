"""Servers that take what the notifier sends, keep it, and answer as they are told. Each runs in a
thread of its own, at a free port of the loopback interface.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support.certificates import Tls

HOST = "127.0.0.1"
USER, PASSWORD = "mailer", "canary-password"
Stopping = Callable[[], Coroutine[Any, Any, None]]
# What starts a server in a loop: its port, if it has one, and what stops it.
Starting = Callable[[], Coroutine[Any, Any, tuple[int, Stopping]]]
_PATIENCE = 60.0  # seconds for a server to start or to stop


@dataclass(frozen=True)
class Answer:
    """How a request is answered."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = "ok"
    echo: bool = False  # the body has the request's path, and the whole URL
    hang: bool = False  # there is no answer until the server ends
    trickle: bool = False  # the body begins, and does not end


@dataclass(frozen=True)
class Got:
    """A request."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class HttpServer:
    """Takes requests."""

    def __init__(self, port: int, scheme: str) -> None:
        self.got: list[Got] = []
        self.answers: list[Answer] = []  # the next ones; after them everything is taken
        self.url = f"{scheme}://{HOST}:{port}"
        self.release: Callable[[], None] = lambda: None  # has what hangs answered


@contextmanager
def serve_http(*answers: Answer, tls: Tls | None = None) -> Iterator[HttpServer]:
    """A server of HTTP, or of HTTPS where it has a certificate."""
    ended = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    def release() -> None:
        loops[0].call_soon_threadsafe(ended.set)

    async def take(request: web.Request) -> web.StreamResponse:
        server.got.append(Got(request.path_qs, dict(request.headers), await request.read()))
        answer = server.answers.pop(0) if server.answers else Answer()
        if answer.hang:
            await ended.wait()
        body = f"no {request.path_qs} at {request.url}" if answer.echo else answer.body
        if not answer.trickle:
            return web.Response(status=answer.status, headers=answer.headers, text=body)
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        await response.prepare(request)
        await response.write(body.encode())
        await ended.wait()
        return response

    async def start() -> tuple[int, Stopping]:
        loops.append(asyncio.get_running_loop())
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, HOST, 0, ssl_context=_make_context(tls))
        await site.start()

        async def stop() -> None:
            ended.set()
            await runner.cleanup()

        return runner.addresses[0][1], stop

    with serve(start) as port:
        server = HttpServer(port, "https" if tls else "http")
        server.answers += answers
        server.release = release
        yield server


@dataclass(frozen=True)
class MailRules:
    """How a server of mail behaves."""

    refused: tuple[str, ...] = ()  # recipients
    recipient_answer: str = "550 no such user"
    data_answer: str = "250 taken"
    login: bool = True  # one is required
    hang: bool = False  # it says nothing at all
    hang_at_quit: bool = False


@dataclass
class SmtpServer:
    """Takes mail."""

    port: int
    got: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)  # of each mail
    read: bytearray = field(default_factory=bytearray)  # all that clients said, TLS taken off


@contextmanager
def serve_smtp(
    tls: Tls | None, security: str = "starttls", rules: MailRules | None = None
) -> Iterator[SmtpServer]:
    """A server of mail.

    Args:
        tls: its certificate; without one it speaks plain text alone.
        security: tls from the beginning, or starttls.
        rules: how it behaves.
    """
    rules = rules or MailRules()
    context = _make_context(tls)

    class Protocol(SMTP):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            # It does not see that all of it is TLS.
            self._auth_require_tls = security == "starttls"

        def data_received(self, data: bytes) -> None:
            server.read += data
            super().data_received(data)

    async def start() -> tuple[int, Stopping]:
        def connect() -> asyncio.BaseProtocol:
            if rules.hang:
                return asyncio.Protocol()
            return Protocol(
                _Mailbox(server, rules),
                hostname="tests",
                tls_context=context if security == "starttls" else None,
                require_starttls=security == "starttls" and context is not None,
                authenticator=_check,
                auth_required=rules.login and context is not None,
                auth_exclude_mechanism=[] if context else ["LOGIN", "PLAIN"],
                loop=asyncio.get_running_loop(),
            )

        listening = await asyncio.get_running_loop().create_server(
            connect, HOST, 0, ssl=context if security == "tls" else None
        )

        async def stop() -> None:
            listening.close()
            await listening.wait_closed()

        return listening.sockets[0].getsockname()[1], stop

    with serve(start) as port:
        server = SmtpServer(port)
        yield server


class _Mailbox:
    """What aiosmtpd asks."""

    def __init__(self, server: SmtpServer, rules: MailRules) -> None:
        self._server = server
        self._rules = rules

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd calls it so
        self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]
    ) -> str:
        if address in self._rules.refused:
            return self._rules.recipient_answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:  # noqa: N802
        if self._rules.data_answer.startswith("2"):
            self._server.got.append(bytes(envelope.original_content or b""))
            self._server.recipients.append(list(envelope.rcpt_tos))
        return self._rules.data_answer

    async def handle_QUIT(self, _: SMTP, __: Session, ___: Envelope) -> str:  # noqa: N802
        if self._rules.hang_at_quit:
            await asyncio.Event().wait()
        return "221 goodbye"


def _check(_: SMTP, __: Session, ___: Envelope, ____: str, data: object) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (
        USER.encode(),
        PASSWORD.encode(),
    )
    return AuthResult(success=right, handled=False)


def _make_context(tls: Tls | None) -> ssl.SSLContext | None:
    if tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as name:
        certificate, key = Path(name) / "crt", Path(name) / "key"
        certificate.write_text(tls.certificate)
        key.write_text(tls.key)
        context.load_cert_chain(certificate, key)
    return context


@contextmanager
def serve(start: Starting) -> Iterator[int]:
    """The port of a server that runs in a thread, in a loop of its own."""
    loop = asyncio.new_event_loop()
    # Clients of these tests go away in the middle of everything, as they are to.
    loop.set_exception_handler(lambda _, __: None)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        port, stop = asyncio.run_coroutine_threadsafe(start(), loop).result(_PATIENCE)
        try:
            yield port
        finally:
            asyncio.run_coroutine_threadsafe(_end(stop), loop).result(_PATIENCE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_PATIENCE)
        loop.close()


async def _end(stop: Stopping) -> None:
    await stop()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    # Transports close in the next rounds of the loop.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
