"""Projects in the shape of real ones end in pods as they do with bare dbt, in a Job of the same
image on the same warehouse.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

import pytest

from tests.cluster.images import DBT_LOCKS
from tests.support import product
from tests.support.bare_dbt import Bare, Order, read_told
from tests.support.both_ways import count
from tests.support.kube import Manifest, apply, get, kubectl, resource, secret, wait_for
from tests.support.scenarios import (
    CONFINED,
    NAMESPACE,
    PROJECTS,
    UNPRIVILEGED,
    artifacts,
    profiles,
    schema_of,
)
from tests.support.shaped_projects import BUILDS, BY_NAME, STATES, State

# Without a cluster there are more, and more of each: tests/unit/dbt_runner/worker/test_bare_dbt.py.
DEFAULT = [state for state in STATES if state.name != "partly"]
OTHERS = [BY_NAME[name] for name in ("retail-failing", "observed-warning", "events-green")]
RUNS = [(state, "dbt") for state in DEFAULT]
RUNS += [(state, f"dbt-{version}") for version in DBT_LOCKS for state in OTHERS]
SCRATCH = "/scratch"  # of the Job's pod
FOLDER = f"{SCRATCH}/project"
# The preview does not get through the others: it takes no names with blanks, and breaks down where
# a package asks PostgreSQL for relations, and at unit tests. A failed hook it tells lies of. What
# it makes of an ephemeral model has no alias, which PostgreSQL 15 refuses: no state is green.
PREVIEW = "dbt-2.0"
PREVIEWS_REASON = "ModelError"
# They are no nodes in the results of dbt 1, and not in ours; the preview calls them skipped.
EPHEMERAL = {
    f"model.observed.{path.stem}"
    for path in (PROJECTS / "observed" / "models" / "intermediate").glob("*.sql")
}
PREVIEWED = [BY_NAME[name] for name in ("observed-green", "observed-warning")]
RUNS += [(state, PREVIEW) for state in PREVIEWED]
JOBS = {(project, "dbt"): [s for s in DEFAULT if s.project == project] for project in BUILDS}
JOBS["observed", PREVIEW] = PREVIEWED
LEFT_OUT = {PREVIEW: "resource_type:unit_test"}
# With all of them at once on a slow node the warehouse answers its probe too late, and is cut off.
AT_A_TIME = 4
COUNTED = {"passed": "pass", "no_op": "noOp"}  # the names of a status for those of summaries


def name_run(state: State, image: str) -> str:
    return f"{state}{image.removeprefix('dbt').replace('.', '-')}"


def name_project(name: str, image: str) -> str:
    return f"shaped-{name}{image.removeprefix('dbt').replace('.', '-')}"


def name_job(project: str, image: str) -> str:
    return name_project(project, image).replace("shaped", "bare")


def make_run(state: State, image: str) -> Manifest:
    """A run that loads the sources, if it has to, and builds everything."""
    name = name_run(state, image)
    start, end = (BUILDS["events"][1], BUILDS["events"][3])
    build: Manifest = {"build": {"exclude": [LEFT_OUT[image]]} if image in LEFT_OUT else {}}
    land = {"runOperation": {"macro": "land", "args": dict(state.args)}}
    spec: Manifest = {
        "projectRef": {"name": name_project(state.project, image)},
        "targetRef": {"name": "shaped"},
        "steps": [*([land] if state.lands else []), build],
        "env": [
            {"name": key, "value": value}
            for key, value in {"SCHEMA": schema_of(name), **state.env}.items()
        ],
    }
    if state.vars:
        spec["vars"] = dict(state.vars)
    if state.project == "events":
        spec["eventTime"] = {"start": start, "end": end}
    return resource("DbtRun", name, NAMESPACE, spec)


def make_project(name: str, image: str, images: Mapping[str, str]) -> Manifest:
    spec = {
        "image": images[image],
        "source": {"configMap": {"name": f"shaped-{name}"}},
        "artifacts": artifacts(),
        "pod": {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}}},
    }
    return resource("DbtProject", name_project(name, image), NAMESPACE, spec)


def make_source(name: str) -> Manifest:
    """A project, as runs and the Job find it."""
    data = base64.b64encode(product.packed(PROJECTS / name)).decode()
    return make_config_map(f"shaped-{name}", binaryData={"project.tar.gz": data})


def make_config_map(name: str, **data: Mapping[str, str]) -> Manifest:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **data}


def make_orders(project: str, image: str) -> list[Order]:
    """What the Job has bare dbt do: each state of a project one after the other, in a schema of its
    own.
    """
    orders = [order for state in JOBS[project, image] for order in make_orders_of(state, image)]
    return [Order("deps", ["deps"], FOLDER, {}, "/source/project.tar.gz"), *orders]


def make_orders_of(state: State, image: str) -> list[Order]:
    name = name_run(state, image)
    env = {"SCHEMA": schema_of(f"bare-{name}"), **state.env}
    words = {step.name: list(step.argv) for step in state.make_steps()}
    if image in LEFT_OUT:
        words["build"] += ["--exclude", LEFT_OUT[image]]
    told = {key: argv for key, argv in words.items() if key in ("land", "build")}
    return [Order(f"{name} {key}", argv, FOLDER, env) for key, argv in told.items()]


def make_job(project: str, image: str, images: Mapping[str, str]) -> list[Manifest]:
    """A Job that prints what bare dbt makes of the states of a project."""
    name = name_job(project, image)
    orders = "".join(order.to_line() for order in make_orders(project, image))
    program = PROJECTS.parents[1] / "support" / "bare_dbt.py"
    mounts = {"bare": "/bare", "source": "/source", "profiles": "/profiles", "scratch": SCRATCH}
    container = {
        "name": "dbt",
        "image": images[image],
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-I", "/bare/bare_dbt.py", "/bare/orders.jsonl"],
        "env": [
            {"name": "HOME", "value": SCRATCH},
            {"name": "SCHEMA", "value": schema_of(name)},
            {"name": "DBT_PROFILES_DIR", "value": "/profiles"},
            {"name": "DBT_SEND_ANONYMOUS_USAGE_STATS", "value": "false"},
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}},
        "securityContext": CONFINED,
        "volumeMounts": [{"name": key, "mountPath": path} for key, path in mounts.items()],
    }
    pod = {
        "restartPolicy": "Never",
        "containers": [container],
        "securityContext": {**UNPRIVILEGED, "fsGroup": UNPRIVILEGED["runAsUser"]},
        "volumes": [
            {"name": "bare", "configMap": {"name": name}},
            {"name": "source", "configMap": {"name": f"shaped-{project}"}},
            {"name": "profiles", "secret": {"secretName": "shaped"}},
            {"name": "scratch", "emptyDir": {}},
        ],
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"template": {"spec": pod}, "backoffLimit": 0},
    }
    texts = {"bare_dbt.py": program.read_text(), "orders.jsonl": orders}
    return [make_config_map(name, data=texts), job]


@pytest.fixture(scope="module", autouse=True)
def _started(warehouse: None, images: Mapping[str, str]) -> None:  # noqa: ARG001 -- it has to be there first
    """All runs and the Jobs, some of them side by side."""
    runs = [make_run(*each) for each in RUNS]
    jobs = [job for each in JOBS for job in make_job(*each, images)]
    for kind, manifests in (("dbtrun", runs), ("job", jobs[1::2])):
        names = [each["metadata"]["name"] for each in manifests]
        kubectl("delete", kind, *names, "--ignore-not-found", "--wait", namespace=NAMESPACE)
    drop_schemas()
    projects = {(state.project, image) for state, image in RUNS}
    target = {
        "target": "prod",
        "profiles": {"secretRef": {"name": "shaped", "key": "profiles.yml"}},
        "schemaPattern": "^analytics(_.*)?$",
        "maxConcurrentRuns": AT_A_TIME,
    }
    apply(
        secret("shaped", NAMESPACE, {"profiles.yml": profiles("shop")}),
        *(make_source(project) for project in BUILDS),
        *(make_project(*each, images) for each in sorted(projects)),
        resource("DbtTarget", "shaped", NAMESPACE, target),
        *jobs,
        *runs,
    )


def drop_schemas() -> None:
    """What an earlier run of these tests has left, which an incremental model would add to."""
    runs = [name_run(*each) for each in RUNS]
    names = [*runs, *(f"bare-{name}" for name in runs)]
    like = " OR ".join(f"nspname LIKE '{schema_of(name)}%'" for name in names)
    found = product.psql(f"SELECT nspname FROM pg_namespace WHERE {like}", "-At").split()  # noqa: S608 -- our own words
    if found:
        listed = ", ".join(f'"{name}"' for name in found)
        product.psql(f"DROP SCHEMA {listed} CASCADE")


@pytest.fixture(scope="module")
def bare(_started: None) -> dict[str, Bare]:
    """What bare dbt says, by state and command."""
    return {told.name: told for each in JOBS for told in wait_for_bare(*each)}


def wait_for_bare(project: str, image: str) -> list[Bare]:
    name = name_job(project, image)

    def look() -> bool:
        status = get("job", name, NAMESPACE).get("status", {})
        return bool(status.get("succeeded") or status.get("failed"))

    wait_for(f"{name} is done", look)
    text = kubectl("logs", f"job/{name}", "--tail=-1", namespace=NAMESPACE)
    found = read_told(text)
    assert len(found) == len(make_orders(project, image)), text
    return found


@pytest.mark.parametrize(("state", "image"), RUNS, ids=[name_run(*each) for each in RUNS])
def test_a_run_ends_as_bare_dbt_does(state: State, image: str, bare: dict[str, Bare]) -> None:
    run = product.wait_until_finished(name_run(state, image), NAMESPACE)
    bare_image = image if image == PREVIEW else "dbt"
    told, status = bare[f"{name_run(state, bare_image)} build"], run["status"]
    reason = PREVIEWS_REASON if image == PREVIEW else state.reason
    assert (status["phase"], status.get("reason", "")) == (
        "Failed" if reason else "Succeeded",
        reason,
    ), status["message"]
    assert bool(told.code) is bool(reason), told.log
    theirs = {name: found for name, found in told.statuses.items() if name not in EPHEMERAL}
    counts = {COUNTED.get(name, name): number for name, number in count(theirs).items()}
    shown = {name: number for name, number in status["nodes"].items() if number}
    done = shown.pop("done")  # a text for a column
    assert shown == {name: number for name, number in counts.items() if number}
    assert done == f"{counts['total'] - counts.get('skipped', 0)}/{counts['total']}"
    for failure in status.get("failures", ()):
        assert told.statuses[failure["uniqueId"]] == failure["status"]
