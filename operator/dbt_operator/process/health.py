"""Whether this process is alive and ready, told over HTTP to the kubelet; and its metrics, to
Prometheus.

Alive means that nothing in it hangs: every thread that matters shows signs of life, and one that is
at the same thing for longer than anything can take is named in the log. How the API server is has
no part in that, since an operator that is started anew reaches it no better.

Whoever reaches the port may ask, so an answer to the kubelet names no namespace and no object. The
metrics name projects, targets and schedules, and who reaches the port is up to the cluster.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import structlog

from dbt_operator.common.pulse import Clock, Pulse

log = structlog.get_logger()

Check = Callable[[], str]  # what is wrong; empty when nothing is
# What is accepted -> content type, and what the page says.
Page = Callable[[str], tuple[str, bytes]]
_TEXT = "text/plain; charset=utf-8"


class Health:
    """All pulses of the process, and what it needs to be ready."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._pulses: list[Pulse] = []
        self._checks: list[Check] = []

    def pulse(self, name: str, bound: float) -> Pulse:
        """A pulse for a thread; the bound is in seconds."""
        found = Pulse(name, bound, self._clock)
        with self._lock:
            self._pulses.append(found)
        return found

    def ready_once(self, check: Check) -> None:
        """Ready is who has found nothing wrong with this, once."""
        with self._lock:
            self._checks.append(check)

    def hangs(self) -> list[str]:
        """Everything that hangs."""
        with self._lock:
            pulses = list(self._pulses)
        return [trouble for pulse in pulses if (trouble := pulse.trouble())]

    def missing(self) -> list[str]:
        """Everything that is waited for before work can begin."""
        with self._lock:
            found = [(check, check()) for check in self._checks]
            self._checks = [check for check, wrong in found if wrong]
        return [wrong for _, wrong in found if wrong]


class HealthServer:
    """Answers GET /healthz and GET /readyz: 200, or 503 with how many things are wrong. What they
    are is logged, whenever it changes. GET /metrics is answered where there are some.
    """

    def __init__(self, health: Health, port: int, metrics: Page | None = None) -> None:
        answers = {"/healthz": health.hangs, "/readyz": health.missing}
        self._server = _Server(port, answers, metrics)
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Answer, in a thread."""
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # The kubelet asks at the pod's address, which is an IPv6 one in some clusters.
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def __init__(
        self, port: int, answers: dict[str, Callable[[], list[str]]], metrics: Page | None
    ) -> None:
        self._answers = answers
        self._metrics = metrics
        self._told: dict[str, list[str]] = {}  # by path, what was wrong at the last request
        super().__init__(("", port), _Handler)

    def answer(self, path: str) -> tuple[int, str]:
        """The status for a path, and what to say."""
        find_wrong = self._answers.get(path)
        if find_wrong is None:
            return 404, "not found"
        wrong = find_wrong()
        if wrong and set(map(_without_numbers, wrong)) != set(self._told.get(path, ())):
            log.warning("not as it should be", asked=path, what=wrong)
        self._told[path] = list(map(_without_numbers, wrong))
        many = f"{len(wrong)} " + ("thing is" if len(wrong) == 1 else "things are")
        return (503, f"{many} wrong: see the operator's log") if wrong else (200, "ok")

    def show_metrics(self, accept: str) -> tuple[int, str, bytes]:
        """The status for the metrics, the content type and the page."""
        if self._metrics is None:
            return 404, _TEXT, b"not found\n"
        try:
            return 200, *self._metrics(accept)
        except Exception:
            # Whoever asks sees that there is no answer; why is seen here alone.
            log.exception("cannot show the metrics")
            return 500, _TEXT, b"see the operator's log\n"

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked has gone away; nobody needs to read a traceback about that."""


def _without_numbers(text: str) -> str:
    """What does not change each time that it is asked for: times do."""
    return "".join(each for each in text if not each.isdigit())


class _Handler(BaseHTTPRequestHandler):
    timeout = 10  # seconds for somebody who connects and says nothing
    server: _Server

    def do_GET(self) -> None:
        if self.path.partition("?")[0] == "/metrics":
            self._answer(*self.server.show_metrics(self.headers.get("Accept", "")))
            return
        status, text = self.server.answer(self.path)
        self._answer(status, _TEXT, f"{text}\n".encode())

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Probes are no news."""
