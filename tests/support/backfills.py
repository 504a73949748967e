"""Backfills of the project `windows`, and what each of their windows has done, as the warehouse
tells it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

import kubernetes

from tests.support import product
from tests.support.kube import PATIENCE, Manifest, get, items, kubectl, lines, resource, wait_for
from tests.support.scenarios import PROJECTS, artifacts, schema_of

NAMESPACE = "backfills"
PROJECT = "windows"
FOLDER = PROJECTS / PROJECT
GROUP, VERSION = "dbt-operator.dev", "v1alpha1"
BACKFILL, RUN, TARGET = (f"{GROUP}/{name}" for name in ("backfill", "run", "target"))
BUILD: Manifest = {"build": {"select": ["tag:incremental"]}}
Interval = tuple[datetime, datetime]


def days(count: int, since: str = "2024-01-01") -> list[str]:
    """So many days, one after another."""
    first = datetime.fromisoformat(since)
    return [(first + timedelta(days=number)).date().isoformat() for number in range(count)]


# Objects


def project(images: Mapping[str, str], where: str = NAMESPACE) -> list[Manifest]:
    """The project that all backfills share, and the ConfigMap that it is in."""
    data = base64.b64encode(product.packed(FOLDER)).decode()
    spec = {
        "image": images["dbt"],
        "source": {"configMap": {"name": PROJECT}},
        "artifacts": artifacts() | {"prefix": where},
        "pod": {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}}},
    }
    metadata = {"name": PROJECT, "namespace": where}
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "binaryData": {"project.tgz": data},
    }
    return [config_map, resource("DbtProject", PROJECT, where, spec)]


def target(name: str, where: str = NAMESPACE) -> Manifest:
    """A target with one slot, whose runs write into a schema of its own."""
    spec = {
        "target": "prod",
        "profiles": {"secretRef": {"name": "warehouse", "key": "profiles.yml"}},
        "schemaPattern": f"^{schema_of(name)}$",
        "env": [{"name": "SCHEMA", "value": schema_of(name)}],
    }
    return resource("DbtTarget", name, where, spec)


def run_spec(on: str, **spec: Any) -> Manifest:
    """The spec of a DbtRun, or of a template for them."""
    return {"projectRef": {"name": PROJECT}, "targetRef": {"name": on}, "steps": [BUILD]} | spec


def backfill(  # noqa: PLR0913 -- by name, each a field of what it makes
    name: str,
    windows: Manifest,
    *,
    on: str = "",
    vars: Manifest | None = None,  # noqa: A002 -- as dbt and the API call it
    run: Manifest | None = None,
    where: str = NAMESPACE,
    **spec: Any,
) -> Manifest:
    """A backfill on a target, by default on that of its own name. Each window gets its start as the
    var ds.
    """
    usual = {"vars": {"ds": "$(window.start)"} | (vars or {})}
    template = run_spec(on or name, **(usual if run is None else run))
    return resource(
        "DbtBackfill", name, where, {"runTemplate": {"spec": template}, "windows": windows, **spec}
    )


def dates(which: list[str], every: str = "1d") -> Manifest:
    """The windows of some days that follow each other."""
    return {"dates": {"from": which[0], "to": which[-1], "every": every}}


# What Kubernetes says of them


def status(name: str, where: str = NAMESPACE) -> Manifest:
    found: Manifest = get("dbtbackfill", name, where).get("status", {})
    return found


def finished(name: str, where: str = NAMESPACE, timeout: float = PATIENCE) -> Manifest:
    """The status of a backfill, once it has ended."""

    def look() -> Manifest | None:
        found = get("dbtbackfill", name, where)
        ended: Manifest = found.get("status", {})
        return ended if product.condition(found, "Finished") == "True" else None

    try:
        return wait_for(f"DbtBackfill {name} ends", look, timeout)
    except AssertionError as error:
        raise AssertionError(f"{error}; it is {json.dumps(status(name, where))}") from None


def patch(name: str, **spec: Any) -> None:
    kubectl(
        "patch",
        "dbtbackfill",
        name,
        "--type=merge",
        "-p",
        json.dumps({"spec": spec}),
        namespace=NAMESPACE,
    )


def phases(found: Manifest) -> dict[str, str]:
    """The phase of each window, in the order of the ledger."""
    return {entry["window"]: entry["phase"] for entry in found.get("ledger") or ()}


def in_phase(found: Manifest, *wanted: str) -> list[str]:
    """The windows that are in one of some phases."""
    return [window for window, phase in phases(found).items() if phase in wanted]


def counts(found: Manifest) -> dict[str, int]:
    """status.windows, without what is zero."""
    return {
        name: count for name, count in found["windows"].items() if isinstance(count, int) and count
    }


def entry(found: Manifest, window: str) -> Manifest:
    """What the ledger says of a window."""
    (wanted,) = (each for each in found["ledger"] if each["window"] == window)
    return dict(wanted)


def runs(name: str, where: str = NAMESPACE) -> list[Manifest]:
    """The DbtRuns of a backfill."""
    return items("dbtruns", where, f"--selector={BACKFILL}={name}")


def pod_intervals(on: str) -> list[tuple[Interval, str]]:
    """When each pod of a target was at work, and for which run, the earliest first."""
    found = items("pods", NAMESPACE, f"--selector={TARGET}={on}")
    return sorted((_interval(pod), pod["metadata"]["labels"][RUN]) for pod in found)


def _interval(pod: Manifest) -> Interval:
    """From the start of its first container to the end of its last one."""
    state = pod["status"]
    ended = [
        c["state"]["terminated"]
        for c in (*state["initContainerStatuses"], *state["containerStatuses"])
    ]
    return (
        min(datetime.fromisoformat(each["startedAt"]) for each in ended),
        max(datetime.fromisoformat(each["finishedAt"]) for each in ended),
    )


def every_status(names: Collection[str], where: str) -> Iterator[tuple[str, Manifest]]:
    """Name and status of some backfills, each time that a watch tells of a change, until all have
    ended.
    """
    client = kubernetes.config.new_client_from_config()
    source = kubernetes.client.CustomObjectsApi(client).list_namespaced_custom_object
    ended: set[str] = set()
    try:
        for event in kubernetes.watch.Watch().stream(
            source, GROUP, VERSION, where, "dbtbackfills", timeout_seconds=int(PATIENCE)
        ):
            found = event["raw_object"]
            name = found["metadata"]["name"]
            if name not in names:
                continue
            yield name, found.get("status", {})
            if product.condition(found, "Finished") == "True":
                ended.add(name)
            if ended == set(names):
                return
    finally:
        client.rest_client.pool_manager.clear()
    raise AssertionError(f"not in {PATIENCE:g} s: the end of {sorted(set(names) - ended)}")


# What the warehouse says of them

_HELD = (
    " FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%{schema}.hold(%' AND pid <> "
    "pg_backend_pid()"
)


@dataclass(frozen=True)
class Sql:
    """The schema of a target in PostgreSQL."""

    target: str

    @property
    def schema(self) -> str:
        return schema_of(self.target)

    def do(self, statement: str) -> list[str]:
        """The rows that PostgreSQL answers with; ``{schema}`` stands for the schema's name."""
        return list(lines(product.psql(statement.replace("{schema}", self.schema), "-At")))

    def lay_tables(self) -> None:
        """Make the schema anew, as the user that dbt is."""
        # Of a test that was broken off: it would keep its locks.
        self.do("SELECT pg_terminate_backend(pid)" + _HELD)
        self.do(
            "SET client_min_messages = warning; SET ROLE e2e; "
            + (FOLDER / "tables.sql").read_text()
        )

    def break_days(self, *which: str) -> None:
        """Let the test fail on some days."""
        self._put("broken_days", which)

    def mend(self) -> None:
        """No day's test fails any more."""
        self.do("DELETE FROM {schema}.broken_days")

    def hold(self, *which: str) -> None:
        """Let the queries of some days not end."""
        self._put("held_days", which)

    def release(self, *which: str) -> None:
        """Let those of some days end, or those of all."""
        only = f" WHERE day IN ({_texts(which)})" if which else ""
        self.do("DELETE FROM {schema}.held_days" + only)  # noqa: S608 -- our own words

    def _put(self, table: str, which: Iterable[str]) -> None:
        self.do(f"INSERT INTO {{schema}}.{table} SELECT unnest(ARRAY[{_texts(which)}])")

    def log(self) -> list[str]:
        """The windows that have begun, in that order, each as often as it has."""
        return self.do("SELECT day FROM {schema}.window_log ORDER BY started_at")

    def at_work(self) -> list[int]:
        """The processes whose query is held now."""
        return [int(pid) for pid in self.do("SELECT pid" + _HELD)]

    def wait_for_windows(self, count: int, timeout: float = PATIENCE) -> list[str]:
        """The windows that have begun, once so many queries are held at a time."""
        wait_for(
            f"{count} windows of {self.target} are at work",
            lambda: len(self.at_work()) == count,
            timeout,
        )
        return self.log()

    def spans(self) -> dict[str, Interval]:
        """From when to when each window was at work: its sessions' begin and end, by PostgreSQL's
        own log.
        """
        rows = self.do(
            "SELECT day, pid FROM {schema}.window_log UNION ALL SELECT day, pid FROM {schema}.daily"
        )
        seen = sessions()
        of_window: dict[str, list[Interval]] = {}
        for window, pid in (row.split("|") for row in rows):
            of_window.setdefault(window, []).append(seen[int(pid)])
        return {
            name: (min(i[0] for i in found), max(i[1] for i in found))
            for name, found in of_window.items()
        }


