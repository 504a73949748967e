"""Makes messages of manifests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dbt_notifier.messages import Message
from dbt_operator.api.kinds.backfill import DbtBackfill
from dbt_operator.api.kinds.run import DbtRun
from dbt_operator.api.kinds.schedule import DbtSchedule
from dbt_operator.api.parts.notify import Notification
from dbt_operator.api.registry import SCHEDULE
from dbt_operator.cluster.store import Store
from dbt_operator.observing.reader import identity_of
from dbt_operator.planning.common.manifests import schedule_of
from dbt_operator.planning.common.reading import UnreadableError, read
from dbt_operator.planning.notifying.composing import (
    Context,
    compose_backfill,
    compose_bare,
    compose_run,
    compose_schedule,
)

Manifest = Mapping[str, Any]

_NOTIFICATIONS = TypeAdapter(list[Notification])


def read_notifications(manifest: Manifest) -> list[Notification]:
    """The messages about an object. Of what cannot be read nothing is sent."""
    found = (manifest.get("status") or {}).get("notifications") or []
    try:
        return _NOTIFICATIONS.validate_python(found)
    except ValidationError:
        return []


def write_of_schedule(_: Store, manifest: Manifest, notification: Notification) -> Message:
    """The message about an occurrence of a schedule.

    Raises:
        UnreadableError: the models refuse the object.
    """
    return compose_schedule(read(DbtSchedule, manifest), identity_of(manifest), notification)


def write_of_backfill(store: Store, manifest: Manifest, notification: Notification) -> Message:
    """The message about the end of a backfill.

    Raises:
        UnreadableError: the models refuse the object.
    """
    backfill, identity = read(DbtBackfill, manifest), identity_of(manifest)
    return compose_backfill(backfill, identity, notification, _find_context(store, manifest))


def write_of_run(store: Store, manifest: Manifest, notification: Notification) -> Message:
    """The message about the end of a run.

    Raises:
        UnreadableError: the models refuse the object.
    """
    run, identity = read(DbtRun, manifest), identity_of(manifest)
    return compose_run(run, identity, notification, _find_context(store, manifest))


def write_bare(manifest: Manifest, notification: Notification) -> Message:
    """The message about an object that the models refuse."""
    return compose_bare(manifest, identity_of(manifest), notification)


def _find_context(store: Store, manifest: Manifest) -> Context | None:
    """The schedule that an object is of; what cannot be read of it is left out."""
    if (owner := schedule_of(manifest)) is None:
        return None
    name, uid = owner
    found = store.get(SCHEDULE.kind, manifest["metadata"]["namespace"], name)
    if found is None or found["metadata"]["uid"] != uid:
        return None
    try:
        return Context(identity_of(found), read(DbtSchedule, found))
    except UnreadableError:
        return None
