"""Counters and histograms in memory.

They are ours and not prometheus_client's, since those export the time of their birth as a series
of its own for each, unless a switch is set for the whole process; and since what belongs to objects
that are gone has to be forgotten.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Mapping
from math import inf

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

from dbt_operator.metrics.definitions import Definition, make_counter, make_histogram

Labels = tuple[str, ...]  # values, in the order of the definition
Keep = Callable[[Mapping[str, str]], bool]


class Tally:
    """A counter. Thread-safe."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._lock = threading.Lock()
        self._values: dict[Labels, float] = {}

    def add(self, *labels: str, amount: float = 1) -> None:
        """Count; an amount of 0 makes the series known."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0) + amount

    def retain(self, keep: Keep) -> None:
        """Forget all series but those whose labels are to be kept."""
        with self._lock:
            self._values = {
                labels: value
                for labels, value in self._values.items()
                if keep(_name_labels(self._definition, labels))
            }

    def collect(self) -> CounterMetricFamily:
        """As it stands."""
        family = make_counter(self._definition)
        with self._lock:
            values = list(self._values.items())
        for labels, value in values:
            family.add_metric(labels, value)
        return family


class Distribution:
    """A histogram. Thread-safe."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._bounds = [*definition.buckets, inf]
        self._lock = threading.Lock()
        self._counts: dict[Labels, list[int]] = {}  # of each bucket alone
        self._sums: dict[Labels, float] = {}

    def observe(self, value: float, *labels: str) -> None:
        """Count a value."""
        place = bisect_left(self._bounds, value)
        with self._lock:
            counts = self._counts.setdefault(labels, [0] * len(self._bounds))
            counts[place] += 1
            self._sums[labels] = self._sums.get(labels, 0) + value

    def retain(self, keep: Keep) -> None:
        """Forget all series but those whose labels are to be kept."""
        with self._lock:
            for labels in list(self._counts):
                if not keep(_name_labels(self._definition, labels)):
                    del self._counts[labels], self._sums[labels]

    def collect(self) -> HistogramMetricFamily:
        """As it stands."""
        family = make_histogram(self._definition)
        with self._lock:
            found = [
                (labels, list(each), self._sums[labels]) for labels, each in self._counts.items()
            ]
        for labels, counts, total in found:
            family.add_metric(labels, _accumulate(self._bounds, counts), total)
        return family


def _accumulate(bounds: list[float], counts: list[int]) -> list[tuple[str, float]]:
    """The buckets as Prometheus has them: each holds those below it."""
    total, found = 0, []
    for bound, count in zip(bounds, counts, strict=True):
        total += count
        found.append(("+Inf" if bound == inf else str(bound), float(total)))
    return found


def _name_labels(definition: Definition, labels: Labels) -> Mapping[str, str]:
    return dict(zip(definition.labels, labels, strict=True))
