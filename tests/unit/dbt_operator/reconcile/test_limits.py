"""Specs and statuses at every limit of their schemas, of all kinds, among usual objects.

Whatever an object says, no reconciliation fails, nobody else waits for it, its status keeps what
was not decided anew, and in the end it has ended or says why it has not.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from dbt_operator.api.crd import schema
from dbt_operator.api.registry import BY_NAME, KINDS
from dbt_operator.cluster.projection import has_ended
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.planning.common.reading import Part, UnreadableError, read_part
from dbt_operator.process.assembly import RECURSION
from dbt_operator.reconcile.kinds import ROWS
from dbt_operator.reconcile.loop import Reconciler
from tests.support.builders import NOW, backfill, ended_status, project, run, summary, target
from tests.support.fake_cluster import Manifest
from tests.support.schedule_world import schedule
from tests.support.schema_values import SchemaValues
from tests.support.simulation import EVERYTHING, Server

USUAL: dict[str, Callable[[], Manifest]] = {
    "DbtTarget": target,
    "DbtProject": project,
    "DbtRun": run,
    "DbtBackfill": backfill,
    "DbtSchedule": schedule,
}
LARGEST = 1_200_000  # bytes; the API server stores no larger object, and the status grows
# After these pauses there is a look at everything; together they are longer than any bound is.
PAUSES = [
    *(timedelta(seconds=61) for _ in range(4)),
    timedelta(minutes=20),
    timedelta(hours=7),
    timedelta(days=31),
    timedelta(days=31),
    *(timedelta(minutes=2) for _ in range(3)),
]
# A field of a status that this operator does not know, hence one that it does not decide.
UNKNOWN = "ofALaterVersion"
# What a status remembers, and nobody else does.
RECORDS = {
    "resolved",
    "commit",
    "attempts",
    "startedAt",
    "finishedAt",
    "cancelRequestedAt",
    "definition",
    "ledger",
    "windows",
    "cursor",
    "states",
    "holders",
    "released",
}
SEEDS = 300 if os.environ.get("DBT_OPERATOR_TEST_FULL") else 12


@pytest.fixture(autouse=True, scope="module")
def nesting() -> Iterator[None]:
    """As the operator has it."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(RECURSION)
    yield
    sys.setrecursionlimit(before)


class Cluster(Server):
    """Its containers end as they are told to, and it notes what is taken out of statuses."""

    def __init__(self, *manifests: Manifest) -> None:
        super().__init__(*manifests)
        self.patches: list[tuple[str, str, Mapping[str, Any]]] = []

    def patch_status(
        self, kind: str, manifest: Mapping[str, Any], patch: Mapping[str, Any]
    ) -> Manifest:
        name = manifest["metadata"]["name"]
        self.patches.append((kind, name, patch))
        return super().patch_status(kind, manifest, patch)


class World:
    """One object at its limits among usual ones, and an operator."""

    def __init__(self, kind: str, values: SchemaValues) -> None:
        self.now = NOW
        self.values = values
        self.odd = make_odd(kind, values)
        usual = [target(), project(), run()]
        others = [each for each in usual if key_of(each) != key_of(self.odd)]
        self.cluster = Cluster(self.odd, *others)
        self.cluster.clock = lambda: self.now
        self.store = Store()
        self.reconciler = Reconciler(
            self.cluster,  # type: ignore[arg-type]
            self.store,
            "runner:1",
            lambda: self.now,
        )

    def live(self) -> None:
        """Let time pass, with a cluster that does its work."""
        for pause in PAUSES:
            self.now += pause
            self.look()
            self.cluster.control_jobs()
            self.cluster.start_pods()
            self.look()
            self.end_pods()
            self.cluster.control_jobs()
            self.look()

    def look(self) -> None:
        """Reconcile everything until nothing is written any more."""
        for _ in range(30):
            self.hear()
            written = len(self.cluster.patches)
            for kind in KINDS:
                for known in self.store.all(kind.kind):
                    self.reconciler.reconcile(key_of(known))
            if len(self.cluster.patches) == written:
                return
        raise AssertionError("it goes on writing")

    def hear(self) -> None:
        for kind in (*EVERYTHING, "DbtSchedule"):
            found = [m for (k, _), m in self.cluster.objects.items() if k == kind]
            found = self.cluster.pods if kind == "Pod" else found
            uids = {each["metadata"]["uid"] for each in found}
            for known in self.store.all(kind):
                if known["metadata"]["uid"] not in uids:
                    self.store.drop(kind, known)
            for each in found:
                self.store.put(kind, copy.deepcopy(each))

    def end_pods(self) -> None:
        message = self.values.choose(
            None, "", "[" * 4096, "null", summary(commit="x" * 4000), '{"protocol": 1, "nodes": 3}'
        )
        for pod in self.cluster.pods:
            if pod["status"]["phase"] == "Running":
                pod["status"] = ended_status(self.values.choose(0, 1), message)
                self.cluster.touch(pod)

    def find_patches(self, kind: str, name: str) -> list[Mapping[str, Any]]:
        """What was written into the status of an object."""
        return [patch for k, n, patch in self.cluster.patches if (k, n) == (kind, name)]


