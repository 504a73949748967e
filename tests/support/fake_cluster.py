"""An API server in memory, for what a real one cannot do on demand: die between any two writes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from dbt_operator.cluster.errors import ConflictError, InvalidError, NotFoundError, translate_error
from dbt_operator.common.awaited_kinds import AwaitedKind
from dbt_operator.planning.common.durations import format_time
from dbt_operator.planning.common.names import ENDED_LABEL, HOLDER_LABEL, STOP, TARGET_LABEL
from dbt_operator.planning.common.plan import Event
from tests.support.builders import NOW

Manifest = dict[str, Any]
Answer = TypeVar("Answer")


class KilledError(BaseException):
    """The operator was killed. Not an Exception: nothing in the operator may catch it."""


class FakeCluster:
    """Has what :class:`dbt_operator.cluster.client.Cluster` has, as far as a reconciler uses it."""

    def __init__(self, *manifests: Manifest) -> None:
        self.objects: dict[tuple[str, str], Manifest] = {
            (m["kind"], m["metadata"]["name"]): m for m in manifests
        }
        self.pods: list[Manifest] = []
        self.created_jobs: list[str] = []
        self.created_runs: list[str] = []
        self.deleted_jobs: list[str] = []
        self.deleted_pods: list[str] = []
        self.events: list[Event] = []
        self.warning_events: tuple[str, ...] = ()
        self.log_line = ""
        self.log_lines: list[str] = []
        self.previous_log_lines: list[str] = []
        self.logs_read: list[tuple[str, str]] = []  # (pod, container)
        self.writes = 0
        self.before_write: Callable[[int], None] = lambda _: None
        self.after_write: Callable[[int], None] = lambda _: None
        self.clock: Callable[[], datetime] = lambda: NOW
        # Bytes of an object; etcd's answer to a larger one is that of the API server.
        self.largest = 1_500_000
        self.clock_offset = timedelta(0)
        self.awaited_kinds: dict[tuple[str, str], AwaitedKind] = {}
        self.refusal = ""  # what there is against creating runs
        self._version = 100

    def kill_at(self, number: int, *, after: bool) -> None:
        """Kill the operator at its write of a number, before or after that is done."""

        def kill(count: int) -> None:
            if count == number:
                raise KilledError

        if after:
            self.after_write = kill
        else:
            self.before_write = kill

    def _write(self, change: Callable[[], Answer]) -> Answer:
        self.writes += 1
        self.before_write(self.writes)
        result = copy.deepcopy(change())
        self.after_write(self.writes)
        return result

    def _weigh(self, manifest: Mapping[str, Any]) -> None:
        if len(json.dumps(manifest)) > self.largest:
            raise translate_error(
                500, "Internal Server Error", b'{"message": "etcdserver: request is too large"}'
            )

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)

    def get(self, kind: str, _namespace: str, name: str) -> Manifest:
        try:
            return copy.deepcopy(self.objects[kind, name])
        except KeyError:
            raise NotFoundError(name) from None

    def get_job(self, _namespace: str, name: str) -> Manifest | None:
        return copy.deepcopy(self.objects.get(("Job", name)))

    def find_awaited_kind(self, group: str, kind: str) -> AwaitedKind | None:
        return self.awaited_kinds.get((group, kind))

    def get_awaited(self, kind: AwaitedKind, _namespace: str, name: str) -> Manifest | None:
        return copy.deepcopy(self.objects.get((kind.kind, name)))

    def jobs_with_labels(self, _namespace: str, labels: str) -> Iterator[Manifest]:
        wanted = dict(pair.split("=") for pair in labels.split(","))
        for (kind, _), found in list(self.objects.items()):
            if kind == "Job" and _labels(found).items() >= wanted.items():
                yield copy.deepcopy(found)

    def pods_of_run(self, _namespace: str, run_uid: str) -> list[Manifest]:
        label = "dbt-operator.dev/run-uid"
        return [copy.deepcopy(pod) for pod in self.pods if _labels(pod).get(label) == run_uid]

    def unfinished_jobs_of_target(self, _namespace: str, target: str) -> list[Manifest]:
        jobs = [m for (kind, _), m in self.objects.items() if kind == "Job"]
        listed = [job for job in jobs if _is_of(target, job) and ENDED_LABEL not in _labels(job)]
        return [copy.deepcopy(job) for job in listed]

    def living_pods_of_target(self, _namespace: str, target: str) -> list[Manifest]:
        living = [pod for pod in self.pods if pod["status"]["phase"] not in ("Succeeded", "Failed")]
        return [copy.deepcopy(pod) for pod in living if _is_of(target, pod)]

    def list_warnings(self, _namespace: str, _uid: str) -> tuple[str, ...]:
        return self.warning_events

    def last_log_line(self, _namespace: str, pod: str, container: str) -> str:
        self.logs_read.append((pod, container))
        return self.log_line

    def last_log_lines(
        self, _namespace: str, pod: str, container: str, *, previous: bool = False
    ) -> list[str]:
        self.logs_read.append((pod, container))
        return self.previous_log_lines if previous else self.log_lines

    def create_job(self, manifest: Mapping[str, Any]) -> Manifest:
        def create() -> Manifest:
            self._weigh(manifest)
            name = manifest["metadata"]["name"]
            if ("Job", name) not in self.objects:
                job: Manifest = copy.deepcopy(dict(manifest))
                job["metadata"] |= {
                    "uid": f"uid-of-{name}-{len(self.created_jobs)}",
                    "resourceVersion": self._next_version(),
                    "creationTimestamp": format_time(self.clock()),
                }
                self.objects["Job", name] = job
                self.created_jobs.append(name)
            return self.objects["Job", name]

        return self._write(create)

    def delete_job(self, _namespace: str, name: str, uid: str) -> None:
        def delete() -> None:
            job = self.objects.get(("Job", name))
            if job is not None and job["metadata"]["uid"] == uid:
                del self.objects["Job", name]
                self.deleted_jobs.append(name)

        self._write(delete)

    def mark_job_ended(self, _namespace: str, name: str, uid: str) -> Manifest:
        def change() -> Manifest:
            job = self.objects.get(("Job", name))
            if job is None:
                raise NotFoundError(name)
            if job["metadata"]["uid"] != uid:
                raise InvalidError(name)
            job["metadata"]["labels"] = {**_labels(job), ENDED_LABEL: "true"}
            job["metadata"]["resourceVersion"] = self._next_version()
            return job

        return self._write(change)

    def delete_pod(self, _namespace: str, name: str, uid: str) -> None:
        def delete() -> None:
            for pod in self.pods:
                if pod["metadata"]["uid"] == uid:
                    pod["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:09Z"
                    self.deleted_pods.append(name)

        self._write(delete)

    def open_gate(self, _namespace: str, name: str, uid: str) -> Manifest:
        def change() -> Manifest:
            for pod in self.pods:
                if pod["metadata"]["uid"] == uid:
                    pod["spec"]["schedulingGates"] = []
                    pod["metadata"]["resourceVersion"] = self._next_version()
                    return pod
            raise NotFoundError(name)

        return self._write(change)

    def stop_pod(self, _namespace: str, name: str, uid: str) -> Manifest:
        def change() -> Manifest:
            for pod in self.pods:
                if pod["metadata"]["uid"] == uid:
                    pod["metadata"].setdefault("annotations", {})[STOP] = "true"
                    pod["metadata"]["resourceVersion"] = self._next_version()
                    return pod
            raise NotFoundError(name)

        return self._write(change)

    def create_run(self, manifest: Mapping[str, Any]) -> Manifest:
        def create() -> Manifest:
            if self.refusal:
                raise InvalidError(self.refusal)
            self._weigh(manifest)
            kind, name = manifest["kind"], manifest["metadata"]["name"]
            if (kind, name) not in self.objects:
                run: Manifest = copy.deepcopy(dict(manifest))
                run["metadata"] |= {
                    "uid": f"uid-of-{name}-{len(self.created_runs)}",
                    "generation": 1,
                    "resourceVersion": self._next_version(),
                    "creationTimestamp": format_time(self.clock()),
                }
                run["status"] = {"observedGeneration": -1}
                self.objects[kind, name] = run
                self.created_runs.append(name)
            return self.objects[kind, name]

        return self._write(create)

    def delete_run(self, kind: str, _namespace: str, name: str, uid: str) -> None:
        def delete() -> None:
            run = self.objects.get((kind, name))
            if run is not None and run["metadata"]["uid"] == uid:
                del self.objects[kind, name]

        self._write(delete)

    def patch_status(
        self, kind: str, manifest: Mapping[str, Any], patch: Mapping[str, Any]
    ) -> Manifest:
        def change() -> Manifest:
            stored = self.objects.get((kind, manifest["metadata"]["name"]))
            if stored is None:
                raise NotFoundError(manifest["metadata"]["name"])
            if stored["metadata"]["resourceVersion"] != manifest["metadata"]["resourceVersion"]:
                raise ConflictError("the object has been modified")
            changed = _merged(stored["status"], patch)
            if "conditions" in patch:
                _check_conditions(stored["metadata"]["generation"], changed)
            self._weigh(stored | {"status": changed})
            stored["status"] = changed
            stored["metadata"]["resourceVersion"] = self._next_version()
            return stored

        return self._write(change)

    def post_event(self, _kind: str, _manifest: Mapping[str, Any], event: Event) -> None:
        self.events.append(event)


def _labels(manifest: Manifest) -> dict[str, str]:
    found: dict[str, str] = manifest["metadata"].get("labels") or {}
    return found


def _is_of(target: str, part: Manifest) -> bool:
    """What a selector of labels finds."""
    return _labels(part).get(TARGET_LABEL) == target and HOLDER_LABEL in _labels(part)


def _check_conditions(generation: int, status: Mapping[str, Any]) -> None:
    """Whoever reads conditions, such as kstatus, finds one answer, and knows what it is about."""
    kinds = ("Ready", "Reconciling", "Stalled")
    found = {each["type"]: each for each in status["conditions"]}
    true = [kind for kind in kinds if found[kind]["status"] == "True"]
    assert len(true) == 1, (true, status)
    assert found[true[0]]["observedGeneration"] == generation, status
    assert status["observedGeneration"] == generation, status


def _merged(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7386."""
    merged = dict(old)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            base = merged.get(key)
            merged[key] = _merged(base if isinstance(base, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged
