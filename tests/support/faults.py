"""Runs that something happens to, and what is needed to make it happen and to see what came of
it.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import yaml

from tests.support import product
from tests.support.kube import PATIENCE, Manifest, get, items, kubectl, lines, secret, wait_for
from tests.support.scenarios import Scenario, artifacts, profiles, schema_of

# One with a warehouse and a bucket of its own, which are stopped; and one that is deleted.
NAMESPACE, DOOMED = "faults", "faults-doomed"
RUN_LABEL = "dbt-operator.dev/run"
GONE_ENDPOINT = f"http://gone.{NAMESPACE}.svc:9000"
_AGAIN = {"retry": {"maxAttempts": 2, "backoff": {"initial": "1s"}}}
_OWN_STORE = {"artifacts": artifacts() | {"endpoint": f"http://minio.{NAMESPACE}.svc:9000"}}
_OWN_WAREHOUSE = {"profiles": {"secretRef": {"name": "own-warehouse", "key": "profiles.yml"}}}
_GONE = artifacts() | {"endpoint": GONE_ENDPOINT}

# Overlay `waiting`: attempts get as far as the query that waits for the gate of their schema to be
# opened.
CANCELLED = Scenario("cancelled-soon", "Cancelled", "Cancelled", overlay="waiting")
DELETED = Scenario("deleted", overlay="waiting")
LOST_WITH_NAMESPACE = Scenario("doomed", overlay="waiting", run=_AGAIN)
TIMED_OUT = Scenario("timed-out-soon", reason="Timeout", overlay="waiting", run=_AGAIN)
# What it is given, one after the other, until dbt gets to its query within it.
TIMEOUTS = ("25s", "2m", "10m")
EVICTED = Scenario("evicted", "Succeeded", overlay="waiting", run=_AGAIN)
DRAINED = Scenario("drained", "Succeeded", overlay="waiting", run=_AGAIN)
EDITED = Scenario("edited", "Succeeded", overlay="waiting", run=_AGAIN)
WAREHOUSE_RESTARTED = Scenario(
    "warehouse-restarted", "Succeeded", overlay="waiting", target=_OWN_WAREHOUSE, run=_AGAIN
)
STORE_BACK = Scenario(
    "store-back",
    "Succeeded",
    overlay="waiting",
    project=_OWN_STORE,
    run={"steps": [{"run": {"select": ["measurements"]}}, {"build": {}}]} | _AGAIN,
)
STORE_GONE = Scenario("store-gone", "Succeeded", project={"artifacts": _GONE}, run=_AGAIN)
STORE_GONE_FAILS = Scenario(
    "store-gone-fails",
    reason="UploadFailed",
    message=GONE_ENDPOINT,
    project={"artifacts": _GONE | {"onFailure": "Fail"}},
    run=_AGAIN,
)
STUBBORN = Scenario("stubborn", "Cancelled", "Cancelled", overlay="stubborn")
TOGETHER = (
    STUBBORN,
    STORE_GONE,
    STORE_GONE_FAILS,
    CANCELLED,
    DELETED,
    STORE_BACK,
    EVICTED,
    DRAINED,
    EDITED,
    WAREHOUSE_RESTARTED,
)
EVERY = (*TOGETHER, TIMED_OUT, LOST_WITH_NAMESPACE)


def warehouse_of(scenario: Scenario) -> str:
    """The namespace of the PostgreSQL that a run works with."""
    return NAMESPACE if scenario is WAREHOUSE_RESTARTED else product.WAREHOUSE


# Services of our own


def own_services(images: Mapping[str, str]) -> list[Manifest]:
    """PostgreSQL and MinIO of the examples once more, to be stopped; and a store that is away for
    good.
    """
    found: list[Manifest] = []
    for name in ("postgres", "minio"):
        text = product.manifest_text(product.EXAMPLES / "local" / f"{name}.yaml", images)
        found += [
            document for document in yaml.safe_load_all(text) if document["kind"] != "Namespace"
        ]
    for manifest in found:
        manifest["metadata"]["namespace"] = NAMESPACE
    profile = profiles("mini", host=f"postgres.{NAMESPACE}.svc")
    return [
        *found,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "gone", "namespace": NAMESPACE},
            "spec": {
                "selector": {"app.kubernetes.io/name": "gone"},
                "ports": [{"name": "s3", "port": 9000}],
            },
        },
        secret("own-warehouse", NAMESPACE, {"profiles.yml": profile}),
    ]


def stop_store() -> None:
    """Stop our own MinIO, whose data stay: its pod is to go on with an image that does not
    exist.
    """
    _set_image_of_store("dbt-operator.local/stopped:1.0")
    wait_for("MinIO has stopped", lambda: "running" not in _store()["state"])


def start_store(images: Mapping[str, str]) -> None:
    """Let our own MinIO go on where it was stopped."""
    _set_image_of_store(images["minio"])
    wait_for("MinIO is back", lambda: _store()["ready"])


def store_started_at() -> datetime:
    """When our own MinIO was started the last time, to the second."""
    return moment(_store()["state"]["running"]["startedAt"])


def _set_image_of_store(image: str) -> None:
    (pod,) = items("pods", NAMESPACE, "--selector=app.kubernetes.io/name=minio")
    patch = json.dumps({"spec": {"containers": [{"name": "minio", "image": image}]}})
    kubectl(
        "patch",
        "pod",
        pod["metadata"]["name"],
        "--type=strategic",
        "-p",
        patch,
        namespace=NAMESPACE,
    )


def _store() -> Manifest:
    (pod,) = items("pods", NAMESPACE, "--selector=app.kubernetes.io/name=minio")
    found: Manifest = pod["status"]["containerStatuses"][0]
    return found


def restart_warehouse() -> None:
    """End our own PostgreSQL as a crash would; the kubelet starts it again, with its data."""
    kubectl(
        "exec",
        "deployment/postgres",
        "--",
        "pg_ctl",
        "stop",
        "--mode=immediate",
        "--no-wait",
        namespace=NAMESPACE,
    )


def drop_schemas() -> None:
    """What earlier runs left in the warehouse, gates that are open above all."""
    names = ", ".join(schema_of(each.name) for each in EVERY)
    product.psql(f"DROP SCHEMA IF EXISTS {names} CASCADE")


# The gate


def open_gate(scenario: Scenario) -> None:
    """Let a run's query end. A warehouse that has just been started may take a moment to answer."""

    def opened() -> bool:
        with suppress(AssertionError):
            product.psql(
                f"CREATE TABLE IF NOT EXISTS {schema_of(scenario.name)}.go ()",
                where=warehouse_of(scenario),
            )
            return True
        return False

    wait_for(f"the gate of {scenario.name} is open", opened)


