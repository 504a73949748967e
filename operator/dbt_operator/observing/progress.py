"""Reads how far runs are, from the logs of their sidecars, no more often than
:mod:`planning.run.progress` says.

What was read last is remembered, so that a reconciliation for another cause reads no log and a
status write that was refused is made good by the next one. It is no state: after a restart each
running run is looked at once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from dbt_operator.cluster.errors import ClusterError
from dbt_operator.planning.attempt.pod_facts import PodFacts
from dbt_operator.planning.common.durations import parse_time
from dbt_operator.planning.run.progress import LONGEST, looks
from dbt_protocol.messages import ProtocolError
from dbt_protocol.paths import ARTIFACTS_CONTAINER
from dbt_protocol.summaries import Progress

log = structlog.get_logger()


class Logs(Protocol):
    """What is needed of a cluster."""

    def last_log_line(self, namespace: str, pod: str, container: str) -> str:
        """The last line that a container has printed."""


@dataclass(frozen=True)
class _Look:
    pod: str  # UID
    number: int
    found: Progress | None


class ProgressReader:
    """One for all runs. Safe to call from several threads, as no run is reconciled by two of them
    at a time.
    """

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._last: dict[tuple[str, str], _Look] = {}  # by namespace and name of the run

    def look(
        self, namespace: str, run: str, pod: PodFacts, now: datetime, longest: float = LONGEST
    ) -> Progress | None:
        """How far a run is, as of the last look; None if nothing is known yet."""
        last = self._last.get((namespace, run))
        if last is None or last.pod != pod.uid:
            last = _Look(pod.uid, 0, None)
        number, _ = looks((now - parse_time(pod.dbt.started_at)).total_seconds(), longest)
        if number > last.number:
            last = _Look(pod.uid, number, self._read(namespace, pod) or last.found)
        self._last[namespace, run] = last
        return last.found

    def forget(self, namespace: str, run: str) -> None:
        """A run that is not at work needs no memory."""
        self._last.pop((namespace, run), None)

    def _read(self, namespace: str, pod: PodFacts) -> Progress | None:
        """Anything but a line of progress tells nothing, and whatever goes wrong here must not hold
        up the run.
        """
        try:
            return Progress.from_line(
                self._logs.last_log_line(namespace, pod.name, ARTIFACTS_CONTAINER)
            )
        except ProtocolError:
            return None
        except ClusterError as error:
            log.info("progress cannot be read", namespace=namespace, pod=pod.name, error=str(error))
            return None
