"""``python -m dbt_operator``: the operator as a process.

Watches fill the store and the queue, in an event loop for each namespace. Worker threads reconcile,
since the kubernetes client blocks, and only in the operator that leads. One thread lists everything
anew from time to time, for what watches miss, and one notices when the clock is set. The main
thread waits for the end, of which there are two: a signal, after which everything is brought to an
orderly end, and the loss of the Lease, after which nothing is: another program takes the place of
this one in the same process, which stands by.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import zoneinfo
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import structlog

from dbt_operator.api.registry import KINDS
from dbt_operator.cluster.client import Cluster
from dbt_operator.cluster.errors import ClusterError
from dbt_operator.cluster.store import PARTS, Store
from dbt_operator.common.keys import Key
from dbt_operator.common.settings import Settings, SettingsError
from dbt_operator.common.workqueue import WorkQueue
from dbt_operator.metrics.counted_sender import CountedSender
from dbt_operator.metrics.operator_metrics import OperatorMetrics, Sources, WatchAges
from dbt_operator.planning.leadership import TERMS, Terms
from dbt_operator.process.clock_watch import ClockWatch
from dbt_operator.process.health import Health, HealthServer
from dbt_operator.process.leader import Candidacy, Elector
from dbt_operator.process.logs import configure_logging
from dbt_operator.process.workers import Workers
from dbt_operator.reconcile.delivering import Deliveries, Post
from dbt_operator.reconcile.kinds import find_concerned
from dbt_operator.reconcile.loop import Reconciler
from dbt_operator.reconcile.notifier import Notifier
from dbt_operator.reconcile.waking import Change, find_concerned_by_part, key_of, run_key
from dbt_operator.watching.foreign_jobs import ForeignJobs
from dbt_operator.watching.watches import Watch, quieten_kopf

log = structlog.get_logger()

Manifest = Mapping[str, Any]

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# seconds for what is being worked on; the chart's terminationGracePeriodSeconds leaves some more
LAST_WORK = 20.0
_OTHER_THREADS = 2  # that make requests: election and resync
_LOST = 1  # exit code
_GLANCE = 0.5  # seconds between two looks at whether this operator still leads
# Python's parser of JSON, by which kopf reads every watch, gives up at 1,000 levels of nesting, and
# the API server stores 10,000 of them in spec.vars: one such object would hide all others.
RECURSION = 40_000  # the parser takes one for each level, a walk in Python two or three
# Seconds in which threads show a sign of life, unless they hang.
_ELECTION, _EVENT_LOOP, _LISTING, _CLOCK = 60.0, 60.0, 600.0, 60.0


class Operator:
    """The parts, put together."""

    def __init__(self, settings: Settings, terms: Terms = TERMS) -> None:
        self._settings = settings
        self.store = Store()
        self._metrics = OperatorMetrics(self.store, settings.channels)
        self._cluster = Cluster(
            connections=settings.workers + len(settings.channels) + _OTHER_THREADS,
            awaited_kinds=settings.awaited_kinds,
            count=self._metrics.count_request,
        )
        self.queue: WorkQueue[Key] = WorkQueue()
        self.health = Health()
        reconciler = Reconciler(
            self._cluster, self.store, settings.runner_image, wake=self.queue.add
        )
        reconcile = self._metrics.measure(reconciler.reconcile)
        self._workers = Workers(self.queue, reconcile, self.health, self._leads, settings.workers)
        self._watches = [
            Watch(
                namespace,
                self.store,
                self.queue,
                self.health.pulse(f"watch of {namespace or 'all'}", _EVENT_LOOP),
            )
            for namespace in settings.namespaces or (None,)
        ]
        self._deliveries = self._make_deliveries()
        reconciler.tell_by(self._deliveries)
        reconciler.count_ends_by(self._metrics.count_end)
        self._foreign_jobs = ForeignJobs(self._cluster, self.store, self.queue, self.health.pulse)
        self._elector = self._make_elector(terms) if settings.lease_namespace else None
        self._stopped = threading.Event()
        self._metrics.show(Sources(self._leads, self._knows_all, self.queue, self._find_watch_ages))

    def _make_elector(self, terms: Terms) -> Elector:
        pulse = self.health.pulse("election", _ELECTION)
        lease = Key("Lease", self._settings.lease_namespace, self._settings.lease_name)
        return Elector(self._cluster, lease, pulse, self._lead, Candidacy(terms=terms))

    def _make_deliveries(self) -> Deliveries:
        sender = CountedSender(
            Notifier(self._settings.notifier_socket), self._metrics.count_message
        )
        post = Post(self._cluster, self.store, sender, self._leads)
        return Deliveries(post, self._settings.channels, self.health.pulse)

    def _leads(self) -> bool:
        return self._elector is None or self._elector.leads()

    def _knows_all(self) -> bool:
        return not any(watch.say_missing() for watch in self._watches)

    def _find_watch_ages(self) -> list[WatchAges]:
        return [
            WatchAges(watch.namespace or "", watch.sight.find_ages()) for watch in self._watches
        ]

    def run(self) -> int:
        """Work until SIGTERM, or until another operator leads; the exit code. SIGNALS have to be
        blocked.
        """
        HealthServer(self.health, self._settings.health_port, self._metrics.render).start()
        for watch in self._watches:
            self.health.ready_once(watch.say_missing)
            watch.start()
        threading.Thread(target=self._resync, name="resync", daemon=True).start()
        clock = ClockWatch(self.queue.hasten, self.health.pulse("clock", _CLOCK))
        threading.Thread(target=clock.run, args=(self._stopped,), name="clock", daemon=True).start()
        if self._elector is None:
            self._lead()
        else:
            self.health.ready_once(self._elector.say_missing)
            self._elector.start()
        while not _asked_to_end(_GLANCE):
            if self._elector is not None and self._elector.lost():
                log.error(
                    "ends: it does not hold the Lease any more", identity=self._elector.identity
                )
                return _LOST
        self._stop()
        return 0

    def _lead(self) -> None:
        """Begin to work, on everything that is known: whoever led before may have left anything
        half done.
        """
        for part in (part for kind in PARTS for part in self.store.all(kind)):
            self.queue.add(run_key(part))
        for kind in KINDS:
            for manifest in self.store.all(kind.kind):
                self.queue.add(key_of(manifest))
        self._deliveries.start()
        self._workers.start()
        self._foreign_jobs.start()

    def _stop(self) -> None:
        log.info("stopping")
        self._stopped.set()
        for watch in self._watches:
            watch.stop()
        self._foreign_jobs.stop()
        begin = time.monotonic()
        worked = self._workers.stop(LAST_WORK)
        told = self._deliveries.stop(max(0.0, LAST_WORK - (time.monotonic() - begin)))
        if not (worked and told):
            log.warning(
                "what was being done did not end in time; a Lease is left to expire",
                seconds=LAST_WORK,
            )
        elif self._elector is not None:
            self._elector.release()

    def _resync(self) -> None:
        pulse = self.health.pulse("resync", _LISTING)
        while not self._stopped.wait(self._settings.resync_seconds):
            for kind in (*PARTS, *(kind.kind for kind in KINDS)):
                for namespace in self._settings.namespaces or (None,):
                    pulse.beat(f"the list of every {kind} in {namespace or 'all namespaces'}")
                    try:
                        self._list(kind, namespace)
                    except Exception:
                        # Whatever is wrong with one list, the others are looked at, and this one
                        # the next time.
                        log.exception("cannot list", kind=kind, namespace=namespace)
            pulse.rest()

    def _list(self, kind: str, namespace: str | None) -> None:
        present: set[str] = set()
        as_of = "0"
        try:
            for manifests, version in self._cluster.list_pages(kind, namespace):
                as_of = version
                present |= {manifest["metadata"]["uid"] for manifest in manifests}
                for manifest in manifests:
                    self._take_in(kind, manifest)
        except ClusterError as error:
            log.warning("cannot list", kind=kind, namespace=namespace, error=str(error))
            return
        for manifest in self.store.retain(kind, present, as_of, namespace):
            self._enqueue(kind, manifest, deleted=True)

    def _take_in(self, kind: str, manifest: Manifest) -> None:
        """Keep an object of a list. Whatever is wrong with it, those that follow are looked at."""
        try:
            self.store.put(kind, manifest)
            self._enqueue(kind, manifest)
        except Exception:
            log.exception("cannot take in", kind=kind, name=manifest["metadata"].get("name"))

    def _enqueue(self, kind: str, manifest: Manifest, *, deleted: bool = False) -> None:
        if kind in PARTS:
            keys = find_concerned_by_part(kind, manifest, self.store)
        else:
            keys = find_concerned(Change({**manifest, "kind": kind}, self.store, deleted))
        for key in keys:
            self.queue.add(key)


def _asked_to_end(seconds: float) -> bool:
    """Whether a signal comes in time. A process that was stopped (SIGSTOP, the freezer) and goes on
    when the time is up gets an answer as well from Python, in which there is no signal.
    """
    found = signal.sigtimedwait(SIGNALS, seconds)
    return found is not None and found.si_signo in SIGNALS


def main(terms: Terms = TERMS, argv: Sequence[str] = ()) -> NoReturn:
    """Run until SIGTERM.

    Args:
        terms: of the election.
        argv: what this process was started by. With it an operator that has lost the Lease begins
            anew at once, where the kubelet would wait for up to five minutes before it starts the
            container once more. Empty: the process ends.
    """
    # Threads inherit the mask, and the main thread asks for signals when it is ready to deal with
    # them.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        sys.exit(f"dbt-operator: {error}")
    sys.setrecursionlimit(RECURSION)
    # Time zones are those of the tzdata package, whose version schedules tell.
    zoneinfo.reset_tzpath(())
    configure_logging(settings)
    quieten_kopf()
    log.info(
        "starting", namespaces=settings.namespaces or "all", runner_image=settings.runner_image
    )
    code = Operator(settings, terms).run()
    if code == _LOST and argv:
        sys.stdout.flush()
        # All threads end here, wherever they are, and no connection is handed on. A signal that
        # comes meanwhile stays blocked, as the mask is handed on, and is found by the next.
        os.execv(sys.executable, [*argv])  # noqa: S606 - it is what was started before
    end(code)


def end(code: int) -> NoReturn:
    """End the process at once. Python would wait for threads before, and of those one may be what
    hangs.
    """
    sys.stdout.flush()
    os._exit(code)
