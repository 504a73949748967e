"""What is known of a dbt by what it answers to --version."""

from __future__ import annotations

import pytest

from dbt_runner.worker.command.engine import identify_engine

CORE_1 = """Core:
  - installed: 1.11.16
  - latest:    1.12.0 - Update available!

Plugins:
  - postgres: 1.10.0 - Up to date!
"""


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        (CORE_1, "1.11.16"),
        ("dbt-core 2.0.0-alpha.4\n", "2.0.0-alpha.4"),
        ("a wrapper's greeting\ndbt-fusion 2.0.0-preview.196\n", "2.0.0-preview.196"),
        ("dbt 2.0.9", "2.0.9"),
        ("", None),
        ("no dbt 2.0 here", None),
        ("dbt is not installed", None),
    ],
)
def test_it_is_named_by_its_version(answer: str, version: str | None) -> None:
    engine = identify_engine(answer)
    assert (engine.version if engine else None) == version


def test_dbt_1_is_believed() -> None:
    engine = identify_engine(CORE_1)
    assert engine is not None
    assert (engine.leaves_truth, engine.misses_state, engine.tells_nodes) == (True, True, False)
    assert engine.handles(["source", "freshness"])


@pytest.mark.parametrize("version", ["2.0.0-alpha.4", "2.0.9", "3.1.0"])
def test_a_later_one_is_not_whatever_release_it_is(version: str) -> None:
    engine = identify_engine(f"dbt {version}")
    assert engine is not None
    assert (engine.leaves_truth, engine.misses_state, engine.tells_nodes) == (False, False, True)


@pytest.mark.parametrize(
    ("argv", "handled_by"),
    [
        (["source", "freshness", "--select", "source:raw"], ["preview.196", "2.0.9"]),
        (["docs", "generate"], ["2.0.9"]),
        (["build"], ["alpha.4", "preview.196", "2.0.9"]),
    ],
)
def test_what_a_release_does_not_do_is_known_of_those_that_were_looked_at(
    argv: list[str], handled_by: list[str]
) -> None:
    answers = ("dbt-core 2.0.0-alpha.4", "dbt-fusion 2.0.0-preview.196", "dbt 2.0.9")
    engines = [engine for engine in map(identify_engine, answers) if engine is not None]
    handling = [engine.version for engine in engines if engine.handles(argv)]
    assert [version.removeprefix("2.0.0-") for version in handling] == handled_by
