"""`make bench-soak`: runs and backfills on fake nodes, alone and beside a namespace full of objects
that are made to hurt, in turn.

API server, Job controller and scheduler are real, and the operator watches both namespaces. What
somebody does in the one must cost nobody in the other more than the time of reading it: the ratio
of the times is told, and an operator that has ended or led anew is an error.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import uuid
from collections.abc import Iterator

from dbt_operator.planning.common.names import (
    ATTEMPT_LABEL,
    HOLDER_LABEL,
    PROJECT_LABEL,
    RUN_LABEL,
    RUN_UID_LABEL,
    TARGET_LABEL,
)
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
from tests.support.reads import read_list
from tests.support.stage import Stage, install_crds, stage

HERE = "<here>"  # in the place of what json.dumps could not write
DEEP = '{"a":' * 1_200 + "1" + "}" * 1_200
WINDOW_PLACEHOLDERS = "$(window." * 16_000  # 144 kB
TOKEN = "eyJ" + "a" * 100_000  # looks like a token of JWT, and is none
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


def measure(scene: Stage, options: argparse.Namespace) -> float:
    """How many seconds a batch takes from its first object to its last end."""
    usual = make_usual(scene, options)
    names = {each["metadata"]["name"] for each in usual}
    began = time.monotonic()
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
    return time.monotonic() - began


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
        hostile = f"{scene.namespace}-hostile"
        apply(namespace(hostile))
        apply(scene.project(), *(scene.target(f"target-{n}") for n in range(options.targets)))
        process = scene.start_operator(DBT_OPERATOR_NAMESPACES=f"{scene.namespace},{hostile}")
        measure(scene, options)  # warm
        alone: list[float] = []
        beside: list[float] = []
        for number in range(1, options.batches + 1):
            alone.append(measure(scene, options))
            hurt(scene, hostile)
            beside.append(measure(scene, options))
            kubectl("delete", "dbtruns,dbtbackfills,pods", "--all", "--wait", namespace=hostile)
            print(
                f"  batch {number}: alone {alone[-1]:.1f} s, beside {beside[-1]:.1f} s", flush=True
            )
        assert process.poll() is None, "the operator has ended"
        ratios = [b / a for a, b in zip(alone, beside, strict=True)]
        print(
            f"beside hostile objects it takes {statistics.median(ratios):.2f} times as long "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )
        kubectl("delete", "namespace", hostile, "--wait=false")


if __name__ == "__main__":
    main()
