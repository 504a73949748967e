"""What each room may import from outside: whatever is not listed is refused, and so is a room that
is not. Which rooms of ours it may import is said by the contracts in pyproject.toml.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import PurePath

import pytest

from tests.support.places import OPERATOR, modules

OURS = {"dbt_notifier", "dbt_operator", "dbt_protocol", "dbt_runner"}
PACKAGES: dict[str, set[str]] = {
    "dbt_notifier": {"_typeshed", "aiohttp", "structlog"},  # the first for type checkers alone
    "dbt_notifier/kinds": {"aiosmtplib"},
    "dbt_operator": set(),
    "dbt_operator/api": {"pydantic", "pydantic_core", "yaml"},
    "dbt_operator/cluster": {"kubernetes", "structlog", "urllib3"},
    "dbt_operator/common": set(),
    "dbt_operator/metrics": {"prometheus_client", "structlog"},
    "dbt_operator/observing": {"pydantic", "structlog"},
    "dbt_operator/planning": {"cronsim", "pydantic", "tzdata"},
    "dbt_operator/process": {"structlog"},
    "dbt_operator/reconcile": {"pydantic", "structlog"},
    "dbt_operator/watching": {"aiohttp", "kopf", "structlog"},
    "dbt_protocol": {"typing_extensions"},  # for type checkers alone
    "dbt_runner": {"certifi", "minio", "urllib3"},
    "dbt_runner/outcome": set(),
    "dbt_runner/prepare": set(),
    "dbt_runner/supervise": set(),
    "dbt_runner/upload": set(),
    # What dbt brings with it.
    "dbt_runner/worker": {"click", "dbt", "dbt_common", "jinja2", "yaml"},
}
# Pure: they ask no clock, no file, no process and no network.
PURE = {
    "dbt_operator/planning": {
        "__future__", "bisect", "calendar", "collections", "contextlib", "dataclasses", "datetime",
        "enum", "functools", "hashlib", "itertools", "json", "pathlib", "re",
        "statistics", "typing", "zoneinfo",
    },
    "dbt_protocol": {
        "__future__", "collections", "dataclasses", "enum", "hashlib", "json", "typing",
    },
}  # fmt: skip


def room_of(path: PurePath) -> str:
    """The package that a module is in, or the folder of one that has folders."""
    return "/".join(path.parts[: min(2, len(path.parts) - 1)])


def imported(tree: ast.AST) -> Iterator[str]:
    """The packages whose modules are imported, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def imports_of(room: str) -> set[str]:
    paths = [path for path in modules(OPERATOR) if room_of(path.relative_to(OPERATOR)) == room]
    assert paths, f"there is no {room}"
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in paths)
    return {name for tree in trees for name in imported(tree)}


def test_every_room_is_listed() -> None:
    assert {room_of(path.relative_to(OPERATOR)) for path in modules(OPERATOR)} == set(PACKAGES)


@pytest.mark.parametrize("room", PACKAGES)
def test_a_room_imports_the_packages_that_it_may(room: str) -> None:
    assert imports_of(room) - set(sys.stdlib_module_names) - OURS == PACKAGES[room]


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_imports_nothing_that_asks_the_world(room: str) -> None:
    assert imports_of(room).intersection(sys.stdlib_module_names) <= PURE[room]


def test_an_import_inside_a_function_is_found() -> None:
    assert set(imported(ast.parse("def f():\n    import time\n    from os.path import join"))) == {
        "time",
        "os",
    }
