"""Reads what pods that have ended tell of failures and warnings, from the logs of their sidecars.

The log goes with the pod, so it is read before the end of the attempt is written, once. Where it
cannot be read, the run ends without.
"""

from __future__ import annotations

from typing import Protocol

import structlog

from dbt_operator.cluster.errors import ClusterError
from dbt_operator.planning.attempt.pod_facts import PodFacts
from dbt_operator.planning.attempt.verdict import uploaded
from dbt_operator.planning.common.identity import Identity
from dbt_protocol.digests import Digest
from dbt_protocol.messages import ProtocolError
from dbt_protocol.paths import ARTIFACTS_CONTAINER

log = structlog.get_logger()


class Logs(Protocol):
    """What is needed of a cluster."""

    def last_log_lines(
        self, namespace: str, pod: str, container: str, *, previous: bool = False
    ) -> list[str]:
        """The last lines that a container has printed."""


class DigestReader:
    """One for all runs. Safe to call from several threads, as no run is reconciled by two of them
    at a time.
    """

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        # By namespace and name of the run: the UID of the pod, and what it has told.
        self._last: dict[tuple[str, str], tuple[str, Digest | None]] = {}

    def look(self, run: Identity, pod: PodFacts) -> Digest | None:
        """What the pod of a run tells; None if it has not ended, tells nothing, or is gone."""
        upload = uploaded(pod)
        if upload is None or not upload.digest or not pod.work_ended:
            return None
        key = run.namespace, run.name
        last = self._last.get(key)
        if last is None or last[0] != pod.uid:
            last = self._last[key] = pod.uid, self._read(run, pod)
        return last[1]

    def forget(self, namespace: str, run: str) -> None:
        """A run that is not at work needs no memory."""
        self._last.pop((namespace, run), None)

    def _read(self, run: Identity, pod: PodFacts) -> Digest | None:
        """What a log tells. Where a container of somebody else's goes on, the kubelet starts the
        sidecar again, and what has told it is the one before.
        """
        why: list[str] = []
        for previous in (False, True):
            try:
                lines = self._logs.last_log_lines(
                    run.namespace, pod.name, ARTIFACTS_CONTAINER, previous=previous
                )
                digest = Digest.from_lines(lines)
            except (ClusterError, ProtocolError) as error:
                why.append(str(error))
                continue
            return digest if digest.run_uid == run.uid else None
        log.warning(
            "details of a run cannot be read",
            namespace=run.namespace,
            name=run.name,
            pod=pod.name,
            error=why[0],
        )
        return None