def sessions(where: str) -> dict[str, int]:
    """The schemas whose gate is being waited for, each with the process that does."""
    gate = "substring(query FROM 'tablename = ''go'' and schemaname = ''(\\w+)''')"
    query = (
        f"SELECT {gate}, pid FROM pg_stat_activity "  # noqa: S608 -- our own words
        f"WHERE {gate} IS NOT NULL AND state = 'active'"
    )
    rows = (line.split("|") for line in lines(product.psql(query, "-At", where=where)))
    return {schema: int(pid) for schema, pid in rows}


def session(scenario: Scenario) -> int | None:
    """The process in the warehouse that waits for a run's gate."""
    return sessions(warehouse_of(scenario)).get(schema_of(scenario.name))


@contextmanager
def logged_disconnections() -> Iterator[None]:
    """The shared PostgreSQL writes down when a session ends that begins while this is entered."""

    def change(statement: str) -> None:
        product.psql(f"ALTER SYSTEM {statement}")
        product.psql("SELECT pg_reload_conf()")

    change("SET log_disconnections = on")
    try:
        yield
    finally:
        change("RESET log_disconnections")


def session_ended_at(pid: int) -> datetime:
    """When a session of the shared warehouse ended, by PostgreSQL's own log."""
    text = kubectl("logs", "deployment/postgres", "--timestamps", namespace=product.WAREHOUSE)
    found = [line for line in text.splitlines() if f"[{pid}] LOG:  disconnection" in line]
    assert found, f"process {pid} of the warehouse has not ended"
    return moment(found[-1].split(" ", 1)[0])


# Pods


def pod_of(name: str, where: str = NAMESPACE) -> Manifest | None:
    """The pod of a run that has not ended, if there is one."""
    found = items("pods", where, f"--selector={RUN_LABEL}={name}")
    return next((pod for pod in found if not _over(pod)), None)


