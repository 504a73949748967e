"""A node without a machine: the scheduler gives it pods, and a thread here reports that they run
and have ended.

API server, Job controller and scheduler are real. So a thousand runs fit on a laptop, and a test
decides how each pod ends, or that its node falls silent.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import kubernetes
import urllib3

from dbt_protocol.paths import DBT_CONTAINER
from dbt_protocol.plans import PLAN_VARIABLE, RunPlan
from dbt_protocol.summaries import Nodes, Summary, UploadSummary
from dbt_protocol.window_codes import SUCCEEDED, code_of
from tests.support.kube import PATIENCE

Manifest = Mapping[str, Any]

LABEL = "dbt-operator.dev/fake-node"
_HEARTBEAT = 10.0  # seconds
_WORKERS = 4
_LEASES = "kube-node-lease"
_GONE = (404, 409)  # the pod was deleted meanwhile, or its status was written by another


@dataclass(frozen=True)
class End:
    """How a pod ends."""

    after: float = 0.0  # seconds after its start
    until: threading.Event | None = None  # not before somebody says so
    reason: str = ""  # of the run; empty: it succeeds
    message: str = "3 nodes"
    never: bool = False  # until it is deleted
    waiting: str = (
        ""  # why its container does not start, until it is deleted: ImagePullBackOff and the like
    )
    out_of_memory: bool = False  # the kernel kills its container
    silent: bool = False  # nor then: its node does not answer

    @property
    def code(self) -> int:
        """Exit code of the dbt container."""
        return 137 if self.out_of_memory else 1 if self.reason else 0


@dataclass
class Life:
    """What a pod went through, in seconds of a clock that only goes forward."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    started: float
    ended: float | None = None


def always(_: Manifest) -> End:
    """Every pod succeeds at once."""
    return End()


