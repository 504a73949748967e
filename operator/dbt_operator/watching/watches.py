"""kopf, supervised: one for each watched namespace, or one for the whole cluster.

Each has a thread and an event loop of its own. A shared loop is out of the question, since kopf
ends every task of its loop when it stops, and one kopf for all namespaces as well, since it stops
when one of them is refused to it. Here a watch that ends is started anew after a while, and the
others go on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import kopf
import structlog

from dbt_operator.api.registry import KINDS
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.common.pulse import Pulse
from dbt_operator.common.workqueue import WorkQueue
from dbt_operator.watching import handlers

log = structlog.get_logger()

WATCHED = frozenset({*(kind.plural for kind in KINDS), "jobs", "pods"})
FIRST_DELAY, LAST_DELAY = 1.0, 60.0  # seconds before a watch is started anew
RUNS_WELL = 60.0  # seconds after which a watch that sees everything counts as one that works
# seconds after kopf's first request, by which it has asked for all kinds that it has found
_SERVED_WITHIN = 10.0
# seconds; a watch lasts at most client_timeout, and a pause between two tries is far shorter
_SILENT = 600.0
_TICK = 0.5  # seconds


def delay_after(before: float, *, ran_well: bool) -> float:
    """How long to wait before a watch is started anew."""
    return FIRST_DELAY if ran_well or not before else min(2 * before, LAST_DELAY)


def connect(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """In the cluster with the ServiceAccount, else with the kubeconfig."""
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


class Sight:
    """What a watch sees, told from kopf's own requests: kopf does not say when it has listed, or is
    refused.
    """

    def __init__(self, where: str, clock: Callable[[], float]) -> None:
        self._where = where
        self._clock = clock
        self._began = clock()
        self._asked: dict[str, float] = {}  # the last time
        self._listed: dict[str, float] = {}  # the first time
        # The last time that a request was granted, or when this process began.
        self._answered = dict.fromkeys(WATCHED, self._began)
        self.refused: set[str] = set()
        self.settled = False  # since this process began

    def begin(self) -> None:
        """Kopf is started anew; what is refused stays so until an answer says otherwise."""
        self._began = self._clock()
        self._asked.clear()
        self._listed.clear()

    async def asks(
        self, _session: Any, _context: Any, request: aiohttp.TraceRequestStartParams
    ) -> None:
        """Kopf sends a request. It watches a kind only after it has listed it."""
        kind = request.url.name
        if kind in WATCHED:
            if not self._asked:
                self._began = self._clock()
            self._asked[kind] = self._clock()
            if request.url.query.get("watch"):
                self._listed.setdefault(kind, self._clock())
                self._settle()

    async def hears(
        self, _session: Any, _context: Any, answer: aiohttp.TraceRequestEndParams
    ) -> None:
        """Kopf gets an answer."""
        kind, status = answer.url.name, answer.response.status
        if kind not in WATCHED:
            return
        if status == 403 and kind not in self.refused:
            log.warning(
                "may not see", what=kind, where=self._where, seconds_between_tries=LAST_DELAY
            )
            self.refused.add(kind)
            self._settle()
        elif status < 400:
            self._answered[kind] = self._clock()
            if kind in self.refused:
                log.info("sees again", what=kind, where=self._where)
                self.refused.discard(kind)

    def find_ages(self) -> dict[str, float]:
        """How many seconds ago the API server has last granted a request, for each kind."""
        now = self._clock()
        return {kind: now - answered for kind, answered in self._answered.items()}

    def trouble(self) -> str:
        """Why kopf has to be started anew, if it does not see that itself."""
        now = self._clock()
        # It looks once which kinds there are, and then asks for all of them at a time.
        unknown = WATCHED - set(self._asked)
        if self._asked and unknown and now > self._began + _SERVED_WITHIN:
            return f"the API server does not know {', '.join(sorted(unknown))}: are the CRDs there?"
        silent = [kind for kind, asked in self._asked.items() if now > asked + _SILENT]
        return f"kopf does not ask for {', '.join(sorted(silent))} any more" if silent else ""

    def runs_well(self) -> bool:
        """Whether all is seen, and has been for a while."""
        everything = set(self._listed) == WATCHED and not self.refused
        return everything and self._clock() - max(self._listed.values()) >= RUNS_WELL

    def _settle(self) -> None:
        self.settled = self.settled or set(self._listed) | self.refused >= WATCHED


@dataclass(frozen=True)
class Conduct:
    """How kopf is run: what it logs in with, how it is configured, and how time passes."""

    connect: Callable[..., kopf.ConnectionInfo | None] = connect
    configure: Callable[[kopf.OperatorSettings], None] = handlers.configure
    clock: Callable[[], float] = time.monotonic
    # For how many seconds it waits before kopf is started anew; None: as long as it is not stopped.
    wait: Callable[[float], Any] | None = None


class Watch:
    """The watches of one namespace, or of all (None), and their supervisor."""

    def __init__(
        self,
        namespace: str | None,
        store: Store,
        queue: WorkQueue[Key],
        pulse: Pulse,
        conduct: Conduct | None = None,
    ) -> None:
        conduct = conduct or Conduct()
        self.namespace = namespace
        self._where = f"namespace {namespace}" if namespace else "all namespaces"
        self._store, self._queue = store, queue
        self._pulse = pulse
        self._connect = conduct.connect
        self._configure = conduct.configure
        self.sight = Sight(self._where, conduct.clock)
        self.ran_well = False  # since it was started the last time
        self._stopped = threading.Event()
        self._wait = conduct.wait or self._stopped.wait
        self._thread = threading.Thread(
            target=self.supervise, name=f"watch-{namespace or 'all'}", daemon=True
        )

    def start(self) -> None:
        """Watch, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Have it end soon."""
        self._stopped.set()

    def join(self, seconds: float) -> None:
        """Wait for its end."""
        self._thread.join(seconds)

    def say_missing(self) -> str:
        """What has not been listed yet; empty once everything was, or was refused."""
        return "" if self.sight.settled else f"{self._where} has not been listed yet"

    def supervise(self) -> None:
        """Run kopf, again and again, until the watch is stopped."""
        delay = 0.0
        while not self._stopped.is_set():
            self.sight.begin()
            self.ran_well = False
            cause = self._run()
            if self._stopped.is_set():
                return
            delay = delay_after(delay, ran_well=self.ran_well)
            log.warning(
                "the watch ended and is started anew", where=self._where, seconds=delay, cause=cause
            )
            self._pulse.rest()
            self._wait(delay)

    def _run(self) -> str:
        """Run kopf until it ends; why it did."""
        self._pulse.beat("starting its event loop")
        try:
            return asyncio.run(self._watch())
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it is started anew
            return f"{type(error).__name__}: {error}"

    async def _watch(self) -> str:
        # No threading.Event as kopf's flag: kopf waits for such a one in a thread, which would
        # outlive a kopf that has failed, and the event loop would wait for that thread forever.
        flag, ending = asyncio.Event(), asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(self._note)
        settings = kopf.OperatorSettings()
        self._configure(settings)
        # Else kopf kills the process, all namespaces, ten minutes after one watch has failed and
        # hangs while it ends.
        settings.process.ultimate_exiting_timeout = None
        running = asyncio.create_task(
            kopf.operator(
                registry=self._registry(ending),
                settings=settings,
                clusterwide=self.namespace is None,
                namespaces=[self.namespace] if self.namespace else [],
                standalone=True,
                # By default kopf looks for the name of the user, and in a container the user has
                # none.
                identity="dbt-operator",  # type: ignore[arg-type]
                stop_flag=flag,
            )
        )
        cause = ""
        while not (await asyncio.wait({running}, timeout=_TICK))[0]:
            if ending.is_set():
                _cancel_all_but(running)
            elif not flag.is_set():
                self._pulse.beat("one turn of its event loop, or its end")
                self.ran_well = self.ran_well or self.sight.runs_well()
                cause = self.sight.trouble()
                if cause or self._stopped.is_set():
                    flag.set()
        running.result()
        return cause or "kopf stopped by itself"

    def _note(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Errors that kopf leaves lying about: asyncio would print a traceback of each."""
        log.warning(context["message"], where=self._where, error=repr(context.get("exception")))

    def _registry(self, ending: asyncio.Event) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        used: list[kopf.ConnectionInfo] = []

        @kopf.on.login(registry=registry)
        async def login(**kwargs: Any) -> kopf.AiohttpSession | None:
            info = self._connect(**kwargs)
            if info is None or info in used:
                # kopf asks when a login is not accepted any more: the same one again would not be
                # either
                return None
            used[:] = [info]
            return self._session(info)

        @kopf.on.cleanup(registry=registry)
        async def cleanup(**_: Any) -> None:
            ending.set()

        handlers.register(registry, self._store, self._queue)
        return registry

    def _session(self, info: kopf.ConnectionInfo) -> kopf.AiohttpSession:
        """What kopf would make of a login, with our eyes on it."""
        tracing = aiohttp.TraceConfig()
        tracing.on_request_start.append(self.sight.asks)
        tracing.on_request_end.append(self.sight.hears)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
            headers=info.as_http_headers(),
            proxy=info.proxy_url,
            trust_env=info.trust_env,
            trace_configs=[tracing],
        )
        return kopf.AiohttpSession(
            server=info.server,
            default_namespace=info.default_namespace,
            expiration=info.expiration,
            aiohttp_session=session,
        )


def _cancel_all_but(running: asyncio.Task[None]) -> None:
    """End what kopf has left over.

    When one of its watches fails, kopf 1.45 cancels the others once and waits for them. One that is
    between two tries of a request takes that for a pause of the operator, goes on, and kopf waits
    forever.
    """
    for task in asyncio.all_tasks() - {running, asyncio.current_task()}:
        task.cancel()


def quieten_kopf() -> None:
    """Leave out what kopf says of no news, or in a hundred lines what the supervisor says in
    one.
    """
    for handler in logging.getLogger().handlers:
        handler.addFilter(_worth_a_line)


def _worth_a_line(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, (aiohttp.ClientError, OSError)) or type(error).__module__.startswith(
        "kopf."
    ):
        # the API server's answer is in the message; the way to it through kopf helps nobody
        record.exc_info = None
    # Said in every thread but the main one, where nobody expects kopf to handle signals.
    return "OS signals are ignored" not in record.getMessage()