def evict(name: str, where: str = NAMESPACE) -> None:
    """What a drain, the descheduler or an autoscaler does to a run's pod."""
    pod = pod_of(name, where)
    assert pod is not None
    metadata = {"name": pod["metadata"]["name"], "namespace": where}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{where}/pods/{metadata['name']}/eviction"
    kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def drain(name: str) -> None:
    """kubectl drain, for a run's pod alone; the node takes new pods again afterwards."""
    (node,) = items("nodes", "")
    node_name = node["metadata"]["name"]
    selector = f"--pod-selector={RUN_LABEL}={name}"
    try:
        kubectl(
            "drain",
            node_name,
            selector,
            "--delete-emptydir-data",
            "--ignore-daemonsets",
            f"--timeout={PATIENCE:g}s",
        )
    finally:
        kubectl("uncordon", node_name)


def container(pod: Manifest, name: str) -> Manifest:
    """The state of a container."""
    status = pod["status"]
    every = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    found: Manifest = next((each["state"] for each in every if each["name"] == name), {})
    return found


def dbt_has_ended(name: str) -> bool:
    """Whether dbt has ended in a pod of a run."""
    pods = items("pods", NAMESPACE, f"--selector={RUN_LABEL}={name}")
    return any("terminated" in container(pod, "dbt") for pod in pods)


def _over(pod: Manifest) -> bool:
    """Whether no container of a pod runs any more, or will."""
    ended = all("terminated" in container(pod, name) for name in ("dbt", "artifacts"))
    return ended or pod["status"].get("phase") in ("Succeeded", "Failed")


class Recording:
    """What a command prints while other things happen."""

    def __init__(self, *argv: str) -> None:
        self._file: IO[str] = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115 -- closed by stop()
        self._process = subprocess.Popen(["kubectl", *argv], stdout=self._file, text=True)

    def text(self) -> str:
        """All of it up to now; by its name, because the process would go on writing where we stop
        reading.
        """
        return Path(self._file.name).read_text()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._file.close()


class Log(Recording):
    """What the dbt container of a run's pod prints, which can be read when the pod is gone."""

    def __init__(self, scenario: Scenario, where: str = NAMESPACE) -> None:
        pod = pod_of(scenario.name, where)
        assert pod is not None, f"{scenario.name} has no pod"
        super().__init__(
            "--namespace",
            where,
            "logs",
            "--follow",
            "--timestamps",
            "-c",
            "dbt",
            pod["metadata"]["name"],
        )

    def moment_of(self, words: str) -> datetime:
        """When a line with these words was printed, and nothing if there is none."""
        found = re.search(rf"^(\S+) .*{re.escape(words)}", self.text(), re.MULTILINE)
        assert found, f"no line says {words!r}: {self.text()}"
        return moment(found.group(1))


class Pods(Recording):
    """Every change of a pod in the namespace, in order."""

    def __init__(self) -> None:
        super().__init__(
            "--namespace",
            NAMESPACE,
            "get",
            "pods",
            "--watch",
            "--output-watch-events",
            "-o",
            "json",
        )

    def seen_and_most_at_a_time(self, name: str) -> tuple[int, int]:
        """How many pods a run has had, and how many of them lived at the same time."""
        seen: set[str] = set()
        alive: set[str] = set()
        most = 0
        for event in _documents(self.text()):
            metadata = event["object"]["metadata"]
            if metadata.get("labels", {}).get(RUN_LABEL) != name:
                continue
            seen.add(metadata["uid"])
            if event["type"] == "DELETED" or _over(event["object"]):
                alive.discard(metadata["uid"])
            else:
                alive.add(metadata["uid"])
            most = max(most, len(alive))
        return len(seen), most


def _documents(text: str) -> Iterator[dict[str, Any]]:
    """JSON documents one after another; one that is still being written does not count."""
    decoder, at = json.JSONDecoder(), 0
    while found := re.compile(r"\S").search(text, at):
        try:
            document, at = decoder.raw_decode(text, found.start())
        except json.JSONDecodeError:
            return
        yield document


def moment(text: str) -> datetime:
    """A moment as Kubernetes writes it."""
    return datetime.fromisoformat(text)


# Runs


def first_attempt_is_over(scenario: Scenario) -> bool:
    """Whether it is recorded how it ended."""
    return "reason" in get("dbtrun", scenario.name, NAMESPACE)["status"]["attempts"][0]
