"""Backfills on the warehouse of the examples, and what is read of them there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from tests.support import product
from tests.support.kube import Manifest, get, items, kubectl, lines, resource, wait_for
from tests.support.scenarios import NAMESPACE, artifacts, project_source, schema_of

PROJECT = "windows"
WEEK = [f"2024-01-0{number}" for number in range(1, 8)]
STEPS: list[Manifest] = [{"build": {"select": ["tag:incremental"]}}]
_ENDED = ("Succeeded", "Failed", "Cancelled", "Planned")


def project(images: Mapping[str, str]) -> list[Manifest]:
    """The DbtProject that all of them run."""
    spec = {
        "image": images["dbt"],
        "source": {"configMap": {"name": PROJECT}},
        "artifacts": artifacts(),
        "pod": {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}}},
    }
    return [project_source(PROJECT, "windows"), resource("DbtProject", PROJECT, NAMESPACE, spec)]


def target(name: str) -> Manifest:
    spec = {
        "target": "prod",
        "profiles": {"secretRef": {"name": "warehouse", "key": "profiles.yml"}},
        "schemaPattern": "^analytics_.*$",
    }
    return resource("DbtTarget", name, NAMESPACE, spec)


def run_spec(name: str, **spec: Any) -> Manifest:
    """A run in the schema of a backfill."""
    env = [{"name": "SCHEMA", "value": schema_of(name)}]
    return {"projectRef": {"name": PROJECT}, "targetRef": {"name": name}, "env": env, "steps": STEPS} | spec


def backfill(name: str, *, schema: str = "", seconds: float = 0, run: Manifest | None = None, **spec: Any) -> Manifest:
    """Seven days of the models that are tagged incremental."""
    template = run_spec(schema or name, vars={"ds": "$(window.start)", "seconds": seconds}) | (run or {})
    base: Manifest = {"runTemplate": {"spec": template}}
    if "resumeFrom" not in spec:
        base["windows"] = {"dates": {"from": WEEK[0], "to": WEEK[-1], "every": "1d"}}
    return resource("DbtBackfill", name, NAMESPACE, base | spec)


def clean(*names: str) -> None:
    """Nothing is left of earlier backfills of these names."""
    kubectl("delete", "dbtbackfill", *names, "--ignore-not-found", "--wait", namespace=NAMESPACE)


_TABLES = """
SET ROLE e2e;
CREATE TABLE {0}.broken (day date);
CREATE TABLE {0}.daily (day date, amount int);
CREATE TABLE {0}.window_log (day date, at timestamptz);
CREATE TABLE {0}.batches AS
    SELECT n AS id, timestamp '2024-01-01' + n * interval '6 hours' AS at, text 'old' AS state
    FROM generate_series(0, 27) AS n
"""


def prepare_schema(name: str) -> None:
    """The tables are there, as windows that work side by side cannot all create them."""
    schema = schema_of(name)
    product.psql(f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema} AUTHORIZATION e2e")
    product.psql(_TABLES.format(schema))


def query(name: str, text: str) -> list[str]:
    """Rows of a query in the schema of a backfill."""
    return list(lines(product.psql(f"SET search_path = {schema_of(name)}; {text}", "-At")))[1:]


def worked(name: str) -> list[str]:
    """The windows that were worked through, each as often as it was, in the order of time."""
    return query(name, "SELECT day FROM window_log ORDER BY at")


def status(name: str) -> Manifest:
    found: Manifest = get("dbtbackfill", name, NAMESPACE).get("status", {})
    return found


def phases(name: str) -> dict[str, str]:
    """How each window stands."""
    return {entry["window"]: entry["phase"] for entry in status(name).get("ledger", ())}


def ended(name: str, timeout: float = 300) -> Manifest:
    """Its status, once it has ended."""

    def look() -> Manifest | None:
        found = status(name)
        return found if found.get("phase") in _ENDED else None

    return wait_for(f"DbtBackfill {name} ends", look, timeout)


def pods(name: str) -> list[Manifest]:
    """The pods on the target of a backfill."""
    return items("pods", NAMESPACE, f"--selector=dbt-operator.dev/target={name}")


@contextmanager
def logged_statements() -> Iterator[None]:
    """The warehouse writes down statements that take a while, with how long they took."""

    def change(statement: str) -> None:
        product.psql(f"ALTER SYSTEM {statement}")
        product.psql("SELECT pg_reload_conf()")

    change("SET log_min_duration_statement = '300ms'")
    try:
        yield
    finally:
        change("RESET log_min_duration_statement")


def intervals(name: str) -> list[tuple[datetime, datetime, str]]:
    """From when to when the warehouse has worked on which day, by its own log."""
    text = kubectl("logs", "deployment/postgres", "--timestamps", "--since=20m", namespace=product.WAREHOUSE)
    found: list[tuple[datetime, datetime, str]] = []
    entries = re.split(r"\n(?=\S+ \S+ \S+ \S+ \[\d+\] )", text)
    for entry in entries:
        took = re.search(r"duration: ([\d.]+) ms", entry)
        day = re.search(r"cast\('([\d-]+)' as date\)", entry)
        if took and day and f'"{schema_of(name)}"' in entry and "pg_sleep" in entry:
            end = datetime.fromisoformat(entry.split(" ", 1)[0])
            found.append((end - timedelta(milliseconds=float(took.group(1))), end, day.group(1)))
    return found


def most_at_once(name: str) -> int:
    """How many windows the warehouse has worked on at a time."""
    found = intervals(name)
    return max((sum(1 for begin, end, _ in found if begin <= moment < end) for moment, _, _ in found), default=0)
