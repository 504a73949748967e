"""`make bench-soak`: runs and backfills on fake nodes, alone and beside a namespace full of objects
that are made to hurt, in turn.

API server, Job controller and scheduler are real, and the operator watches both namespaces. What
somebody does in the one must cost nobody in the other more than the time of reading it: the ratio
of the times is told, and an operator that has ended is an error.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from dbt_operator.planning.common.names import (
    ATTEMPT_LABEL,
    HOLDER_LABEL,
    PROJECT_LABEL,
    RUN_LABEL,
    RUN_UID_LABEL,
    TARGET_LABEL,
)
from tests.bench.scale import cpu
from tests.support import product
from tests.support.kube import (
    CommandError,
    Manifest,
    apply,
    kubectl,
    namespace,
    resource,
    wait_for,
)
from tests.support.operators import OperatorProcess
from tests.support.reads import read_list
from tests.support.stage import GROUP, VERSION, Stage, install_crds, stage

HERE = "<here>"  # in the place of what json.dumps could not write
DEEP = '{"a":' * 1_200 + "1" + "}" * 1_200
WINDOW_PLACEHOLDERS = "$(window." * 16_000  # 144 kB
TOKEN = "eyJ" + "a" * 100_000  # looks like a token of JWT, and is none
KINDS = ("dbtschedules", "dbtbackfills", "dbtruns")  # owners first
ENDED = ("Succeeded", "Failed", "Cancelled", "Skipped")
ALL_LABELS = (RUN_LABEL, RUN_UID_LABEL, ATTEMPT_LABEL, PROJECT_LABEL, TARGET_LABEL, HOLDER_LABEL)


def make_hostile(scene: Stage, where: str) -> Iterator[str]:
    """Objects, as JSON, that somebody else puts into a namespace of their own."""
    project = scene.project() | {"metadata": {"name": "shop", "namespace": where}}
    target = scene.target("prod") | {"metadata": {"name": "prod", "namespace": where}}
    yield json.dumps(project)
    yield json.dumps(target)
    large = {"skip": [str(uuid.uuid4()) for _ in range(2_500)]}
    odd: dict[str, object] = {
        "deep": {"deep": HERE},
        "large": large,
        "window": {"text": WINDOW_PLACEHOLDERS},
        "token": {"text": TOKEN},
    }
    for name, values in odd.items():
        spec = scene.run(name, "prod", vars=values)["spec"]
        yield json.dumps(resource("DbtRun", name, where, spec)).replace(f'"{HERE}"', DEEP)
        windows = {"dates": {"from": "2024-01-01", "to": "2024-02-29", "every": "1d"}}
        backfill = {"runTemplate": {"spec": spec}, "windows": windows}
        made = json.dumps(resource("DbtBackfill", name, where, backfill))
        yield made.replace(f'"{HERE}"', DEEP)
        schedule = {"schedules": ["* * * * *"], "runTemplate": {"spec": spec}}
        made = json.dumps(resource("DbtSchedule", name, where, schedule))
        yield made.replace(f'"{HERE}"', DEEP)
    for number in range(1, len(ALL_LABELS) + 1):
        yield json.dumps(make_pod(where, number))


def make_pod(where: str, labels: int) -> Manifest:
    """A pod of nobody's with some of our labels."""
    values = dict.fromkeys(ALL_LABELS[:labels], "prod")
    container = {"name": "dbt", "image": "registry.example.com/none:1.0"}
    restricted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"foreign-{labels}", "namespace": where, "labels": values},
        "spec": {"containers": [container | {"securityContext": restricted}]},
    }


def make_usual(scene: Stage, options: argparse.Namespace) -> list[Manifest]:
    """Runs and backfills over all targets."""
    batch = uuid.uuid4().hex[:4]
    runs = [
        scene.run(f"run-{batch}-{number}", f"target-{number % options.targets}")
        for number in range(options.runs)
    ]
    windows = {"keys": [f"key-{number}" for number in range(10)]}
    for number in range(options.backfills):
        spec = scene.run("x", f"target-{number}", vars={"key": "$(window.key)"})["spec"]
        template = {"runTemplate": {"spec": spec}, "windows": windows}
        name = f"past-{batch}-{number}"
        runs.append(resource("DbtBackfill", name, scene.namespace, template))
    return runs


