"""Which nodes write, and where they may."""

from __future__ import annotations

from types import SimpleNamespace as Some
from typing import Any

import pytest

from dbt_runner.worker.environment import (
    Allowed,
    PatternError,
    complaint,
    offenders,
    written,
    wrong_target,
)


def node(
    kind: str, schema: str = "analytics", database: str | None = "warehouse", **config: Any
) -> Some:
    return Some(
        unique_id=f"{kind}.shop.x",
        resource_type=Some(value=kind),
        schema=schema,
        database=database,
        config=Some(**config),
    )


def manifest(
    *nodes: Some, functions: tuple[Some, ...] = (), queries: tuple[Some, ...] = ()
) -> Some:
    return Some(
        nodes=dict(enumerate(nodes)),
        functions=dict(enumerate(functions)),
        saved_queries=dict(enumerate(queries)),
    )


def places(*nodes: Some, store_failures: bool = False) -> list[str]:
    return [
        place.unique_id
        for place in written(manifest(*nodes), store_failures=store_failures, exports=False)
    ]


@pytest.mark.parametrize("kind", ["model", "seed", "snapshot"])
def test_relations_are_written(kind: str) -> None:
    assert places(node(kind, materialized="table")) == [f"{kind}.shop.x"]


@pytest.mark.parametrize("kind", ["analysis", "operation", "exposure", "unit_test"])
def test_other_nodes_are_not(kind: str) -> None:
    assert places(node(kind)) == []


def test_an_ephemeral_model_is_not() -> None:
    assert places(node("model", materialized="ephemeral")) == []


@pytest.mark.parametrize(
    ("own", "as_", "flag", "writes"),
    [
        (None, None, False, False),
        (None, None, True, True),
        (False, None, True, False),
        (True, None, False, True),
        (True, "table", False, True),
        (None, "ephemeral", True, False),
    ],
)
def test_a_test_is_written_if_it_stores_its_failures(
    own: bool | None, as_: str | None, flag: bool, writes: bool
) -> None:
    test = node("test", store_failures=own, store_failures_as=as_)
    assert bool(places(test, store_failures=flag)) is writes


def test_functions_and_exports_are_written() -> None:
    query = Some(
        unique_id="saved_query.shop.q",
        exports=[Some(config=Some(schema_name="exports", database=None))],
    )
    project = manifest(functions=(node("function"),), queries=(query,))
    assert len(list(written(project, store_failures=False, exports=False))) == 1
    assert [place.schema for place in written(project, store_failures=False, exports=True)] == [
        "analytics",
        "exports",
    ]


@pytest.mark.parametrize(
    ("schema", "allowed"),
    [
        ("analytics", True),
        ("ANALYTICS_Finance", True),
        ("analytics2", False),
        ("my_analytics", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("pattern", ["^analytics(_.*)?$", "analytics(_.*)?"])
def test_a_pattern_matches_the_whole_name_in_any_case(
    schema: str, allowed: bool, pattern: str
) -> None:
    found = offenders(
        written(manifest(node("model", schema)), store_failures=False, exports=False),
        Allowed.of(pattern, None),
    )
    assert (found == []) is allowed


def test_databases_are_checked_where_there_are_any() -> None:
    allowed = Allowed.of(None, "prod")
    project = manifest(node("model"), node("seed", database=None))
    found = offenders(written(project, store_failures=False, exports=False), allowed)
    assert [(place.unique_id, objection) for place, objection in found] == [
        ("model.shop.x", 'database "warehouse" does not match databasePattern "prod"')
    ]


def test_without_patterns_everything_is_allowed() -> None:
    assert (
        offenders(
            written(manifest(node("model")), store_failures=False, exports=False),
            Allowed.of(None, ""),
        )
        == []
    )


def test_a_bad_pattern_is_named() -> None:
    with pytest.raises(PatternError, match="schemaPattern"):
        Allowed.of("(", None)


def test_only_selected_nodes_are_complained_about() -> None:
    found = offenders(
        written(manifest(node("model"), node("seed")), store_failures=False, exports=False),
        Allowed.of("other", None),
    )
    assert complaint(found, {"test.shop.y"}) == ""
    assert "1 selected node(s)" in complaint(found, {"seed.shop.x"})
    assert "model.shop.x" not in complaint(found, {"seed.shop.x"})


def test_the_target_is_compared_exactly() -> None:
    assert wrong_target("prod", "prod") == ""
    assert '"dev"' in wrong_target("dev", "prod")