def key_of(manifest: Mapping[str, Any]) -> Key:
    metadata = manifest["metadata"]
    return Key(manifest["kind"], metadata["namespace"], metadata["name"])


def make_odd(kind: str, values: SchemaValues) -> Manifest:
    """An object of a kind that an API server would store."""
    properties = schema(BY_NAME[kind])["properties"]
    for _ in range(50):
        made: Manifest = USUAL[kind]()
        if kind == "DbtRun":
            made["metadata"] |= {"name": "odd", "uid": "0dd00000-of-a-run"}
        made["spec"] = values.make_near(properties["spec"], made["spec"])
        if not values.is_rare():
            made["status"] = values.make_near(properties["status"], made["status"])
            made["status"][UNKNOWN] = {"kept": True}
        refer(made, values)
        if len(json.dumps(made)) <= LARGEST:
            return made
    raise AssertionError("all of them are too large")


def refer(made: Manifest, values: SchemaValues) -> None:
    """Mostly to what there is."""
    if values.is_rare() or BY_NAME[made["kind"]].work is None:
        return
    work = BY_NAME[made["kind"]].work_of(made)
    assert isinstance(work, dict)
    work |= {"projectRef": {"name": "shop"}, "targetRef": {"name": "prod"}}


def is_readable(manifest: Manifest, part: Part) -> bool:
    try:
        read_part(BY_NAME[manifest["kind"]].model, manifest, part)
    except UnreadableError:
        return False
    return True


def conditions(manifest: Manifest) -> dict[str, Manifest]:
    return {each["type"]: each for each in manifest["status"].get("conditions") or ()}


def says_why(manifest: Manifest) -> bool:
    """Whether an object has ended, or says how it stands."""
    found = conditions(manifest)
    return has_ended(manifest) or any(
        found.get(kind, {}).get("status") == "True" for kind in ("Ready", "Reconciling", "Stalled")
    )


# Python says of patterns such as [[a] that it may read them in another way one day.
@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
@pytest.mark.parametrize("kind", sorted(ROWS))
@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_object_is_too_odd(kind: str, seed: int) -> None:
    world = World(kind, SchemaValues(seed))
    name = world.odd["metadata"]["name"]
    before = copy.deepcopy(world.odd)
    world.live()
    for patch in world.find_patches(kind, name):
        removed = {field for field, value in patch.items() if value is None}
        assert not removed & RECORDS, patch
        if not is_readable(before, "status"):
            assert set(patch) <= {"observedGeneration", "conditions"}, patch
    odd = world.cluster.objects.get((kind, name))
    if odd is None:
        assert before["spec"]["ttlAfterFinished"]
        return
    assert says_why(odd), odd["status"]
    assert odd["status"].get(UNKNOWN) == before["status"].get(UNKNOWN)
    if BY_NAME[kind].phases is not None or BY_NAME[kind].has_triggers:
        assert has_ended(world.cluster.objects["DbtRun", "nightly"]), "nobody else waits for it"
