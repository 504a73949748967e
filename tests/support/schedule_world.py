"""A schedule in a simulated cluster, with a clock of the test's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from dbt_operator.cluster.errors import ClusterError, ConflictError
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.planning.common.durations import format_time
from dbt_operator.reconcile.loop import Reconciler
from tests.support.builders import manifest
from tests.support.fake_cluster import FakeCluster, KilledError, Manifest

TEMPLATE = {
    "projectRef": {"name": "shop"},
    "targetRef": {"name": "prod"},
    "steps": [{"build": {}}],
}
RUNS = ("DbtRun", "DbtBackfill")
_MANY = 200  # looks at a schedule that nothing happens to


def schedule(
    name: str = "nightly",
    run: Manifest | None = None,
    uid: str = "uid-of-a-schedule",
    **spec: Any,
) -> Manifest:
    base = {"schedules": ["0 3 * * *"], "runTemplate": {"spec": TEMPLATE | (run or {})}}
    return manifest("DbtSchedule", name, base | spec, uid=uid)


class ScheduleWorld:
    """A schedule, its runs, and an operator that may be started anew at any time."""

    def __init__(self, start: datetime, made: Manifest | None = None, **spec: Any) -> None:
        self.now = start
        made = made or schedule(**spec)
        self.key = Key("DbtSchedule", "analytics", made["metadata"]["name"])
        self.cluster = FakeCluster(made)
        self.cluster.clock = lambda: self.now
        self.restarts = False  # before each look there is a new operator
        self.restart()

    # The operator

    def restart(self) -> None:
        """A new operator, which knows what a first list tells it."""
        self.store = Store()
        self.hear()
        self.reconciler = Reconciler(
            self.cluster,  # type: ignore[arg-type]
            self.store,
            "runner:1",
            lambda: self.now,
        )

    def hear(self) -> None:
        """The watches tell what there is."""
        for kind in ("DbtSchedule", *RUNS):
            present = [m for (k, _), m in self.cluster.objects.items() if k == kind]
            uids = {each["metadata"]["uid"] for each in present}
            for known in self.store.all(kind):
                if known["metadata"]["uid"] not in uids:
                    self.store.drop(kind, known)
            versions = {m["metadata"]["uid"]: _version(m) for m in self.store.all(kind)}
            for each in present:
                if versions.get(each["metadata"]["uid"]) != _version(each):
                    self.store.put(kind, copy.deepcopy(each))

    def look(self) -> float | None:
        """Reconcile until nothing wants to be done at once, over as many kills and refusals as
        there are; when the operator wants to look again, in seconds.
        """
        for _ in range(_MANY):
            if self.restarts:
                self.restart()
            self.hear()
            try:
                wait = self.reconciler.reconcile(self.key)
            except KilledError:
                self.restart()
            except ClusterError:
                continue
            else:
                if wait != 0.0:
                    return wait
        raise AssertionError("does not come to rest")

    def refuse_every(self, number: int) -> None:
        """Somebody else has changed the object, at every write of a number."""

        def refuse(count: int) -> None:
            if count % number == 0:
                raise ConflictError("the object has been modified")

        self.cluster.before_write = refuse

    # Time

    def go_to(self, end: datetime, late: timedelta = timedelta(seconds=3)) -> None:
        """Let time pass, with a look shortly after every time that the status names, and every run
        succeeding, and being deleted, before the next.
        """
        while True:
            self.look()
            self.finish_runs()
            self.look()
            self.delete_ended()
            due = [datetime.fromisoformat(text) for text in self.status.get("nextRunTimes", [])]
            step = min((moment for moment in due if moment > self.now - late), default=end)
            if step + late > end:
                self.now = end
                self.look()
                self.finish_runs()
                self.look()
                return
            self.now = max(step + late, self.now)

    # Objects

    @property
    def manifest(self) -> Manifest:
        return self.cluster.objects["DbtSchedule", self.key.name]

    @property
    def status(self) -> Manifest:
        found: Manifest = self.manifest["status"]
        return found

    @property
    def runs(self) -> dict[str, Manifest]:
        return {name: m for (kind, name), m in self.cluster.objects.items() if kind in RUNS}

    @property
    def created(self) -> list[datetime]:
        """The occurrences whose runs have been created, by their names, in the order of that."""
        return [
            datetime.strptime(name.rpartition("-")[2], "%Y%m%d%H%M").replace(tzinfo=UTC)
            for name in self.cluster.created_runs
        ]

    def condition(self, kind: str) -> Manifest:
        found: Manifest = next(each for each in self.status["conditions"] if each["type"] == kind)
        return found

    def edit(self, **spec: Any) -> None:
        """Somebody changes the spec."""
        self._change(lambda found: found["spec"].update(spec))
        self.manifest["metadata"]["generation"] += 1

    def edit_template(self, **run: Any) -> None:
        """Somebody changes what is run."""
        self.edit(runTemplate={"spec": TEMPLATE | run})

    def annotate(self, **annotations: str | None) -> None:
        """Somebody sets annotations, or removes those that are None."""
        kept = (self.manifest["metadata"].get("annotations") or {}) | annotations
        found = {name: value for name, value in kept.items() if value is not None}
        self._change(lambda made: made["metadata"].update(annotations=found))

    def lose_status(self) -> None:
        """It is restored from a copy, which has no status."""
        self._change(lambda found: found.update(status={"observedGeneration": -1}))

    def _change(self, change: Callable[[Manifest], None]) -> None:
        change(self.manifest)
        self._touch(self.manifest)

    def _touch(self, found: Manifest) -> None:
        found["metadata"]["resourceVersion"] = self.cluster._next_version()  # noqa: SLF001

    def delete_ended(self) -> None:
        """Somebody tidies up."""
        for name, run in self.runs.items():
            if "finishedAt" in run["status"]:
                del self.cluster.objects[run["kind"], name]

    def finish_runs(self, phase: str = "Succeeded", **status: Any) -> None:
        """All runs that have not ended end in a phase."""
        for run in self.runs.values():
            if "finishedAt" not in run["status"]:
                run["status"] = {
                    "phase": phase,
                    "finishedAt": format_time(self.now),
                    "duration": "1m",
                    **status,
                }
                self._touch(run)


def _version(manifest: Mapping[str, Any]) -> str:
    return str(manifest["metadata"]["resourceVersion"])
