"""`make bench-run`: a DbtRun against a bare Job in the same image that runs the same dbt commands
one after the other.

Wall time from creation to the end as clients of the API server see it, pods and scheduling
included. The two take turns on one node, so that whatever else the machine does hits both; quote
the ratio, not the seconds.
"""

from __future__ import annotations

import argparse
import base64
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.support import product, scenarios
from tests.support.kube import (
    ROOT,
    Manifest,
    apply,
    get,
    items,
    kubectl,
    namespace,
    resource,
    secret,
)

NAMESPACE = "bench"
# Without the seeds: they are loaded once before, as they stand in for a load tool.
COMMANDS = ("source freshness", "build --exclude resource_type:seed", "docs generate --static")
STEPS: list[Manifest] = [
    {"sourceFreshness": {}},
    {"build": {"exclude": ["resource_type:seed"]}},
    {"docs": {}},
]


@dataclass(frozen=True)
class Case:
    """A project, as the DbtProject and the bare Job get it."""

    name: str
    profile: str
    image: str
    source: Manifest
    project_dir: str


def write_source(models: int, *options: str, change: str = "") -> None:
    """Generate a project into its ConfigMap.

    Args:
        models: how many it has.
        options: of the generator.
        change: what is put behind the SQL of one model.
    """
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "tests.bench.generate", "--models", str(models), *options]
        subprocess.run([*argv, folder], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        model = min(Path(folder, "models/core").glob("*.sql"))
        model.write_text(model.read_text() + change)
        put_source("generated", Path(folder))


def put_source(name: str, folder: Path) -> None:
    """Put a project into a ConfigMap."""
    data = base64.b64encode(product.packed(folder)).decode()
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "binaryData": {"project.tar.gz": data},
    }
    apply(config_map)


def cases(models: int) -> list[Case]:
    """The example shop, in its image, and a generated project, in a ConfigMap."""
    images = product.references()
    write_source(models)
    return [
        Case("shop", "shop", images["shop"], {"image": {"path": "/project"}}, "/project"),
        Case(
            "generated",
            "bench",
            images["dbt"],
            {"configMap": {"name": "generated"}},
            "/tmp/project",  # noqa: S108
        ),
    ]


def prepare(case: Case) -> None:
    """Secret, target and project of a case, and its tables, so that every measured run finds the
    same.
    """
    profiles = scenarios.profiles(case.profile, schema=f"analytics_{case.name}")
    apply(
        secret(case.name, NAMESPACE, {"profiles.yml": profiles}),
        resource(
            "DbtTarget",
            case.name,
            NAMESPACE,
            {
                "target": "prod",
                "profiles": {"secretRef": {"name": case.name, "key": "profiles.yml"}},
            },
        ),
        make_project(case),
    )
    name = f"warm-{uuid.uuid4().hex[:6]}"
    apply(run(case, name, [{"seed": {}}, {"build": {}}]))
    ended = product.wait_until_finished(name, NAMESPACE, timeout=900)
    if ended["status"]["phase"] != "Succeeded":
        raise SystemExit(f"{case.name} does not build: {ended['status']['message']}")


def make_project(case: Case) -> Manifest:
    artifacts = scenarios.artifacts() | {"prefix": "bench"}
    spec = {"image": case.image, "source": case.source, "artifacts": artifacts}
    return resource("DbtProject", case.name, NAMESPACE, spec)


def run(case: Case, name: str, steps: list[Manifest]) -> Manifest:
    references = {"projectRef": {"name": case.name}, "targetRef": {"name": case.name}}
    return resource("DbtRun", name, NAMESPACE, references | {"steps": steps})