class FakeNode:
    """A node of the cluster. Use :func:`fake_node`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.decide: Callable[[Manifest], End] = always
        self.lives: dict[str, Life] = {}  # by UID of the pod
        self._client = client = kubernetes.config.new_client_from_config()
        client.configuration.connection_pool_maxsize = _WORKERS + 2
        self._core = kubernetes.client.CoreV1Api(client)
        self._leases = kubernetes.client.CoordinationV1Api(client)
        self._stopped = threading.Event()
        self._watching = kubernetes.watch.Watch()
        self._due = threading.Condition()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._pool = ThreadPoolExecutor(_WORKERS)
        self._silent = threading.Event()
        self._ending: set[str] = set()  # UIDs of pods whose end is decided
        self._threads = [
            threading.Thread(target=f, daemon=True)
            for f in (self._watch, self._beat, self._clockwork)
        ]

    @property
    def pod(self) -> dict[str, Any]:
        """What a DbtProject's ``pod`` says to have its pods here."""
        toleration = {"key": LABEL, "operator": "Equal", "value": self.name, "effect": "NoSchedule"}
        small = {"requests": {"cpu": "1m", "memory": "1Mi"}}
        return {"nodeSelector": {LABEL: self.name}, "tolerations": [toleration], "resources": small}

    def start(self) -> None:
        self._core.create_node(self._node())
        self._core.patch_node_status(self.name, {"status": self._status()})
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        with self._due:
            self._due.notify()
        self._watching.stop()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.remove()
        self._client.rest_client.pool_manager.clear()

    def fall_silent(self) -> None:
        """From now on it says nothing and ends nothing, although its pods may be at work."""
        self._silent.set()

    def remove(self) -> None:
        """Remove the node from the cluster; the pod garbage collector takes what it had."""
        with suppress(kubernetes.client.ApiException):
            self._core.delete_node(self.name)

    # The node

    def _node(self) -> dict[str, Any]:
        taint = {"key": LABEL, "value": self.name, "effect": "NoSchedule"}
        metadata = {"name": self.name, "labels": {LABEL: self.name, "kubernetes.io/os": "linux"}}
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": metadata,
            "spec": {"taints": [taint]},
        }

    def _status(self) -> dict[str, Any]:
        room = {"cpu": "1000", "memory": "1000Gi", "ephemeral-storage": "1000Gi", "pods": "20000"}
        ready = {"type": "Ready", "status": "True", "reason": "Fake", "lastHeartbeatTime": _now()}
        return {"capacity": room, "allocatable": room, "conditions": [ready]}

    def _beat(self) -> None:
        lease = {
            "metadata": {"name": self.name, "namespace": _LEASES},
            "spec": {"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": _now()},
        }
        with suppress(kubernetes.client.ApiException):
            self._leases.create_namespaced_lease(_LEASES, lease)
        while not self._stopped.wait(_HEARTBEAT) and not self._silent.is_set():
            with suppress(kubernetes.client.ApiException, urllib3.exceptions.HTTPError, OSError):
                self._leases.patch_namespaced_lease(
                    self.name, _LEASES, {"spec": {"renewTime": _now()}}
                )

    # Its pods

    def _watch(self) -> None:
        while not self._stopped.is_set():
            with suppress(kubernetes.client.ApiException, urllib3.exceptions.HTTPError, OSError):
                self._follow()

    def _follow(self) -> None:
        selection = {"field_selector": f"spec.nodeName={self.name}", "timeout_seconds": 60}
        for event in self._watching.stream(self._core.list_pod_for_all_namespaces, **selection):
            if self._stopped.is_set():
                return
            pod = event["raw_object"]
            if event["type"] == "DELETED":
                self._ended(pod["metadata"]["uid"])
            elif not self._silent.is_set() and event["type"] in ("ADDED", "MODIFIED"):
                self._look(pod)

    def _look(self, pod: Manifest) -> None:
        metadata, uid = pod["metadata"], pod["metadata"]["uid"]
        if uid not in self.lives:
            self.lives[uid] = Life(
                metadata["namespace"], metadata["name"], metadata["labels"], time.monotonic()
            )
            self._begin(pod)
        elif (
            metadata.get("deletionTimestamp")
            and uid not in self._ending
            and not self.decide(pod).silent
        ):
            self._ending.add(uid)
            self._pool.submit(self._kill, pod)

    def _begin(self, pod: Manifest) -> None:
        uid, end = pod["metadata"]["uid"], self.decide(pod)
        if end.waiting:
            self._pool.submit(self._report, pod, _waiting(end))
        elif end.never or end.silent:
            self._pool.submit(self._report, pod, _running())
        elif end.until is not None:
            self._pool.submit(self._report, pod, _running())
            threading.Thread(
                target=self._finish_when, args=(end.until, pod, end), daemon=True
            ).start()
        elif end.after > 0:
            self._pool.submit(self._report, pod, _running())
            self._call_later(end.after, lambda: self._finish(pod, end))
        else:
            self._ending.add(uid)
            self._pool.submit(self._finish, pod, end)

    def _finish_when(self, said: threading.Event, pod: Manifest, end: End) -> None:
        said.wait()
        self._finish(pod, end)

    def _finish(self, pod: Manifest, end: End) -> None:
        if self._silent.is_set():
            return
        self._ending.add(pod["metadata"]["uid"])
        self._ended(pod["metadata"]["uid"])  # who hears of it acts at once, so this comes first
        self._report(pod, _ended(end, pod))

    def _kill(self, pod: Manifest) -> None:
        """As a kubelet ends a pod that is being deleted: its containers, then the object."""
        metadata = pod["metadata"]
        self._ended(metadata["uid"])
        if self.decide(pod).waiting:
            self._report(pod, {"phase": "Failed"})
        elif pod["status"].get("phase") not in ("Succeeded", "Failed"):
            self._report(pod, _ended(End(reason="Cancelled", message="dbt was interrupted"), pod))
        self._sent(
            lambda: self._core.delete_namespaced_pod(
                metadata["name"], metadata["namespace"], body=_AT_ONCE
            )
        )

    def _ended(self, uid: str) -> None:
        life = self.lives.get(uid)
        if life is not None and life.ended is None:
            life.ended = time.monotonic()

    def _report(self, pod: Manifest, status: Manifest) -> None:
        metadata = pod["metadata"]
        body = {"metadata": {"uid": metadata["uid"]}, "status": status}
        self._sent(
            lambda: self._core.patch_namespaced_pod_status(
                metadata["name"], metadata["namespace"], body
            )
        )

    def _sent(self, request: Callable[[], object]) -> None:
        """Send a request until it is answered."""
        while not self._stopped.is_set():
            try:
                request()
            except kubernetes.client.ApiException as error:
                if error.status not in _GONE:
                    self._stopped.wait(0.5)
                    continue
            except (urllib3.exceptions.HTTPError, OSError):
                self._stopped.wait(0.5)
                continue
            return

    # Time

    def _call_later(self, seconds: float, call: Callable[[], None]) -> None:
        with self._due:
            heapq.heappush(self._later, (time.monotonic() + seconds, next(self._numbers), call))
            self._due.notify()

    def _clockwork(self) -> None:
        while not self._stopped.is_set():
            with self._due:
                wait = self._later[0][0] - time.monotonic() if self._later else None
                if wait is None or wait > 0:
                    self._due.wait(wait)
                    continue
                _, _, call = heapq.heappop(self._later)
            self._pool.submit(call)


