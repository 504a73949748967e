"""Several operators on one API server in memory, each of which can be stopped before any of its
requests.

An operator is a thread that runs only while it is stepped: from one request to the next. So a test
decides in which order requests arrive, how old the knowledge behind each is, and what happens in
between.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from dbt_operator.cluster.errors import ClusterError
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.planning.common.names import RUN_LABEL, SLOT_GATE
from dbt_operator.reconcile.loop import Reconciler
from tests.support.builders import (
    NOW,
    ended_status,
    pod_manifest,
    project,
    run,
    running_status,
    target,
)
from tests.support.fake_cluster import FakeCluster, Manifest

NAMESPACE = "analytics"
_MANY = 500  # requests
READS = (
    "get",
    "get_job",
    "pods_of_run",
    "unfinished_jobs_of_target",
    "living_pods_of_target",
    "list_warnings",
)
WRITES = (
    "create_job",
    "create_run",
    "delete_job",
    "mark_job_ended",
    "delete_pod",
    "delete_run",
    "patch_status",
    "open_gate",
    "stop_pod",
)


class Server(FakeCluster):
    """With a Job controller, a garbage collector and a kubelet that work when they are told to."""

    def delete_job(self, _namespace: str, name: str, uid: str) -> None:
        def delete() -> None:
            job = self.objects.get(("Job", name))
            if job is not None and job["metadata"]["uid"] == uid:
                self._delete(job)

        self._write(delete)

    def _delete(self, job: Manifest) -> None:
        """In the foreground: pods first. One that no node has is gone at once."""
        job["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:09Z"
        self.touch(job)
        self.pods = [
            pod
            for pod in self.pods
            if not (self._owner(pod) == job["metadata"]["uid"] and not started(pod))
        ]

    def control_jobs(self) -> None:
        """Every Job gets its one pod, and those that are being deleted go once their pods have
        ended.
        """
        for (kind, name), job in list(self.objects.items()):
            if kind != "Job":
                continue
            uid = job["metadata"]["uid"]
            pods = [pod for pod in self.pods if self._owner(pod) == uid]
            if "deletionTimestamp" in job["metadata"]:
                if not any(lives(pod) for pod in pods):
                    del self.objects[kind, name]
            elif not pods:
                pod = pod_manifest(job, {"phase": "Pending"}, f"pod-of-{uid}")
                pod["spec"] = copy.deepcopy(job["spec"]["template"]["spec"])
                self.pods.append(self.touch(pod))
            elif not any(lives(pod) for pod in pods) and "status" not in job:
                ended = "Complete" if pods[0]["status"]["phase"] == "Succeeded" else "Failed"
                job["status"] = {"conditions": [{"type": ended, "status": "True"}]}
                self.touch(job)

    def collect_garbage(self) -> None:
        """Jobs whose run is gone."""
        runs = {m["metadata"]["uid"] for (kind, _), m in self.objects.items() if kind == "DbtRun"}
        for (kind, _), job in list(self.objects.items()):
            if kind == "Job" and job["metadata"]["ownerReferences"][0]["uid"] not in runs:
                self._delete(job)

    def start_pods(self) -> None:
        """The scheduler and the kubelet: what stands behind no gate runs."""
        for pod in self.pods:
            if pod["status"]["phase"] == "Pending" and not behind_gate(pod):
                pod["status"] = running_status()
                self.touch(pod)

    def end_pods(self) -> None:
        for pod in self.pods:
            if pod["status"]["phase"] == "Running":
                pod["status"] = ended_status()
                self.touch(pod)

    def recreate_target(self) -> None:
        """Deleted and created anew: its status is lost."""
        fresh = target(**self.objects["DbtTarget", "prod"]["spec"])
        fresh["metadata"]["uid"] = f"uid-of-target-{self._version}"
        self.objects["DbtTarget", "prod"] = self.touch(fresh)

    def touch(self, manifest: Manifest) -> Manifest:
        manifest["metadata"]["resourceVersion"] = self._next_version()
        return manifest

    @staticmethod
    def _owner(pod: Manifest) -> str:
        return str(pod["metadata"]["ownerReferences"][0]["uid"])


def behind_gate(pod: Manifest) -> bool:
    return any(gate["name"] == SLOT_GATE for gate in pod["spec"].get("schedulingGates") or ())


def started(pod: Manifest) -> bool:
    return bool(pod["status"]["phase"] != "Pending")


def lives(pod: Manifest) -> bool:
    return pod["status"]["phase"] in ("Pending", "Running")


class StoppedError(BaseException):
    """The operator is to end here."""


class Operator:
    """An operator, which goes on to its next request when it is stepped."""

    def __init__(self, server: Server, clock: Callable[[], datetime]) -> None:
        self._server = server
        self.store = Store()
        self.keys: list[Key] = []
        self._go, self._waits = threading.Semaphore(0), threading.Semaphore(0)
        self._stopped = False
        self._idle = True
        self.next = ""  # the request that it is stopped before
        self.done: list[tuple[Key, object]] = []
        self.broken: BaseException | None = None
        self._reconciler = Reconciler(self, self.store, "runner:1", clock, self.keys.append)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        self._waits.acquire()

    def __getattr__(self, name: str) -> Callable[..., object]:
        """The cluster, as the reconciler sees it: every request waits for its step."""
        if name not in (*READS, *WRITES, "post_event", "last_log_line", "last_log_lines"):
            raise AttributeError(name)
        method = getattr(self._server, name)

        def request(*arguments: object, **named: object) -> object:
            self.next = name
            self._pause()
            self.next = ""
            return method(*arguments, **named)

        return request

    def _pause(self) -> None:
        self._waits.release()
        self._go.acquire()
        if self._stopped:
            raise StoppedError

    def _work(self) -> None:
        try:
            while True:
                self._pause()
                if self.keys:
                    self._reconcile(self.keys.pop(0))
        except StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001 -- the test's thread raises it
            self.broken = error
        self._waits.release()

    def _reconcile(self, key: Key) -> None:
        self._idle = False
        try:
            again = self._reconciler.reconcile(key)
            self.done.append((key, again))
            if again == 0.0:
                self.keys.append(key)
        except ClusterError as error:
            self.done.append((key, error))
            self.keys.append(key)
        self._idle = True

    def step(self) -> None:
        """Up to the next request."""
        if self.broken is None:
            self._go.release()
            self._waits.acquire()
        if self.broken is not None:
            raise self.broken

    def step_until(self, request: str) -> None:
        """Until the next thing that it would do is a request of that name."""
        for _ in range(_MANY):
            if self.next == request:
                return
            self.step()
        raise AssertionError(f"it sends no {request}")

    @property
    def at_rest(self) -> bool:
        """Whether there is nothing to do."""
        return not self.keys and self._idle

    def rest(self) -> None:
        """Step until there is nothing to do."""
        for _ in range(_MANY):
            if self.at_rest:
                return
            self.step()
        raise AssertionError(f"does not come to rest: {self.done[-20:]}")

    def stop(self) -> None:
        self._stopped = True
        self._go.release()
        self._thread.join()

    def hear(self, *kinds: str) -> None:
        """The watches of some kinds deliver all that has happened."""
        for kind in kinds:
            manifests = [m for (k, _), m in self._server.objects.items() if k == kind]
            manifests = self._server.pods if kind == "Pod" else manifests
            uids = {m["metadata"]["uid"] for m in manifests}
            for known in self.store.all(kind):
                if known["metadata"]["uid"] not in uids:
                    self.store.drop(kind, known)
            for manifest in manifests:
                self.store.put(kind, copy.deepcopy(manifest))
        for key in (
            *self._known("DbtRun"),
            *self._known("DbtBackfill"),
            Key("DbtTarget", NAMESPACE, "prod"),
        ):
            if key not in self.keys:
                self.keys.append(key)

    def _known(self, kind: str) -> list[Key]:
        return [Key(kind, NAMESPACE, found["metadata"]["name"]) for found in self.store.all(kind)]


EVERYTHING = ("DbtTarget", "DbtProject", "DbtBackfill", "DbtRun", "Job", "Pod")


class World:
    """Runs on one target, and who works on them."""

    def __init__(self, runs: int, operators: int, limit: int = 1, **spec: Any) -> None:
        self.limit = limit
        self.now = NOW
        manifests = [self._run(number, spec) for number in range(runs)]
        self.server = Server(project(), target(maxConcurrentRuns=limit), *manifests)
        self.server.clock = lambda: self.now
        self.server.after_write = lambda _: self.check()
        self.operators = [Operator(self.server, lambda: self.now) for _ in range(operators)]
        for operator in self.operators:
            operator.hear(*EVERYTHING)

    @staticmethod
    def _run(number: int, spec: dict[str, Any]) -> Manifest:
        manifest = run(**spec)
        manifest["metadata"] |= {
            "name": f"run-{number}",
            "uid": f"{number}{number}{number}{number}-of-a-run",
        }
        return manifest

    def check(self) -> None:
        """Never more than the limit, at any version."""
        holders = self.server.objects["DbtTarget", "prod"]["status"].get("holders") or []
        assert len(holders) <= self.limit
        assert len(self.at_work()) <= self.limit, self.at_work()

    def at_work(self) -> list[str]:
        """The runs whose pods are at work."""
        working = [pod for pod in self.server.pods if lives(pod) and not behind_gate(pod)]
        return [pod["metadata"]["labels"][RUN_LABEL] for pod in working]

    def cluster(self) -> None:
        """The Job controller, the scheduler and the garbage collector do what there is to be
        done.
        """
        self.server.collect_garbage()
        self.server.control_jobs()
        self.server.start_pods()
        self.check()

    def settle(self, rounds: int = 60) -> None:
        """Everybody hears everything and works until all runs have ended."""
        for _ in range(rounds):
            self.now += timedelta(seconds=61)
            for operator in self.operators:
                operator.hear(*EVERYTHING)
                operator.rest()
            self.cluster()
            self.server.end_pods()
            if all(
                phase in ("Succeeded", "Cancelled", "Failed") for phase in self.phases().values()
            ):
                return
        raise AssertionError(
            f"stuck: {self.phases()}, {self.server.objects['DbtTarget', 'prod']['status']}"
        )

    def phases(self) -> dict[str, str]:
        found = {name: m for (kind, name), m in self.server.objects.items() if kind == "DbtRun"}
        return {name: manifest["status"].get("phase", "") for name, manifest in found.items()}

    def stop(self) -> None:
        for operator in self.operators:
            operator.stop()