@dataclass(frozen=True)
class Batch:
    """What a batch took, in seconds."""

    wall: float  # from its first object to its last end
    cpu: float  # of the operator

    def __str__(self) -> str:
        return f"{self.wall:.1f} s ({self.cpu:.1f} s CPU)"


def measure(scene: Stage, process: OperatorProcess, options: argparse.Namespace) -> Batch:
    """Begin a batch, and wait for its end; nothing of it is left."""
    usual = make_usual(scene, options)
    names = {each["metadata"]["name"] for each in usual}
    began, used = time.monotonic(), cpu(process)
    apply(*usual)

    def have_ended() -> bool:
        found = [
            each
            for kind in ("dbtruns", "dbtbackfills")
            for each in read_list(kind, scene.namespace, {})
            if each["metadata"]["name"] in names
        ]
        return all(each.get("status", {}).get("phase") in ENDED for each in found)

    wait_for("all of it has ended", have_ended)
    took = Batch(time.monotonic() - began, cpu(process) - used)
    clean(scene.namespace)
    return took


def clean(where: str) -> None:
    """Delete what has been put into a namespace, each kind at a stroke, and wait until it is
    gone.
    """
    kinds = dict.fromkeys(KINDS, f"/apis/{GROUP}/{VERSION}") | {"pods": "/api/v1"}
    for kind, api in kinds.items():
        kubectl("delete", "--raw", f"{api}/namespaces/{where}/{kind}")
    for kind in kinds:
        wait_for(f"no {kind}", partial(is_empty, where, kind))


def is_empty(where: str, kind: str) -> bool:
    return not read_list(kind, where, {})


def measure_beside(scene: Stage, process: OperatorProcess, options: argparse.Namespace) -> Batch:
    """The same beside a namespace full of hostile objects."""
    hostile = hostile_namespace(scene)
    hurt(scene, hostile)
    try:
        return measure(scene, process, options)
    finally:
        clean(hostile)


def hostile_namespace(scene: Stage) -> str:
    return f"{scene.namespace}-hostile"


def hurt(scene: Stage, where: str) -> None:
    """Have a namespace full of hostile objects. What the API server refuses hurts nobody."""
    apply(namespace(where))
    for text in make_hostile(scene, where):
        try:
            kubectl("create", "-f", "-", stdin=text)
        except CommandError as error:
            print(f"  refused: {str(error)[:150]}", flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--backfills", type=int, default=5)
    parser.add_argument("--targets", type=int, default=20)
    parser.add_argument("--batches", type=int, default=4, help="of each kind")
    options = parser.parse_args()
    install_crds()
    with product.without_operator(), stage(f"soak-{uuid.uuid4().hex[:6]}") as scene:
        hostile = hostile_namespace(scene)
        apply(namespace(hostile))
        apply(scene.project(), *(scene.target(f"target-{n}") for n in range(options.targets)))
        process = scene.start_operator(DBT_OPERATOR_NAMESPACES=f"{scene.namespace},{hostile}")
        measure(scene, process, options)  # warm
        ratios: list[float] = []
        for number in range(1, options.batches + 1):
            ways = [measure, measure_beside]
            if number % 2 == 0:  # what comes second must not always be the same
                ways.reverse()
            took = {way: way(scene, process, options) for way in ways}
            alone, beside = took[measure], took[measure_beside]
            ratios.append(beside.wall / alone.wall)
            print(f"  batch {number}: alone {alone}, beside {beside}", flush=True)
        assert process.poll() is None, "the operator has ended"
        print(
            f"beside hostile objects it takes {statistics.median(ratios):.2f} times as long "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )
        kubectl("delete", "namespace", hostile, "--wait=false")


if __name__ == "__main__":
    main()
