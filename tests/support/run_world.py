"""A run in a simulated cluster, reconciled until nothing is left to do."""

from __future__ import annotations

from typing import Any

from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
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
from tests.support.fake_cluster import FakeCluster, KilledError

RUN = Key("DbtRun", "analytics", "nightly")


TARGET = Key("DbtTarget", "analytics", "prod")


class World:
    """A cluster, an operator that can be killed, and a kubelet of the test's own."""

    def __init__(self, *manifests: dict[str, Any]) -> None:
        self.cluster = FakeCluster(*(manifests or (run(), project(), target())))
        self.now = NOW
        self.restart()

    def restart(self) -> None:
        """A new operator, which knows what a first list tells it."""
        self.store = Store()
        for (kind, _), manifest in self.cluster.objects.items():
            self.store.put(kind, manifest)
        for pod in self.cluster.pods:
            self.store.put("Pod", pod)
        self.woken: list[Key] = [TARGET]
        self.reconciler = Reconciler(
            self.cluster,  # type: ignore[arg-type]
            self.store,
            "runner:1",
            lambda: self.now,
            self.woken.append,
        )

    def settle(self) -> None:
        """Reconcile until nothing wants to be done at once, over as many kills as there are."""
        self.woken.append(RUN)
        for _ in range(80):
            if not self.woken:
                return
            key = self.woken.pop(0)
            try:
                if self.reconciler.reconcile(key) == 0.0:
                    self.woken.append(key)
            except KilledError:
                self.restart()
                self.woken.append(RUN)
        raise AssertionError("does not come to rest")

    def pod(self, status: dict[str, Any]) -> None:
        """The kubelet reports on the newest Job's pod."""
        job = self.cluster.objects["Job", self.cluster.created_jobs[-1]]
        pod = pod_manifest(job, status, f"pod-of-{self.cluster.created_jobs[-1]}")
        pod["metadata"]["resourceVersion"] = str(1000 + self.cluster.writes)
        self.cluster.pods = [
            *(p for p in self.cluster.pods if p["metadata"]["uid"] != pod["metadata"]["uid"]),
            pod,
        ]
        self.store.put("Pod", pod)

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.objects["DbtRun", "nightly"]["status"]
        return found


def happy_path(world: World) -> None:
    world.settle()
    world.pod(running_status())
    world.settle()
    world.pod(ended_status())
    world.settle()
