"""Watches Jobs that others have made, where a run waits for one, and only as long as one does.

Of their metadata only: that something about a Job has changed wakes the runs that wait for it, and
those read it. kopf keeps what it watches as a whole, and for good, so these watches are our own: a
thread for each namespace, which lists, watches for a while, and lists again. So whatever a watch
loses comes with the next list, and none needs to go on where another one has broken off. Only the
operator that leads has them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from dbt_operator.cluster.errors import ClusterError
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.common.pulse import Pulse
from dbt_operator.common.workqueue import WorkQueue
from dbt_operator.planning.common.manifests import JOB
from dbt_operator.reconcile.waking import find_waiting_for_job

log = structlog.get_logger()

Manifest = Mapping[str, Any]

# Seconds in which the threads show a sign of life, unless they hang.
_SUPERVISION, _WATCH = 60.0, 300.0


class Jobs(Protocol):
    """The part of :class:`dbt_operator.cluster.client.Cluster` that these watches need."""

    def list_job_metadata(self, namespace: str) -> Iterator[tuple[list[Manifest], str]]:
        """The metadata of all Jobs, some at a time, and the resource version of the list."""

    def watch_job_metadata(
        self, namespace: str, version: str, seconds: int
    ) -> Generator[tuple[str, Manifest], None, None]:
        """What becomes of it after that version, for some seconds."""


@dataclass(frozen=True)
class Pace:
    """How time passes."""

    glance: float = 1.0  # seconds between two looks at who waits
    watch: int = 60  # seconds after which a watch ends and all is listed anew
    rest: float = 1.0  # seconds between two lists at least; doubled with each failure
    longest_rest: float = 60.0  # seconds
    clock: Callable[[], float] = time.monotonic


class ForeignJobs:
    """The watches of all namespaces, and their supervisor."""

    def __init__(
        self,
        jobs: Jobs,
        store: Store,
        queue: WorkQueue[Key],
        make_pulse: Callable[[str, float], Pulse],
        pace: Pace | None = None,
    ) -> None:
        self._jobs = jobs
        self._store = store
        self._queue = queue
        self._make_pulse = make_pulse
        self._pulses: dict[str, Pulse] = {}  # one for each namespace, however often it is watched
        self._pulse = make_pulse("foreign Jobs", _SUPERVISION)
        self._pace = pace or Pace()
        self._stopped = threading.Event()
        self._threads: dict[str, threading.Thread] = {}
        self._thread = threading.Thread(target=self._supervise, name="foreign-jobs", daemon=True)

    def start(self) -> None:
        """Watch wherever somebody waits, in threads."""
        self._thread.start()

    def stop(self) -> None:
        """Have all of it end soon."""
        self._stopped.set()

    def join(self, seconds: float) -> None:
        """Wait for the end of all of it."""
        self._thread.join(seconds)
        for thread in self._threads.values():
            thread.join(seconds)

    @property
    def watched(self) -> set[str]:
        """The namespaces that are watched."""
        return {namespace for namespace, thread in [*self._threads.items()] if thread.is_alive()}

    def _supervise(self) -> None:
        while not self._stopped.is_set():
            self._pulse.beat("the start of watches")
            try:
                self._start_missing()
            except Exception:
                log.exception("cannot see to the watches of foreign Jobs, and tries again")
            self._stopped.wait(self._pace.glance)
        self._pulse.rest()

    def _start_missing(self) -> None:
        for namespace in self._store.namespaces_waiting_for(JOB) - self.watched:
            pulse = self._pulses.get(namespace)
            if pulse is None:
                pulse = self._make_pulse(f"watch of the Jobs in {namespace}", _WATCH)
                self._pulses[namespace] = pulse
            thread = threading.Thread(
                target=self._follow, args=(namespace, pulse), name=f"jobs-{namespace}", daemon=True
            )
            self._threads[namespace] = thread
            thread.start()

    def _follow(self, namespace: str, pulse: Pulse) -> None:
        """Watch a namespace as long as somebody waits there."""
        log.info("watches foreign Jobs", namespace=namespace)
        known: dict[str, str] = {}
        rest = self._pace.rest
        while self._is_wanted(namespace):
            following = self._pace.rest
            try:
                known = self._look(namespace, known, pulse)
                rest = self._pace.rest
            except ClusterError as error:
                following = min(2 * rest, self._pace.longest_rest)
                log.warning(
                    "cannot watch foreign Jobs", namespace=namespace, seconds=rest, error=str(error)
                )
            except Exception:
                # Whatever an answer holds, the next one is looked at.
                following = min(2 * rest, self._pace.longest_rest)
                log.exception("cannot watch foreign Jobs", namespace=namespace, seconds=rest)
            pulse.rest()
            self._stopped.wait(rest)
            rest = following
        log.info("watches foreign Jobs no more", namespace=namespace)

    def _look(self, namespace: str, known: Mapping[str, str], pulse: Pulse) -> dict[str, str]:
        """List and watch once; the versions of the Jobs that were listed, by UID.

        Raises:
            ClusterError: the API server refused, did not answer, or broke off.
        """
        listed: dict[str, str] = {}
        as_of = "0"
        pulse.beat("a list")
        for jobs, version in self._jobs.list_job_metadata(namespace):
            pulse.beat("a list")
            as_of = version
            for job in jobs:
                metadata = job["metadata"]
                listed[metadata["uid"]] = metadata["resourceVersion"]
                if known.get(metadata["uid"]) != metadata["resourceVersion"]:
                    self._wake(metadata)
        pulse.beat("a watch")
        ends_at = self._pace.clock() + self._pace.watch
        with closing(self._jobs.watch_job_metadata(namespace, as_of, self._pace.watch)) as events:
            for kind, job in events:
                if kind in ("ADDED", "MODIFIED"):
                    self._wake(job["metadata"])
                if self._pace.clock() > ends_at or not self._is_wanted(namespace):
                    break  # an API server that does not end it itself, or nobody who asks
        return listed

    def _wake(self, metadata: Manifest) -> None:
        for key in find_waiting_for_job(metadata, self._store):
            self._queue.add(key)

    def _is_wanted(self, namespace: str) -> bool:
        return not self._stopped.is_set() and namespace in self._store.namespaces_waiting_for(JOB)
