"""Whoever may create a DbtRun may nest 10,000 maps in its vars: schemas cannot refuse that, and
Python's parser of JSON, by which watches and lists are read, gives up at 1,000 by itself.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from dbt_operator.process.assembly import RECURSION
from tests.support.kube import Manifest, apply, kubectl, wait_for
from tests.support.stage import Stage

LEVELS = 9_900  # the API server's own parser takes 10,000
VARS = '{"a":' * LEVELS + "1" + "}" * LEVELS


@pytest.fixture
def nesting() -> Iterator[None]:
    """What the tests watch has to be read here as well."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(RECURSION)
    yield
    sys.setrecursionlimit(before)


def manifest_of(scene: Stage, kind: str) -> Manifest:
    run = scene.run("deep", "prod", vars={"nested": "HERE"})
    if kind == "DbtRun":
        return run
    dates = {"from": "2024-01-01", "to": "2024-01-03", "every": "1d"}
    spec = {"runTemplate": {"spec": run["spec"]}, "windows": {"dates": dates}}
    return {**run, "kind": kind, "spec": spec}


@pytest.mark.usefixtures("nesting")
@pytest.mark.parametrize("kind", ["DbtRun", "DbtBackfill"])
def test_vars_that_are_nested_to_the_limit_are_refused_and_hide_nothing(
    empty: Stage, kind: str
) -> None:
    def reason() -> str:
        where = 'jsonpath={.status.conditions[?(@.type=="Stalled")].message}'
        return kubectl("get", kind, "deep", "-o", where, namespace=empty.namespace)

    apply(empty.project(), empty.target("prod"))
    text = json.dumps(manifest_of(empty, kind)).replace('"HERE"', VARS)
    kubectl("create", "-f", "-", stdin=text)
    empty.start_operator(DBT_OPERATOR_RESYNC_SECONDS="1")
    apply(empty.run("usual", "prod"))
    assert empty.wait_for_end("usual") == {"usual": "Succeeded"}
    assert "vars: is nested more than 50 levels deep" in wait_for("it is refused", reason)
    log = empty.log.read_text()
    assert "Traceback" not in log
