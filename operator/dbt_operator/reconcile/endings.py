"""What becomes of an object that can go no further: it says why, and ends if it has an end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import structlog
from pydantic import ValidationError

from dbt_operator.api.status import Reason
from dbt_operator.api.texts import NOTE, cut
from dbt_operator.cluster.errors import InvalidError, TooLargeError
from dbt_operator.cluster.projection import has_ended
from dbt_operator.common.keys import Key
from dbt_operator.observing.run import Runs
from dbt_operator.planning.common import reading
from dbt_operator.planning.common.manifests import parent_of
from dbt_operator.planning.common.plan import DeleteJob, Event
from dbt_operator.planning.common.reading import UnreadableError
from dbt_operator.planning.notifying.deciding import End, decide
from dbt_operator.planning.notifying.outcomes import add_notifications
from dbt_operator.reconcile.actions import Actions
from dbt_operator.reconcile.kinds import ROWS
from dbt_operator.reconcile.write import Writer

log = structlog.get_logger()

Manifest = Mapping[str, Any]

_END_LOOKS = 5.0  # seconds; while something lives of a run that can go no further


class Endings:
    """Ends what cannot go on, or has it stand still. Safe to use from several threads."""

    def __init__(
        self, writer: Writer, actions: Actions, runs: Runs, clock: Callable[[], datetime]
    ) -> None:
        self._writer = writer
        self._actions = actions
        self._runs = runs
        self._clock = clock

    def say_unreadable(self, key: Key, error: UnreadableError) -> float | None:
        """An object that the models refuse stands still and says why. What it says already stays as
        it is.
        """
        log.warning("cannot be read", **vars(key), part=error.part, error=error.why)
        if has_ended(error.manifest):
            return None  # what it has done it has done
        if error.part == "status":
            return self._say_status_unreadable(key, error)
        if ROWS[key.kind].ends_by_wrong_spec:
            return self._end_work(key, error.manifest, error.why, stop=False)
        patch = reading.wrong_spec(error.manifest, error.why, self._clock())
        return self._writer.write_patch(key, error.manifest, patch) if patch else None

    def _say_status_unreadable(self, key: Key, error: UnreadableError) -> float | None:
        why = f"{error.why}: nothing is done, and nothing but this is written, until that is mended"
        patch = reading.stalled(error.manifest, why, reading.INVALID_STATUS, self._clock())
        try:
            return self._writer.write_patch(key, error.manifest, patch) if patch else None
        except InvalidError as refused:  # as a whole, for what stands in it
            log.warning("cannot say so either", **vars(key), error=str(refused))
            return None

    def end_too_large(self, key: Key, manifest: Manifest, error: TooLargeError) -> float | None:
        """What has to be written of an object is larger than an object may be: it ends, and others
        get its slot.

        Raises:
            TooLargeError: an object of this kind has no end, or this one has ended.
        """
        if ROWS[key.kind].kind.work is None or has_ended(manifest):
            raise error
        log.warning("too large", **vars(key), error=str(error))
        remedy = "shorten spec.vars and the selections, or take fewer steps, in a new one"
        why = f"its status does not fit into an object of the API server ({error}): {remedy}"
        return self._end_work(key, manifest, why, stop=True)

    def _end_work(self, key: Key, manifest: Manifest, why: str, *, stop: bool) -> float | None:
        """The end of what can go no further, when nothing of it lives any more.

        What is at work goes on to its own end, unless it is to be stopped; what waits to begin does
        not begin.
        """
        if not manifest.get("status", {}).get("attempts"):
            return self._write_end(key, manifest, why)
        left = self._runs.left_of(manifest)
        for job in left.jobs if stop or not left.at_work else ():
            self._actions.take(manifest, DeleteJob(job.name, job.uid))
        if not left.jobs and not left.at_work:
            return self._write_end(key, manifest, why)
        if not stop and (patch := reading.wrong_spec(manifest, why, self._clock())):
            self._writer.write_patch(key, manifest, patch)
        return _END_LOOKS

    def _write_end(self, key: Key, manifest: Manifest, why: str) -> float | None:
        patch = reading.ended(ROWS[key.kind].kind, manifest, why, self._clock())
        if not patch:
            return None
        patch = self._tell_end(manifest, patch)
        event = Event("Warning", Reason.INVALID_SPEC, cut(why, NOTE))
        try:
            return self._writer.write_patch(key, manifest, patch, (event,))
        except TooLargeError:
            # It is full to the brim. An end needs nothing that Jobs are built from.
            return self._writer.write_patch(key, manifest, patch | {"resolved": None}, (event,))

    def _tell_end(self, manifest: Manifest, patch: dict[str, Any]) -> dict[str, Any]:
        """What is written of the end, with whom that is told; a backfill tells of its runs."""
        metadata, now = manifest["metadata"], self._clock()
        if parent_of(manifest) is not None:
            return patch
        try:
            end = End(metadata["uid"], failed=True, succeeded=False, reason=Reason.INVALID_SPEC)
            messages = decide(end, self._runs.listeners_of(manifest), (), now)
            if not messages:
                return patch
            return add_notifications(patch, metadata["generation"], messages, now)
        except (ValidationError, AttributeError, KeyError, TypeError) as error:
            # It ends all the same: whatever is written there, the end is what counts.
            log.warning("nobody is told", name=metadata["name"], error=str(error))
            return patch