def _texts(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


_DISCONNECTION = re.compile(
    r"^(?P<end>\d\S+ \S+) \S+ \[(?P<pid>\d+)\] LOG:  disconnection: session time: "
    r"(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>[\d.]+)",
    re.MULTILINE,
)


def sessions() -> dict[int, Interval]:
    """Begin and end of the sessions that the shared warehouse has logged, by process. It logs them
    only while :func:`faults.logged_disconnections` is entered.
    """
    return sessions_in(
        kubectl("logs", "deployment/postgres", "--since=15m", namespace=product.WAREHOUSE)
    )


def sessions_in(log: str) -> dict[int, Interval]:
    """Begin and end of the sessions that a log of PostgreSQL tells of, by process."""
    found = {}
    for match in _DISCONNECTION.finditer(log):
        end = datetime.fromisoformat(match["end"])
        lasted = timedelta(
            hours=int(match["hours"]),
            minutes=int(match["minutes"]),
            seconds=float(match["seconds"]),
        )
        found[int(match["pid"])] = (end - lasted, end)
    return found


def most_at_a_time(spans: Iterable[Interval]) -> int:
    """How many of some intervals overlap at most. What begins when another ends does not overlap
    it.
    """
    moments = sorted(
        (moment, step) for span in spans for moment, step in zip(span, (1, -1), strict=True)
    )
    return max(accumulate(step for _, step in moments), default=0)
