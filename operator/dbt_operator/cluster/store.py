"""What has been observed, fed by watches and by the operator's own writes.

A hint, not the truth: absence is confirmed live before anything is decided on it. Objects are kept
by UID, so that an object of the same name that was deleted and created anew is another one. Of runs
that have ended little is kept, and nothing of their Jobs and pods once these have ended too.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import structlog

from dbt_operator.api.registry import BY_NAME, RUN
from dbt_operator.cluster.projection import Projection, has_ended, is_notifying
from dbt_operator.planning.attempt.pod_facts import GONE, foreign, job_facts, pod_facts
from dbt_operator.planning.common.manifests import (
    controller_uid,
    find_awaited,
    work,
)
from dbt_operator.planning.common.names import RUN_UID_LABEL
from dbt_operator.planning.queueing.ranking import Ranking, TargetQueue

Manifest = Mapping[str, Any]
Kept = Manifest | Projection

log = structlog.get_logger()

PARTS = ("Job", "Pod")


class Store:
    """Manifests by kind and UID, with the Jobs and pods of a run at hand. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, dict[str, Kept]] = {}
        self._names: dict[tuple[str, str, str], str] = {}
        # (kind, run's UID) -> UIDs of Jobs or pods
        self._parts: dict[tuple[str, str], set[str]] = {}
        # (namespace, target) -> kinds by UID
        self._unfinished: dict[tuple[str, str], dict[str, str]] = {}
        self._queues: dict[tuple[str, str], TargetQueue] = {}  # of the same
        # UID of an owner -> kinds by UID of what it owns that has not ended
        self._children: dict[str, dict[str, str]] = {}
        # (namespace, kind, name) of what is waited for -> kinds by UID of who waits; see
        # find_awaited
        self._waiting: dict[tuple[str, str, str], dict[str, str]] = {}
        # UID of who waits -> keys of the above
        self._awaited: dict[str, set[tuple[str, str, str]]] = {}
        # UID of an owner -> kinds by UID of what it owns that has ended
        self._ended: dict[str, dict[str, str]] = {}

    def put(self, kind: str, manifest: Manifest) -> bool:
        """Keep an object unless a newer version of it is kept already. Whether anything changed.

        A Job or pod that is not a run's, whatever its labels say, is not kept: this is the door for
        all that is watched, listed and written.
        """
        metadata = manifest["metadata"]
        if kind in PARTS and (why := foreign(kind, manifest)):
            log.debug(
                "not ours",
                kind=kind,
                namespace=metadata["namespace"],
                name=metadata["name"],
                why=why,
            )
            with self._lock:
                kept = self._objects.get(kind, {}).get(metadata["uid"])
                if kept is not None and _version(kept) < _version(manifest):
                    self._drop(kind, manifest)  # it was ours, until somebody changed it
            return False
        manifest = {**manifest, "kind": kind}
        with self._lock:
            kept = self._objects.setdefault(kind, {}).get(metadata["uid"])
            name = (kind, metadata["namespace"], metadata["name"])
            namesake = self._objects[kind].get(self._names.get(name, ""))
            if namesake is None or _version(namesake) <= _version(
                manifest
            ):  # else this one is gone, and heard of late
                self._names[name] = metadata["uid"]
            if kept is not None and _version(kept) >= _version(manifest):
                return False
            if self._is_past(kind, manifest):
                self._drop(kind, manifest)
                return True
            is_projected = _is_projected(kind) and has_ended(manifest)
            self._objects[kind][metadata["uid"]] = (
                Projection.of(manifest) if is_projected else _slim(manifest)
            )
            if kept is not None and kind in PARTS:
                self._forget_part(kind, kept)  # somebody may have changed its labels
            if run := _run_uid(manifest):
                self._parts.setdefault((kind, run), set()).add(metadata["uid"])
            if _has_work(kind):
                self._index(manifest)
            if _has_triggers(kind):
                self._index_awaited(manifest)
            return True

    def bury(self, kind: str, manifest: Manifest) -> None:
        """Keep the last state of an object that was deleted, until the next list: it may tell how a
        run has ended.
        """
        self.put(kind, {**manifest, GONE: True})

    def drop(self, kind: str, manifest: Manifest) -> None:
        """Forget an object."""
        with self._lock:
            self._drop(kind, manifest)

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """The object of a name."""
        with self._lock:
            found = self._objects.get(kind, {}).get(self._names.get((kind, namespace, name), ""))
        return None if found is None else _manifest(found)

    def of_run(self, kind: str, run_uid: str) -> list[Manifest]:
        """The Jobs or pods of a run."""
        with self._lock:
            return [
                _manifest(self._objects[kind][uid]) for uid in self._parts.get((kind, run_uid), ())
            ]

    def unfinished(self, namespace: str, target: str) -> list[Manifest]:
        """The runs and backfills on a target that have not ended."""
        with self._lock:
            found = self._unfinished.get((namespace, target), {}).items()
            return [_manifest(self._objects[kind][uid]) for uid, kind in found]

    def rank(self, namespace: str, target: str, now: datetime) -> Ranking:
        """Who claims a slot of a target, in their order."""
        with self._lock:
            queue = self._queues.get((namespace, target))
            return queue.rank(now) if queue is not None else Ranking()

    def all_unfinished(self, namespace: str | None = None) -> list[Manifest]:
        """The runs and backfills of a namespace, or of all, that have not ended."""
        with self._lock:
            targets = [
                kinds
                for (where, _), kinds in self._unfinished.items()
                if namespace in (None, where)
            ]
            return [
                _manifest(self._objects[kind][uid])
                for kinds in targets
                for uid, kind in kinds.items()
            ]

    def waiting_for(self, kind: str, namespace: str, name: str) -> list[Manifest]:
        """The runs that wait for an object before they begin, and the schedules that follow on it;
        without a name, those that know by labels what they wait for.
        """
        with self._lock:
            found = self._waiting.get((namespace, kind, name), {}).items()
            return [_manifest(self._objects[kind][uid]) for uid, kind in found]

    def namespaces_waiting_for(self, kind: str) -> set[str]:
        """The namespaces in which a run waits for some object of a kind, or a schedule follows on
        one.
        """
        with self._lock:
            return {namespace for namespace, awaited, _ in self._waiting if awaited == kind}

    def unfinished_children(self, owner_uid: str) -> list[Manifest]:
        """The runs that say they are part of a backfill and have not ended."""
        with self._lock:
            return [
                _manifest(self._objects[kind][uid])
                for uid, kind in self._children.get(owner_uid, {}).items()
            ]

    def ended_children(self, owner_uid: str) -> list[Manifest]:
        """The runs and backfills that say they are of somebody and have ended: of runs, what little
        is kept of them.
        """
        with self._lock:
            return [
                _manifest(self._objects[kind][uid])
                for uid, kind in self._ended.get(owner_uid, {}).items()
            ]

    def all(self, kind: str) -> list[Manifest]:
        """Every object of a kind."""
        with self._lock:
            found = list(self._objects.get(kind, {}).values())
        return [_manifest(kept) for kept in found]

    def find_notifying(self) -> list[Manifest]:
        """The objects that somebody is still to be told of."""
        with self._lock:
            kinds = [kind for kind in self._objects if kind in BY_NAME]
            found = [kept for kind in kinds for kept in self._objects[kind].values()]
        return [_manifest(kept) for kept in found if _is_notifying(kept)]

    def retain(
        self, kind: str, present: Collection[str], version: str, namespace: str | None = None
    ) -> list[Manifest]:
        """Drop what is missing from a list of the UIDs of a kind (in a namespace) as of a version;
        what was dropped.

        Watches miss what is deleted between two of their lists, so what is missing from a list
        goes, unless it is younger than the list.
        """
        with self._lock:
            gone = [
                _manifest(kept)
                for uid, kept in self._objects.get(kind, {}).items()
                if uid not in present
                and _version(kept) <= int(version)
                and namespace in (None, _namespace(kept))
            ]
            for manifest in gone:
                self._drop(kind, manifest)
        return gone

    def _index(self, run: Manifest) -> None:
        kind, uid = run["kind"], run["metadata"]["uid"]
        if has_ended(run):
            self._unindex(run)
            self._drop_parts(run)
            if owner := controller_uid(run):
                self._ended.setdefault(owner, {})[uid] = kind
            return
        target = _target(run)
        self._unfinished.setdefault(target, {})[uid] = kind
        self._queues.setdefault(target, TargetQueue()).put(_manifest(self._objects[kind][uid]))
        if owner := controller_uid(run):
            self._children.setdefault(owner, {})[uid] = kind
        self._index_awaited(run)

    def _index_awaited(self, manifest: Manifest) -> None:
        uid = manifest["metadata"]["uid"]
        self._forget_awaited(uid)
        for awaited in find_awaited(manifest):
            key = (manifest["metadata"]["namespace"], *awaited)
            self._waiting.setdefault(key, {})[uid] = manifest["kind"]
            self._awaited.setdefault(uid, set()).add(key)

    def _forget_awaited(self, uid: str) -> None:
        for key in self._awaited.pop(uid, ()):
            del self._waiting[key][uid]
            if not self._waiting[key]:
                del self._waiting[key]

    def _drop_parts(self, run: Manifest) -> None:
        for kind in ("Job", "Pod"):
            for uid in list(self._parts.get((kind, run["metadata"]["uid"]), ())):
                part = _manifest(self._objects[kind][uid])
                if self._is_past(kind, part):
                    self._drop(kind, part)

    def _unindex(self, run: Manifest) -> None:
        uid, target = run["metadata"]["uid"], _target(run)
        kinds = self._unfinished.get(target, {})
        kinds.pop(uid, None)
        if target in self._queues:
            self._queues[target].drop(uid)
        if not kinds:
            self._unfinished.pop(target, None)
            self._queues.pop(target, None)
        self._forget_awaited(uid)
        for owner in [owner for owner, owned in self._children.items() if uid in owned]:
            del self._children[owner][uid]
            if not self._children[owner]:
                del self._children[owner]

    def _is_past(self, kind: str, manifest: Manifest) -> bool:
        """Whether an object is a Job or pod that has ended, of a run that has ended, and nothing is
        to be done about it.
        """
        run = _run_uid(manifest)
        if not run or not isinstance(self._objects.get(RUN.kind, {}).get(run), Projection):
            return False
        if kind == "Pod":
            return pod_facts(manifest).ended
        job = job_facts(manifest)
        return job.ended and not job.is_to_be_marked

    def _drop(self, kind: str, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        kept = self._objects.get(kind, {}).pop(metadata["uid"], None)
        name = (kind, metadata["namespace"], metadata["name"])
        if self._names.get(name) == metadata["uid"]:
            del self._names[name]
        if _has_triggers(kind):
            self._forget_awaited(metadata["uid"])
        if kept is not None:
            self._forget_ended(metadata["uid"], _owner(kept))
        if _has_work(kind):
            self._unindex({**manifest, "kind": kind})
        if kept is not None and kind in PARTS:
            self._forget_part(kind, kept)

    def _forget_ended(self, uid: str, owner: str) -> None:
        kinds = self._ended.get(owner, {})
        kinds.pop(uid, None)
        if not kinds:
            self._ended.pop(owner, None)

    def _forget_part(self, kind: str, kept: Kept) -> None:
        """Take a Job or pod from those of its run, as it was kept."""
        manifest = _manifest(kept)
        key = (kind, _run_uid(manifest))
        uids = self._parts.get(key, set())
        uids.discard(manifest["metadata"]["uid"])
        if not uids:
            self._parts.pop(key, None)


def _has_work(kind: str) -> bool:
    """Whether objects of a kind work on a target, and may hold a slot of it."""
    return kind in BY_NAME and BY_NAME[kind].work is not None


def _has_triggers(kind: str) -> bool:
    return kind in BY_NAME and BY_NAME[kind].has_triggers


def _is_projected(kind: str) -> bool:
    return kind in BY_NAME and BY_NAME[kind].is_projected


def _manifest(kept: Kept) -> Manifest:
    return kept.manifest() if isinstance(kept, Projection) else kept


def _version(kept: Kept) -> int:
    """Resource versions of one kind can be compared:
    https://kubernetes.io/docs/reference/using-api/api-concepts/.
    """
    return (
        kept.version if isinstance(kept, Projection) else int(kept["metadata"]["resourceVersion"])
    )


def _namespace(kept: Kept) -> str:
    return kept.namespace if isinstance(kept, Projection) else str(kept["metadata"]["namespace"])


def _is_notifying(kept: Kept) -> bool:
    return kept.notifying if isinstance(kept, Projection) else is_notifying(kept)


def _owner(kept: Kept) -> str:
    return kept.owner if isinstance(kept, Projection) else controller_uid(kept)


def _target(run: Manifest) -> tuple[str, str]:
    return run["metadata"]["namespace"], work(run)["targetRef"]["name"]


def _run_uid(manifest: Manifest) -> str:
    return str((manifest["metadata"].get("labels") or {}).get(RUN_UID_LABEL, ""))


def _slim(manifest: Manifest) -> Manifest:
    """Without what nobody here reads, and what is largest."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
    return {**manifest, "metadata": metadata}
