"""Takes the Lease that says which operator leads, and renews it; see ``planning/leadership.py`` for
who may when.

The others stand by: they watch, so that they know everything when their turn comes, and do nothing.
An operator that has led and does so no more ends, and its process begins anew as a standby. That is
simpler than stopping whatever may be under way, and it is what happens to it anyway when its node
dies.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from dbt_operator.cluster.client import Manifest
from dbt_operator.cluster.errors import ClusterError, ConflictError
from dbt_operator.common.keys import Key
from dbt_operator.common.pulse import Pulse
from dbt_operator.planning.leadership import (
    TERMS,
    LeaseFacts,
    Record,
    Terms,
    claim,
    given_back,
    leads,
    look,
    micro_time,
    record_of,
    spec_of,
)

log = structlog.get_logger()

_LAST_ROUND = (
    10.0  # seconds in which a round that is under way ends, or the Lease is left to expire
)


class Leases(Protocol):
    """The part of :class:`dbt_operator.cluster.client.Cluster` that an election needs."""

    def get_lease(self, namespace: str, name: str) -> Manifest | None:
        """A Lease as it is now."""

    def create_lease(self, manifest: Manifest) -> Manifest:
        """Create one that does not exist."""

    def replace_lease(self, manifest: Manifest) -> Manifest:
        """Write one that has not changed since it was read."""


def own_identity() -> str:
    """A name that no other candidate has, not even the next process in the same pod."""
    return f"{os.environ.get('POD_NAME') or socket.gethostname()}_{secrets.token_hex(4)}"


@dataclass(frozen=True)
class Candidacy:
    """Who stands for election, on which terms, and by which clocks."""

    identity: str = field(default_factory=own_identity)
    terms: Terms = TERMS
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC)


class Elector:
    """One candidate. :meth:`leads` and :meth:`lost` may be asked by any thread."""

    def __init__(
        self,
        leases: Leases,
        lease: Key,
        pulse: Pulse,
        on_lead: Callable[[], Any],
        candidacy: Candidacy | None = None,
    ) -> None:
        candidacy = candidacy or Candidacy()
        self.identity = candidacy.identity
        self._leases = leases
        self._namespace, self._name = lease.namespace, lease.name
        self._pulse = pulse
        self._on_lead = on_lead
        self._terms = candidacy.terms
        self._clock = candidacy.clock
        self._wall_clock = candidacy.wall_clock
        self._seen: LeaseFacts | None = None
        self._renewed_at: float | None = None  # when the last renewal that succeeded was sent
        self._began = False  # to work; on_lead has come to its end
        self._taken = False  # somebody else holds what was ours
        self._in_trouble = False
        self._missing = "it has not looked at the Lease yet"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="election", daemon=True)

    def start(self) -> None:
        """Stand for election, in a thread."""
        self._thread.start()

    def leads(self) -> bool:
        """Whether this operator may act."""
        return not self._taken and leads(self._renewed_at, self._clock(), self._terms)

    def lost(self) -> bool:
        """Whether this operator has led and does so no more."""
        return self._renewed_at is not None and not self.leads()

    def say_missing(self) -> str:
        """Why it cannot stand for election; empty when it can."""
        return self._missing

    def round(self) -> None:
        """Look at the Lease, and take or renew it if that is possible."""
        try:
            self._attempt()
        except ConflictError:
            self._note("")  # somebody else was faster: the next look tells who
        except ClusterError as error:
            self._note(str(error))
        else:
            self._note("")
        if self.leads() and not self._began:
            log.info("leads", lease=self._name, identity=self.identity)
            self._on_lead()
            self._began = True

    def release(self) -> None:
        """Give the Lease back, so that whoever stands by takes over at once. Not to be called
        before work has ended.
        """
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(_LAST_ROUND)
        if self._thread.is_alive() or not self.leads():
            return
        try:
            lease = self._leases.get_lease(self._namespace, self._name)
            if lease is not None and (record := record_of(lease)).holder == self.identity:
                self._write(lease, given_back(record, self._format_now()))
                log.info("gave the Lease back", lease=self._name)
        except ClusterError as error:
            log.warning(
                "could not give the Lease back, it will expire", lease=self._name, error=str(error)
            )

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._pulse.beat("the Lease")
            try:
                self.round()
            except Exception:
                # Without this thread nobody leads. on_lead is called again in the next round.
                log.exception(
                    "a round of the election failed, the next one follows", lease=self._name
                )
            self._stopped.wait(self._terms.retry_period)

    def _attempt(self) -> None:
        if self.lost():
            return  # it is about to end, and must not come back to life
        lease = self._leases.get_lease(self._namespace, self._name)
        now = self._clock()
        self._seen = look(self._seen, record_of(lease) if lease else None, now)
        wanted = claim(self._seen, self.identity, now, self._format_now(), self._terms)
        if wanted is None:
            self._taken = self._renewed_at is not None
            return
        self._write(lease, wanted)
        self._renewed_at = now

    def _write(self, lease: Manifest | None, record: Record) -> None:
        if lease is not None:
            self._leases.replace_lease(
                {**lease, "spec": {**(lease.get("spec") or {}), **spec_of(record)}}
            )
            return
        self._leases.create_lease(
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"namespace": self._namespace, "name": self._name},
                "spec": spec_of(record),
            }
        )

    def _format_now(self) -> str:
        return micro_time(self._wall_clock())

    def _note(self, trouble: str) -> None:
        """Say what is wrong when it begins and when it is over; every two seconds would be too
        often.
        """
        if trouble and not self._in_trouble:
            log.warning(
                "cannot look at the Lease or renew it",
                lease=self._name,
                leads=self.leads(),
                error=trouble,
            )
        elif self._in_trouble and not trouble:
            log.info("looks at the Lease again", lease=self._name)
        self._in_trouble = bool(trouble)
        self._missing = f"it cannot stand for election: {trouble}" if trouble else ""
