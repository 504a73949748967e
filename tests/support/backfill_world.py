"""A backfill on an API server in memory, with pods that work through windows when they are told
to.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from dbt_operator.planning.common.names import BACKFILL_LABEL, RUN_LABEL, STOP
from dbt_protocol.paths import ARTIFACTS_CONTAINER
from dbt_protocol.plans import PLAN_VARIABLE, RunPlan
from dbt_protocol.summaries import Progress
from dbt_protocol.window_codes import PENDING, RUNNING, SKIPPED, SUCCEEDED, code_of
from tests.support.builders import (
    NOW,
    backfill,
    ended_status,
    project,
    running_status,
    summary,
    target,
)
from tests.support.fake_cluster import Manifest
from tests.support.simulation import EVERYTHING, WRITES, Operator, Server, behind_gate, lives


class WindowServer(Server):
    """Its pods work through one window each time they are told to work."""

    def __init__(self, *manifests: Manifest) -> None:
        super().__init__(*manifests)
        self.worked: list[str] = []  # keys of windows, as they were worked through
        self.failing: set[str] = set()
        self.killing: set[str] = set()  # windows that take the whole container with them
        self.states: dict[str, list[str]] = {}  # by UID of the pod
        self.image_id = ""  # that pods end with, if it is another one
        self.at_once = 0  # the most windows that were at work at a time

    def _delete(self, job: Manifest) -> None:
        super()._delete(job)
        for pod in self.pods:
            if self._owner(pod) == job["metadata"]["uid"]:
                pod["metadata"]["deletionTimestamp"] = job["metadata"]["deletionTimestamp"]

    def plan(self, pod: Manifest) -> RunPlan:
        """What a pod has been told."""
        environment = pod["spec"]["containers"][0]["env"]
        text = next(each["value"] for each in environment if each["name"] == PLAN_VARIABLE)
        return RunPlan.from_json(text.replace("$$", "$"))

    def start_pods(self) -> None:
        for pod in self.pods:
            if pod["status"]["phase"] == "Pending" and not behind_gate(pod):
                pod["status"] = running_status()
                self.touch(pod)
                plan = self.plan(pod)
                done = plan.done or PENDING * len(plan.windows)
                states = [code if code in (SUCCEEDED, SKIPPED) else PENDING for code in done]
                self.states[pod["metadata"]["uid"]] = states
        self._begin()

    def _begin(self) -> None:
        at_work = 0
        for pod in self.working():
            states = self.states[pod["metadata"]["uid"]]
            if PENDING in states and RUNNING not in states:
                states[states.index(PENDING)] = RUNNING
            at_work += states.count(RUNNING)
        self.at_once = max(self.at_once, at_work)

    def working(self) -> list[Manifest]:
        """The pods that are at work."""
        return [
            pod
            for pod in self.pods
            if pod["status"]["phase"] == "Running" and self.plan(pod).windows
        ]

    def work(self, *, only: str = "") -> None:
        """Each pod ends the window that it is at, and the pod itself if that was the last one or it
        is to stop.
        """
        for pod in self.working():
            if only in pod["metadata"]["labels"][RUN_LABEL]:
                self._work(pod)
        self._begin()

    def _work(self, pod: Manifest) -> None:
        plan, states = self.plan(pod), self.states[pod["metadata"]["uid"]]
        place = states.index(RUNNING)
        key = plan.windows[place].key
        if "deletionTimestamp" in pod["metadata"]:
            states[place] = code_of("Cancelled")
            return self._end(pod, "Cancelled")
        self.worked.append(key)
        if key in self.killing:
            return self._end(pod, "OOMKilled")
        states[place] = code_of("TestFailed") if key in self.failing else SUCCEEDED
        failed = code_of("TestFailed") in states
        if PENDING not in states or (failed and plan.stop_on_failure):
            return self._end(pod, "TestFailed" if failed else "")
        if STOP in pod["metadata"].get("annotations", {}):
            return self._end(pod, "TestFailed" if failed else "Yielded")
        return None

    def _end(self, pod: Manifest, reason: str) -> None:
        states = "".join(self.states[pod["metadata"]["uid"]])
        said = summary(reason, f"{reason or 'all well'}", windows=states)
        pod["status"] = ended_status(1 if reason else 0, said, states)
        for container in pod["status"]["containerStatuses"]:
            container["imageID"] = self.image_id or container["imageID"]
        self.touch(pod)

    def end_others(self) -> None:
        """Pods of runs without windows succeed."""
        for pod in self.pods:
            if pod["status"]["phase"] == "Running" and not self.plan(pod).windows:
                self.worked.append(pod["metadata"]["labels"][RUN_LABEL])
                pod["status"] = ended_status()
                self.touch(pod)

    def last_log_line(self, _namespace: str, pod: str, container: str) -> str:
        assert container == ARTIFACTS_CONTAINER
        for each in self.pods:
            if each["metadata"]["name"] == pod:
                states = "".join(self.states.get(each["metadata"]["uid"], ()))
                return Progress(0, 1, (), states).to_line()
        return ""

    def collect_garbage(self) -> None:
        """Jobs whose run is gone, and runs whose backfill is."""
        alive = {
            m["metadata"]["uid"] for (kind, _), m in self.objects.items() if kind == "DbtBackfill"
        }
        for (kind, name), found in list(self.objects.items()):
            owners = found["metadata"].get("ownerReferences") or ()
            if kind == "DbtRun" and owners and owners[0]["uid"] not in alive:
                del self.objects[kind, name]
        super().collect_garbage()


class BackfillWorld:
    """One backfill, and an operator that can be killed at any of its writes."""

    def __init__(
        self, *, kill_at: int = 0, after: bool = False, limit: int = 1, **spec: Any
    ) -> None:
        self.now = NOW
        self.limit = limit
        self.writes = 0
        self._kill_at, self._after = kill_at, after
        self.server = WindowServer(project(), target(maxConcurrentRuns=limit), backfill(**spec))
        self.server.clock = lambda: self.now
        self.server.after_write = lambda _: self.check()
        self.operators = [self._operator()]

    def _operator(self) -> Operator:
        operator = Operator(self.server, lambda: self.now)
        operator.hear(*EVERYTHING)
        return operator

    def add(self, manifest: Manifest) -> None:
        """Somebody applies an object."""
        name = manifest["metadata"]["name"]
        self.server.objects[manifest["kind"], name] = self.server.touch(manifest)

    def edit(self, name: str = "past", kind: str = "DbtBackfill", **spec: Any) -> None:
        manifest = self.server.objects[kind, name]
        manifest["spec"] |= copy.deepcopy(spec)
        manifest["metadata"]["generation"] += 1
        self.server.touch(manifest)

    def check(self) -> None:
        """Never more holders than the limit, and nobody else at work."""
        holders = self.server.objects["DbtTarget", "prod"]["status"].get("holders") or []
        assert len(holders) <= self.limit
        working = [pod for pod in self.server.pods if lives(pod) and not behind_gate(pod)]
        who = {
            pod["metadata"]["labels"].get(BACKFILL_LABEL) or pod["metadata"]["labels"][RUN_LABEL]
            for pod in working
        }
        assert len(who) <= self.limit, who

    def happen(self, times: int = 1) -> None:
        """The operator hears everything and works, then the cluster does."""
        for _ in range(times):
            self.now += timedelta(seconds=11)
            for number in range(len(self.operators)):
                self.operators[number].hear(*EVERYTHING)
                self._rest(number)
            self.server.collect_garbage()
            self.server.control_jobs()
            self.server.start_pods()
            self.check()

    def _rest(self, number: int) -> None:
        while not self.operators[number].at_rest:
            writes = self.operators[number].next in WRITES
            self.writes += writes
            due = writes and self.writes == self._kill_at
            if not (due and not self._after):
                self.operators[number].step()
            if due:
                self._kill_at = 0
                self.operators[number].stop()
                self.operators[number] = self._operator()

    def tell(self, rounds: int = 80, until: Callable[[], bool] | None = None) -> None:
        """Until the backfill has ended, or something else has come about."""
        for _ in range(rounds):
            self.happen(2)
            if until() if until else self.ended():
                return
            self.server.work()
            self.server.end_others()
        raise AssertionError(f"stuck: {json.dumps(self.status, indent=1)[:4000]}")

    def ended(self, *names: str) -> bool:
        found = [self.server.objects["DbtBackfill", name] for name in names or ("past",)]
        over = all(
            each["status"].get("phase") in ("Succeeded", "Failed", "Cancelled", "Planned")
            for each in found
        )
        return over and not self.server.objects["DbtTarget", "prod"]["status"].get("holders")

    @property
    def status(self) -> dict[str, Any]:
        return self.status_of("past")

    def status_of(self, name: str, kind: str = "DbtBackfill") -> dict[str, Any]:
        found: dict[str, Any] = self.server.objects[kind, name]["status"]
        return found

    @property
    def states(self) -> str:
        return str(self.status["windows"]["states"])

    def counted(self) -> Counter[str]:
        """How often each window was worked through."""
        return Counter(self.server.worked)

    def stop(self) -> None:
        for operator in self.operators:
            operator.stop()


def days(numbers: Iterable[int]) -> list[str]:
    return [f"2024-01-{number:02}" for number in numbers]
