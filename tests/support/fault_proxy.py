"""A proxy between an operator and the API server, in which a test makes go wrong what goes wrong in
clusters.

It writes down every request. A rule picks some and delays them, holds them back, answers in the API
server's place, cuts the connection, tells the events of a watch late, twice or never, or calls the
test, which may kill the operator just before or just after a write has arrived.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import kubernetes
import yaml
from aiohttp import web

from tests.support.kube import PATIENCE

_PATH = re.compile(
    r"^/(?:api/v1|apis/[^/]+/[^/]+)/(?:namespaces/(?P<where>[^/]+)/)?(?P<kind>[a-z]+)"
    r"(?:/(?P<name>[^/]+))?(?P<sub>/[a-z]+)?$"
)
_HOP = {
    "connection",
    "host",
    "content-length",
    "transfer-encoding",
    "content-encoding",
    "accept-encoding",
}
_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_NOT_COUNTED = ("events", "leases")


@dataclass
class Request:
    """What an operator asked for."""

    method: str
    kind: str  # plural
    name: str
    subresource: str
    watch: bool
    body: Mapping[str, Any]
    status: int = 0  # of the answer; 0 as long as there is none

    @property
    def writes(self) -> bool:
        """Whether it is a write, other than of events and leases."""
        return self.method in _WRITES and self.kind not in _NOT_COUNTED

    def __str__(self) -> str:
        return (
            f"{self.method} {self.kind}{f'/{self.subresource}' if self.subresource else ''} "
            f"{self.name}"
        )


@dataclass
class Rule:
    """What happens to some requests."""

    picks: Callable[[Request], bool]
    times: int = 1_000_000_000
    # Called when it has come, before it is sent on.
    before: Callable[[Request], None] | None = None
    # Called when it was answered, before the operator hears of it.
    after: Callable[[Request], None] | None = None
    wait: float = 0.0  # seconds before it is sent on
    held: threading.Event | None = None  # it is sent on once this is set
    answer: int = 0  # a status code, in the API server's place
    reset: bool = False  # the connection is cut in the place of an answer
    lose_answer: bool = False  # it is sent on, and then the connection is cut
    # Those told for one of a watch, and when.
    events: Callable[[bytes], Iterable[tuple[float, bytes]]] | None = None
    taken: list[Request] = field(default_factory=list)  # those it was applied to


class FaultProxy:
    """Use :func:`fault_proxy`."""

    def __init__(self, folder: Path) -> None:
        self.requests: list[Request] = []
        self.rules: list[Rule] = []
        self.kubeconfig = folder / "kubeconfig"
        self._api = _Api.from_kubeconfig()
        self._loop = asyncio.new_event_loop()
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._open: dict[int, web.Request] = {}  # those that are being answered
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._serve(),), daemon=True
        )

    def start(self) -> None:
        self._thread.start()
        if not self._ready.wait(PATIENCE):
            raise AssertionError("the proxy did not start")

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        self._loop.close()

    @property
    def writes(self) -> list[Request]:
        """The writes so far."""
        return [request for request in self.requests if request.writes]

    @contextmanager
    def rule(self, rule: Rule) -> Iterator[Rule]:
        """A rule for a while; what it holds back is sent on in the end."""
        self.rules.append(rule)
        try:
            yield rule
        finally:
            self.rules.remove(rule)
            if rule.held:
                rule.held.set()

    @contextmanager
    def away(self) -> Iterator[None]:
        """The API server cannot be reached, and watches break off."""
        with self.rule(Rule(lambda _: True, reset=True)):
            self._loop.call_soon_threadsafe(self._cut_all)
            yield

    def _cut_all(self) -> None:
        for incoming in self._open.values():
            _cut(incoming)

    async def _serve(self) -> None:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._api.ssl, limit=0)
        ) as self._session:
            application = web.Application(client_max_size=10**8)
            application.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(application, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self._write_kubeconfig(runner.addresses[0][1])
            self._ready.set()
            await self._stop.wait()
            await runner.cleanup()
            left = asyncio.all_tasks() - {asyncio.current_task()}  # watches, and what is held back
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        await self._closed()

    async def _closed(self) -> None:
        """Wait for connections by TLS to be closed: aiohttp does not. What remains is the loop's
        own pipe.
        """
        async with asyncio.timeout(PATIENCE):
            selector = self._loop._selector  # type: ignore[attr-defined]  # noqa: SLF001 -- nothing else knows
            while len(selector.get_map()) > 1:  # noqa: ASYNC110 -- nothing tells of it
                await asyncio.sleep(0.01)

    def _write_kubeconfig(self, port: int) -> None:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "proxy", "user": {"token": "of-no-use"}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "current-context": "proxy",
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))

    async def _handle(self, incoming: web.Request) -> web.StreamResponse:
        data = await incoming.read()
        request = _understood(incoming, data)
        self.requests.append(request)
        rule = next(
            (r for r in list(self.rules) if len(r.taken) < r.times and r.picks(request)), None
        )
        self._open[id(incoming)] = incoming
        try:
            if rule is None:
                async with self._sent(incoming, data) as answer:
                    return await _passed_on(incoming, request, answer)
            rule.taken.append(request)
            return await self._faulty(rule, request, incoming, data)
        finally:
            del self._open[id(incoming)]

    async def _faulty(
        self, rule: Rule, request: Request, incoming: web.Request, data: bytes
    ) -> web.StreamResponse:
        if rule.before:
            await asyncio.to_thread(rule.before, request)
        await asyncio.sleep(rule.wait)
        while rule.held is not None and not rule.held.is_set():  # noqa: ASYNC110 -- threads set it
            await asyncio.sleep(0.02)
        if rule.answer:
            request.status = rule.answer
            return web.json_response(
                {"kind": "Status", "code": rule.answer, "message": "injected"}, status=rule.answer
            )
        if rule.reset:
            return _cut(incoming)
        async with self._sent(incoming, data) as answer:
            request.status = answer.status
            if rule.lose_answer or rule.after:
                body = await answer.read()
                if rule.after:
                    await asyncio.to_thread(rule.after, request)
                if rule.lose_answer:
                    return _cut(incoming)
                return web.Response(
                    body=body, status=answer.status, content_type="application/json"
                )
            if rule.events:
                return await _told(incoming, answer, rule.events)
            return await _passed_on(incoming, request, answer)

    @asynccontextmanager
    async def _sent(
        self, incoming: web.Request, data: bytes
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {key: value for key, value in incoming.headers.items() if key.lower() not in _HOP}
        headers["Authorization"] = f"Bearer {self._api.token}" if self._api.token else ""
        url = self._api.server + incoming.path_qs
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.request(
            incoming.method,
            url,
            data=data or None,
            headers={key: value for key, value in headers.items() if value},
            skip_auto_headers=("Content-Type",),
            timeout=timeout,
        ) as answer:
            yield answer


async def _passed_on(
    incoming: web.Request, request: Request, answer: aiohttp.ClientResponse
) -> web.StreamResponse:
    request.status = answer.status
    headers = {key: value for key, value in answer.headers.items() if key.lower() not in _HOP}
    response = web.StreamResponse(status=answer.status, headers=headers)
    with suppress(ConnectionError):  # whoever asked has ended
        await response.prepare(incoming)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
    return response


async def _told(
    incoming: web.Request,
    answer: aiohttp.ClientResponse,
    told: Callable[[bytes], Iterable[tuple[float, bytes]]],
) -> web.StreamResponse:
    """Pass a watch on, with other events than it has."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[bytes | None]()

    async def listen() -> None:
        with suppress(aiohttp.ClientError):
            async for line in _lines(answer):
                for seconds, event in told(line):
                    loop.call_later(seconds, queue.put_nowait, event)
        queue.put_nowait(None)

    response = web.StreamResponse(
        status=answer.status, headers={"Content-Type": "application/json"}
    )
    listening = asyncio.create_task(listen())
    try:
        with suppress(ConnectionError):  # whoever asked has ended
            await response.prepare(incoming)
            while (event := await queue.get()) is not None:
                await response.write(event + b"\n")
            await response.write_eof()
    finally:
        listening.cancel()
    return response


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The lines of an answer, however long they are."""
    rest = b""
    async for chunk in answer.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line


def _cut(incoming: web.Request) -> web.StreamResponse:
    if incoming.transport is not None:
        incoming.transport.abort()
    return web.Response()


def _understood(incoming: web.Request, data: bytes) -> Request:
    found = _PATH.match(incoming.path)
    try:
        body = json.loads(data) if data else {}
    except ValueError:
        body = {}
    name = (found["name"] if found else None) or (body.get("metadata") or {}).get("name", "")
    return Request(
        method=incoming.method,
        kind=found["kind"] if found else incoming.path,
        name=name,
        subresource=(found["sub"] or "").lstrip("/") if found else "",
        watch=incoming.query.get("watch") == "true",
        body=body,
    )


@dataclass(frozen=True)
class _Api:
    """The API server of the suite's kubeconfig."""

    server: str
    token: str
    ssl: ssl.SSLContext

    @classmethod
    def from_kubeconfig(cls) -> _Api:
        configuration = kubernetes.client.Configuration()
        kubernetes.config.load_kube_config(client_configuration=configuration)
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
        key = (
            configuration.api_key.get("BearerToken")
            or configuration.api_key.get("authorization")
            or ""
        )
        return cls(configuration.host, key.removeprefix("Bearer "), context)


@contextmanager
def fault_proxy(folder: Path) -> Iterator[FaultProxy]:
    """A proxy, whose kubeconfig lies in a folder."""
    proxy = FaultProxy(folder)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
