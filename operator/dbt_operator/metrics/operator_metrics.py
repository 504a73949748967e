"""All metrics of an operator, and what fills them.

Nothing else in the operator knows of Prometheus: whoever has something to tell is given a function
to call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from dbt_notifier.messages import Outcome
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.common.workqueue import WorkQueue
from dbt_operator.metrics.definitions import (
    API_REQUESTS,
    LEADER,
    NOTIFICATIONS,
    RECONCILE_DURATION,
    RECONCILE_ERRORS,
    WATCH_AGE,
    WORKQUEUE,
    make_gauge,
)
from dbt_operator.metrics.ends import Ends
from dbt_operator.metrics.object_gauges import ObjectGauges
from dbt_operator.metrics.tallies import Distribution, Tally
from dbt_operator.metrics.text_format import CONTENT_TYPE, write_page

Manifest = Mapping[str, Any]
Reconcile = Callable[[Key], float | None]

_NO_ANSWER = "none"


@dataclass(frozen=True)
class WatchAges:
    """How old the last answers to the requests of a watch are."""

    namespace: str  # empty: of all of them
    ages: Mapping[str, float]  # seconds, by the plural of a kind


@dataclass(frozen=True)
class Sources:
    """Whom the process is asked about when Prometheus asks."""

    leads: Callable[[], bool]
    knows_all: Callable[[], bool]  # whether everything has been listed once
    queue: WorkQueue[Key]
    find_watch_ages: Callable[[], Iterable[WatchAges]]
    clock: Callable[[], float] = field(default=time.monotonic)


class OperatorMetrics:
    """What is counted, and the page that shows it. Thread-safe."""

    def __init__(self, store: Store, channels: Iterable[str] = ()) -> None:
        """``channels`` are those on which people are told."""
        self._store = store
        self._ends = Ends(store)
        self._notifications = Tally(NOTIFICATIONS)
        self._durations = Distribution(RECONCILE_DURATION)
        self._errors = Tally(RECONCILE_ERRORS)
        self._requests = Tally(API_REQUESTS)
        self._registry = CollectorRegistry()
        self._registry.register(_Family(self._collect_counters))
        self._rendering = threading.Lock()  # one page at a time, however many ask
        for channel in channels:
            for outcome in Outcome:
                self._notifications.add(channel, str(outcome), amount=0)

    # What is told

    def count_end(self, kind: str, ended: Manifest) -> None:
        """A run or backfill has just ended."""
        self._ends.count(kind, ended)

    def count_message(self, channel: str, outcome: Outcome) -> None:
        """There was a try to send a message."""
        self._notifications.add(channel, str(outcome))

    def count_request(self, method: str, code: int | None) -> None:
        """The API server has answered a request, or has not."""
        self._requests.add(method, _NO_ANSWER if code is None else str(code))

    def measure(
        self, reconcile: Reconcile, clock: Callable[[], float] = time.monotonic
    ) -> Reconcile:
        """A function that reconciles, and is measured."""

        def reconcile_measured(key: Key) -> float | None:
            begin = clock()
            try:
                return reconcile(key)
            except Exception:
                self._errors.add(key.kind)
                raise
            finally:
                self._durations.observe(clock() - begin, key.kind)

        return reconcile_measured

    # What is shown

    def show(self, sources: Sources) -> None:
        """Show what is known of the process and of objects, too."""

        def is_shown() -> bool:
            return sources.leads() and sources.knows_all()

        self._registry.register(_Family(lambda: _collect_process(sources)))
        self._registry.register(_Family(ObjectGauges(self._store, is_shown).collect))

    def render(self, accept: str) -> tuple[str, bytes]:
        """The page: its content type, of those that whoever asks accepts, and what it says.

        Prometheus accepts the text format, whatever it likes better.
        """
        encode, content_type = choose_encoder(accept)
        with self._rendering:
            if not accept or "text/plain" in accept or "*/*" in accept:
                return CONTENT_TYPE, write_page(self._registry.collect())
            return content_type, encode(self._registry)

    def _collect_counters(self) -> Iterator[Metric]:
        yield from self._ends.collect()
        yield self._notifications.collect()
        yield self._durations.collect()
        yield self._errors.collect()
        yield self._requests.collect()


class _Family(Collector):
    """A collector of the client's, made of a function."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        return self._collect()

    def describe(self) -> list[Metric]:
        """Nothing: the page is not put together to find out about names that occur twice."""
        return []


def _collect_process(sources: Sources) -> Iterator[Metric]:
    leader = make_gauge(LEADER)
    leader.add_metric((), int(sources.leads()))
    yield leader
    keys = make_gauge(WORKQUEUE)
    for state, number in sources.queue.count_keys().items():
        keys.add_metric((state,), number)
    yield keys
    watches = make_gauge(WATCH_AGE)
    for watch in sources.find_watch_ages():
        for resource, age in watch.ages.items():
            watches.add_metric((watch.namespace, resource), age)
    yield watches