@contextmanager
def fake_node(name: str) -> Iterator[FakeNode]:
    """A node of a name of its own, for as long as it is needed."""
    node = FakeNode(name)
    node.start()
    try:
        yield node
    finally:
        node.stop()


_AT_ONCE = {"gracePeriodSeconds": 0}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _seconds() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _running() -> dict[str, Any]:
    running = {"running": {"startedAt": _seconds()}}
    return {
        "phase": "Running",
        "startTime": _seconds(),
        "initContainerStatuses": [
            _terminated("prepare", 0, "{}"),
            _container("artifacts", running),
        ],
        "containerStatuses": [_container("dbt", running)],
    }


def _waiting(end: End) -> dict[str, Any]:
    waiting = {"waiting": {"reason": end.waiting, "message": end.message}}
    return {
        "phase": "Pending",
        "startTime": _seconds(),
        "initContainerStatuses": [_container("prepare", waiting)],
    }


def _windows(pod: Manifest, reason: str) -> str:
    """How the windows of a pod stand at its end: all alike. A pod that is nobody's run has none."""
    environments = (
        c.get("env", ()) for c in pod["spec"]["containers"] if c["name"] == DBT_CONTAINER
    )
    plans = [each["value"] for each in next(environments, ()) if each["name"] == PLAN_VARIABLE]
    count = len(RunPlan.from_json(plans[0].replace("$$", "$")).windows) if plans else 0
    return (code_of(reason) if reason else SUCCEEDED) * count


def _ended(end: End, pod: Manifest) -> dict[str, Any]:
    nodes = Nodes(total=3, success=3) if not end.reason else Nodes(total=3, success=2, error=1)
    windows = _windows(pod, end.reason)
    summary = Summary(
        reason=end.reason,
        message=end.message,
        dbt_version="1.11.16",
        nodes=nodes,
        windows=windows,
        whole=True,
    )
    upload = UploadSummary(location="s3://fake/run", objects=9, size=1234)
    dbt = _terminated("dbt", end.code, "" if end.out_of_memory else summary.to_json())
    if end.out_of_memory:
        dbt["state"]["terminated"]["reason"] = "OOMKilled"
    return {
        "phase": "Failed" if end.code else "Succeeded",
        "initContainerStatuses": [
            _terminated("prepare", 0, "{}"),
            _terminated("artifacts", 0, upload.to_json()),
        ],
        "containerStatuses": [dbt],
    }


def _terminated(name: str, code: int, message: str) -> dict[str, Any]:
    ended = {
        "exitCode": code,
        "message": message,
        "startedAt": _seconds(),
        "finishedAt": _seconds(),
    }
    return _container(name, {"terminated": ended | {"reason": "Error" if code else "Completed"}})


def _container(name: str, state: Manifest) -> dict[str, Any]:
    return {
        "name": name,
        "image": name,
        "imageID": f"sha256:{name}",
        "ready": False,
        "restartCount": 0,
        "state": state,
    }
