"""The same project, done by the runner and by bare dbt, each in a warehouse of its own."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import duckdb

from dbt_protocol.plans import Step
from dbt_runner import cache_files
from tests.support.bare_dbt import Bare, BareDbt, Order
from tests.support.pods import Ended, Pod, profile
from tests.support.postgres import Postgres
from tests.support.shaped_projects import State

# The names in `status.nodes` for dbt's statuses, as a person would count them.
_COUNTED = {
    "success": "success",
    "pass": "passed",
    "warn": "warn",
    "fail": "fail",
    "error": "error",
    "runtime error": "error",
    "partial success": "error",
    "skipped": "skipped",
    "no-op": "no_op",
}
_SECTIONS = (
    *("nodes", "sources", "macros", "docs", "exposures", "metrics", "groups", "selectors"),
    *("disabled", "semantic_models", "saved_queries", "unit_tests", "functions", "child_map"),
)
_NODE_FIELDS = ("schema", "alias", "config", "depends_on", "checksum", "access", "version")


class Warehouse(Protocol):
    """A database of one side."""

    def make_profile(self) -> str: ...

    def execute(self, *statements: str) -> list[tuple[Any, ...]]: ...


@dataclass(frozen=True)
class DuckDB:
    """A file of its own."""

    path: Path

    def make_profile(self) -> str:
        return profile(self.path)

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.path)) as connection:
            for statement in statements:
                found = connection.execute(statement)
            return [tuple(row) for row in found.fetchall()]


@dataclass(frozen=True)
class Database:
    """A database of its own in a server."""

    server: Postgres

    def make_profile(self) -> str:
        return self.server.make_profile(dbname=self.server.database)

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.server.execute(*statements)


def make_duckdb(root: Path) -> Warehouse:
    root.mkdir(parents=True)
    return DuckDB(root / "warehouse.duckdb")


def make_database(server: Postgres) -> Callable[[Path], Warehouse]:
    """How to make databases in a server."""

    def make(root: Path) -> Warehouse:
        name = f"{root.parent.name}_{root.name}".replace("-", "_")
        server.execute(f'create database "{name}"')
        return Database(replace(server, database=name))

    return make


def describe_tables(warehouse: Warehouse) -> dict[str, Any]:
    """All that is in a warehouse: columns and numbers of rows, and whole what hooks wrote down."""
    columns: dict[str, list[str]] = {}
    for schema, table, column in warehouse.execute(
        "select table_schema, table_name, column_name from information_schema.columns"
        " where table_schema not in ('information_schema', 'pg_catalog')"
    ):
        columns.setdefault(f'"{schema}"."{table}"', []).append(column)
    found: dict[str, Any] = {}
    for name, its in columns.items():
        what = "*" if '_watch"' in name else "count(*)"
        rows = warehouse.execute(f"select {what} from {name}")  # noqa: S608 -- our own names
        found[name] = (sorted(its), sorted(rows, key=repr))
    return found


def describe_artifact(path: Path) -> dict[str, Any]:
    """What two artifacts of the same command have in common, whoever has had it made."""
    document = json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, Any] = {"schema": document["metadata"]["dbt_schema_version"]}
    if path.name == "manifest.json":
        found |= {section: sorted(document.get(section) or ()) for section in _SECTIONS}
        for name, node in document["nodes"].items():
            found[name] = {field: node.get(field) for field in _NODE_FIELDS}
    elif path.name == "catalog.json":
        found |= {section: sorted(document[section]) for section in ("nodes", "sources")}
        found["errors"] = document["errors"]
    return found


def count(statuses: Mapping[str, str]) -> dict[str, int]:
    """The counts that a status has to show for these results; hooks and operations are no nodes."""
    nodes = {uid: each for uid, each in statuses.items() if not uid.startswith("operation.")}
    found = Counter(_COUNTED[status] for status in nodes.values())
    return {"total": len(nodes), **found}


@dataclass
class Both:
    """Both sides of a state, which go on from where they have come to."""

    root: Path
    state: State
    make: Callable[[Path], Warehouse]
    dbt: BareDbt
    pods: list[Pod] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ours, self.theirs = self.make(self.root / "ours"), self.make(self.root / "theirs")
        self.folder = self.root / "bare"
        self.files = self.state.files
        bare = Pod(self.folder, self.files, self.theirs.make_profile())
        self.project = bare.layout.project
        self.env = {
            "HOME": str(bare.root),
            "DBT_PROFILES_DIR": str(bare.layout.profiles),
            "DBT_TARGET": "prod",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            **self.state.env,
        }

    def edit(self, name: str, text: str) -> None:
        """Change a file of the project, for both."""
        self.files[name] = text
        (self.project / name).write_text(text, encoding="utf-8")

    def run(self, steps: Sequence[Step], before: Ended | None = None, **plan: Any) -> Ended:
        """Have the runner do the steps, after another run or attempt, if there was one."""
        root = self.root / f"pod{len(self.pods)}"
        pod = Pod(root, self.files, self.ours.make_profile(), dict(self.state.env))
        self.pods.append(pod)
        for folder in (pod.layout.cache, pod.layout.new_cache):
            folder.mkdir(parents=True)
        if before is not None:
            shutil.copytree(before.layout.run, pod.layout.previous)
            stored = cache_files.stored(before.layout)
            if stored.exists():  # not of a project that asks for the time while it is parsed
                shutil.copyfile(stored, cache_files.restored(pod.layout))
        cache_files.announce(pod.layout)
        usual: dict[str, Any] = {"deps": "IfMissing", "schema_pattern": "^analytics(_.*)?$"}
        return pod.run(*steps, **{**usual, "cached": True, **plan})

    def run_bare(self, steps: Sequence[Step], kept: str = "") -> dict[str, Bare]:
        """Have dbt's command line do the same, without the runner.

        Args:
            steps: the commands.
            kept: a folder for what they leave, where it must not replace what others have left.
        """
        found = {}
        for name, argv in (("deps", ["deps"]), *((each.name, each.argv) for each in steps)):
            order = Order(kept + name, list(argv), str(self.project), self.env)
            found[name] = self.dbt.run(order)
        deps = found.pop("deps")
        assert deps.code == 0, deps.log
        return found

    def find_artifacts(self, step: str) -> list[Path]:
        """The artifacts that bare dbt has left of a command."""
        return sorted((self.project / "kept" / step).glob("*.json"))
