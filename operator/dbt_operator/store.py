"""What has been observed, fed by watches and by the operator's own writes.

A hint, not the truth: absence is confirmed live before anything is decided on it. Objects are kept by UID, so that an
object of the same name that was deleted and created anew is another one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from dbt_operator.api.status import Phase
from dbt_operator.planning.names import RUN_UID_LABEL
from dbt_operator.planning.observed import GONE

Manifest = Mapping[str, Any]


class Store:
    """Manifests by kind and UID, with the Jobs and pods of a run at hand. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, dict[str, Manifest]] = {}
        self._names: dict[tuple[str, str, str], str] = {}
        self._runs: dict[tuple[str, str], set[str]] = {}  # (kind, run's UID) -> UIDs
        self._unfinished: dict[tuple[str, str], set[str]] = {}  # (namespace, target) -> UIDs of runs

    def put(self, kind: str, manifest: Manifest) -> bool:
        """Keep an object unless a newer version of it is kept already. Whether anything changed."""
        metadata = manifest["metadata"]
        with self._lock:
            kept = self._objects.setdefault(kind, {}).get(metadata["uid"])
            if kept is not None and _version(kept) >= _version(manifest):
                return False
            self._objects[kind][metadata["uid"]] = _slim(manifest)
            name = (kind, metadata["namespace"], metadata["name"])
            namesake = self._objects[kind].get(self._names.get(name, ""))
            if namesake is None or _version(namesake) <= _version(manifest):  # else this one is gone, and heard of late
                self._names[name] = metadata["uid"]
            if run := _run_uid(manifest):
                self._runs.setdefault((kind, run), set()).add(metadata["uid"])
            if kind == "DbtRun":
                self._index(manifest)
            return True

    def _index(self, run: Manifest) -> None:
        target = (run["metadata"]["namespace"], run["spec"]["targetRef"]["name"])
        if _finished(run):
            self._unindex(run)
        else:
            self._unfinished.setdefault(target, set()).add(run["metadata"]["uid"])

    def _unindex(self, run: Manifest) -> None:
        target = (run["metadata"]["namespace"], run["spec"]["targetRef"]["name"])
        uids = self._unfinished.get(target, set())
        uids.discard(run["metadata"]["uid"])
        if not uids:
            self._unfinished.pop(target, None)

    def bury(self, kind: str, manifest: Manifest) -> None:
        """Keep the last state of an object that was deleted, until the next list: it may tell how a run has ended."""
        self.put(kind, {**manifest, GONE: True})

    def drop(self, kind: str, manifest: Manifest) -> None:
        """Forget an object."""
        with self._lock:
            self._drop(kind, manifest)

    def forget(self, kind: str, namespace: str, name: str) -> None:
        """Forget the object of a name."""
        manifest = self.get(kind, namespace, name)
        if manifest is not None:
            self.drop(kind, manifest)

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """The object of a name."""
        with self._lock:
            return self._objects.get(kind, {}).get(self._names.get((kind, namespace, name), ""))

    def of_run(self, kind: str, run_uid: str) -> list[Manifest]:
        """The Jobs or pods of a run."""
        with self._lock:
            return [self._objects[kind][uid] for uid in self._runs.get((kind, run_uid), ())]

    def unfinished(self, namespace: str, target: str) -> list[Manifest]:
        """The runs on a target that have not ended."""
        with self._lock:
            return [self._objects["DbtRun"][uid] for uid in self._unfinished.get((namespace, target), ())]

    def all(self, kind: str) -> list[Manifest]:
        """Every object of a kind."""
        with self._lock:
            return list(self._objects.get(kind, {}).values())

    def replace(
        self, kind: str, listed: Iterable[Manifest], version: str, namespace: str | None = None
    ) -> list[Manifest]:
        """Take over a list of all objects of a kind (in a namespace), as of a resource version; the objects dropped.

        Watches miss what is deleted between two of their lists, so what is missing from a list goes, unless it is
        younger than the list.
        """
        present = {manifest["metadata"]["uid"] for manifest in listed}
        for manifest in listed:
            self.put(kind, manifest)
        with self._lock:
            gone = [
                manifest
                for uid, manifest in self._objects.get(kind, {}).items()
                if uid not in present
                and _version(manifest) <= int(version)
                and namespace in (None, manifest["metadata"]["namespace"])
            ]
            for manifest in gone:
                self._drop(kind, manifest)
        return gone

    def _drop(self, kind: str, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        self._objects.get(kind, {}).pop(metadata["uid"], None)
        name = (kind, metadata["namespace"], metadata["name"])
        if self._names.get(name) == metadata["uid"]:
            del self._names[name]
        if kind == "DbtRun":
            self._unindex(manifest)
        if run := _run_uid(manifest):
            uids = self._runs.get((kind, run), set())
            uids.discard(metadata["uid"])
            if not uids:
                self._runs.pop((kind, run), None)


def _version(manifest: Manifest) -> int:
    """Resource versions of one kind can be compared: https://kubernetes.io/docs/reference/using-api/api-concepts/."""
    return int(manifest["metadata"]["resourceVersion"])


def _run_uid(manifest: Manifest) -> str:
    return str((manifest["metadata"].get("labels") or {}).get(RUN_UID_LABEL, ""))


def _finished(run: Manifest) -> bool:
    phase = run.get("status", {}).get("phase")
    return bool(phase) and Phase(phase).finished


def _slim(manifest: Manifest) -> Manifest:
    """Without what nobody here reads, and what is largest."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
    return {**manifest, "metadata": metadata}