def bare_job(case: Case, name: str, commands: Sequence[str] = COMMANDS) -> Manifest:
    """What people write without an operator: the same image, the dbt commands in a shell."""
    folder = case.project_dir
    unpack = (
        f"mkdir {folder}; tar xzf /source/project.tar.gz -C {folder}; "
        if "configMap" in case.source
        else ""
    )
    script = " && ".join(f"dbt {command}" for command in commands)
    environment = {
        "DBT_PROFILES_DIR": "/profiles",
        "DBT_PROJECT_DIR": case.project_dir,
        "DBT_TARGET_PATH": "/tmp/target",  # noqa: S108
        "DBT_LOG_PATH": "/tmp/target",  # noqa: S108
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "HOME": "/tmp",  # noqa: S108
    }
    volumes: list[Manifest] = [
        {"name": "profiles", "secret": {"secretName": case.name}},
        {"name": "tmp", "emptyDir": {}},
    ]
    mounts = [{"name": "profiles", "mountPath": "/profiles"}, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    if "configMap" in case.source:
        volumes.append({"name": "source", "configMap": case.source["configMap"]})
        mounts.append({"name": "source", "mountPath": "/source"})
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsUser": 65532, "runAsNonRoot": True, "fsGroup": 65532},
        "volumes": volumes,
        "containers": [
            {
                "name": "dbt",
                "image": case.image,
                "command": ["sh", "-ec", unpack + script],
                "env": [{"name": key, "value": value} for key, value in environment.items()],
                "volumeMounts": mounts,
                "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}},
            }
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }


def timed(start: Callable[[], None], kind: str, name: str, condition: str) -> float:
    """Seconds from just before the object is created until a watch says that it has ended."""
    begin = time.monotonic()
    start()
    kubectl(
        "wait",
        f"{kind}/{name}",
        f"--for=condition={condition}",
        "--timeout=900s",
        namespace=NAMESPACE,
    )
    return time.monotonic() - begin


def one_pair(case: Case) -> tuple[float, float, dict[str, float]]:
    """One DbtRun and one bare Job: their seconds, and where the first one's went."""
    name = f"{case.name}-{uuid.uuid4().hex[:6]}"
    ours = timed(lambda: apply(run(case, name, STEPS)), "dbtrun", name, "Succeeded")
    spent = breakdown(name)
    bare = timed(lambda: apply(bare_job(case, f"bare-{name}")), "job", f"bare-{name}", "Complete")
    return ours, bare, spent


def breakdown(name: str) -> dict[str, float]:
    """Where the time of a run went, from the timestamps of its pod (whole seconds) and its
    result.json.
    """
    (pod,) = items("pods", NAMESPACE, f"--selector=dbt-operator.dev/run={name}")
    manifest = get("dbtrun", name, NAMESPACE)
    state = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    created = _moment(manifest["metadata"]["creationTimestamp"])
    started, ended = _moment(state["startedAt"]), _moment(state["finishedAt"])
    spent = {"create to dbt container": started - created, "dbt container": ended - started}
    result = json.loads(
        product.objects(manifest["status"]["resolved"]["location"])["attempt-1/result.json"]
    )
    for step in result["steps"]:
        spent[f"  of it {step['name']}"] = _moment(step["finished_at"]) - _moment(
            step["started_at"]
        )
    return spent


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def report(case: Case, pairs: list[tuple[float, float, dict[str, float]]]) -> None:
    """min, median and max of both and of the ratio, pair by pair."""
    print(f"\n{case.name}: {len(pairs)} pairs, seconds as min / median / max")
    for title, figures in (
        ("DbtRun", [ours for ours, _, _ in pairs]),
        ("bare Job", [bare for _, bare, _ in pairs]),
        ("ratio", [ours / bare for ours, bare, _ in pairs]),
    ):
        print(
            f"  {title:10} {min(figures):6.2f} / {statistics.median(figures):6.2f} / "
            f"{max(figures):6.2f}"
        )
    print("  where the DbtRun's median second went:")
    for key in pairs[0][2]:
        print(f"    {key:32} {statistics.median(spent.get(key, 0) for _, _, spent in pairs):6.2f}")


def start() -> None:
    """The product, its services, and the namespace that is measured in."""
    images = product.references()
    product.install_services(images)
    product.install_chart(images)
    scenarios.create_user()
    apply(namespace(NAMESPACE, restricted=False))
    apply(*scenarios.secrets(NAMESPACE))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--models", type=int, default=500)
    options = parser.parse_args()
    start()
    for case in cases(options.models):
        print(f"{case.name}: building it once", flush=True)
        prepare(case)
        pairs = []
        for number in range(1, options.pairs + 1):
            ours, bare, spent = one_pair(case)
            print(
                f"  pair {number}: DbtRun {ours:.2f} s, bare Job {bare:.2f} s, ratio "
                f"{ours / bare:.2f}",
                flush=True,
            )
            pairs.append((ours, bare, spent))
        report(case, pairs)


if __name__ == "__main__":
    main()
