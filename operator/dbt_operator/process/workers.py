"""The threads that reconcile. They run in the operator that leads, and end at what they are at when
it stops.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from dbt_operator.cluster.errors import ClusterError
from dbt_operator.common.keys import Key
from dbt_operator.common.pulse import Pulse
from dbt_operator.common.workqueue import WorkQueue
from dbt_operator.process.health import Health

log = structlog.get_logger()

# The longest that a reconciliation may take that is not stuck: one request to an API server that
# accepts connections and never answers takes 30 seconds, three times again.
SLOWEST = 150.0


class Workers:
    """Takes keys from the queue as long as this operator leads."""

    def __init__(
        self,
        queue: WorkQueue[Key],
        reconcile: Callable[[Key], float | None],
        health: Health,
        leads: Callable[[], bool],
        number: int,
    ) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._leads = leads
        self._threads = [
            threading.Thread(
                target=self._work, args=(health.pulse(name, SLOWEST),), name=name, daemon=True
            )
            for name in (f"worker-{number}" for number in range(number))
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> bool:
        """Take no more keys, and wait for the ones that are being worked on. Whether all have ended
        in that time.
        """
        self._queue.close()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, pulse: Pulse) -> None:
        while (key := self._queue.get()) is not None:
            if not self._leads():
                # it was paused for longer than its Lease lasts, and somebody else may be at work by
                # now
                return
            pulse.beat(f"{key.kind} {key.namespace}/{key.name}")
            self._reconcile_once(key)
            pulse.rest()

    def _reconcile_once(self, key: Key) -> None:
        try:
            again = self._reconcile(key)
            self._queue.forget(key)
            if again is not None:
                self._queue.add_after(key, again)
        except ClusterError as error:
            log.warning(
                "will be tried again", **vars(key), seconds=self._queue.retry(key), error=str(error)
            )
        except Exception:
            # One object must not stop the others, whatever is wrong with it.
            log.exception("will be tried again", **vars(key), seconds=self._queue.retry(key))
        finally:
            self._queue.done(key)
