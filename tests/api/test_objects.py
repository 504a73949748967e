"""What every object of ours has: its name, its first status, its columns, a spec that stays."""

from __future__ import annotations

import json
import uuid

import pytest

from dbt_operator.api.registry import KINDS
from tests.support.api_objects import SPECS, manifest
from tests.support.kube import CommandError, Manifest, create, get, kubectl


@pytest.mark.parametrize(
    "change",
    [
        {"vars": {"a": {"b": 2}}},
        {"steps": [{"runOperation": {"macro": "m", "args": {"x": 2}}}]},
        {"timeout": "2m"},
        {"threads": 4},
        {"source": {"ref": "main"}},
        {"targetRef": {"name": "prod"}},
    ],
)
def test_no_field_of_a_runs_spec_can_be_changed_or_added(where: str, change: Manifest) -> None:
    run = create(
        manifest(
            "DbtRun",
            where,
            vars={"a": {"b": 1}},
            steps=[{"runOperation": {"macro": "m", "args": {"x": 1}}}],
            timeout="1m",
        )
    )
    patch = json.dumps({"spec": change})
    with pytest.raises(CommandError, match="cannot be changed: create another object"):
        kubectl(
            "patch", "dbtrun", run["metadata"]["name"], "--type=merge", "-p", patch, namespace=where
        )


@pytest.mark.parametrize(("kind", "length"), [(kind.kind, kind.name_length) for kind in KINDS])
def test_names_fit_into_labels(where: str, kind: str, length: int) -> None:
    tail = uuid.uuid4().hex[:8]
    fits = manifest(kind, where)
    fits["metadata"]["name"] = "a" * (length - 8) + tail
    create(fits)
    too_long = manifest(kind, where)
    too_long["metadata"]["name"] = "a" * (length - 7) + tail
    with pytest.raises(CommandError, match=f"has at most {length} characters"):
        create(too_long)


@pytest.mark.parametrize(("kind", "short"), [(kind.kind, kind.short) for kind in KINDS])
def test_a_new_object_is_not_taken_for_a_healthy_one_and_has_a_short_name(
    where: str, kind: str, short: str
) -> None:
    run = create(manifest(kind, where))
    assert run["status"]["observedGeneration"] == -1
    assert get(short, run["metadata"]["name"], where)["kind"] == kind


def test_the_columns_of_kubectl_get(where: str) -> None:
    create(manifest("DbtRun", where))
    header = kubectl("get", "dbtruns", namespace=where).splitlines()[0].split()
    assert header == ["NAME", "PROJECT", "TARGET", "PHASE", "REASON", "NODES", "DURATION", "AGE"]


def test_the_columns_of_a_schedule(where: str) -> None:
    create(manifest("DbtSchedule", where))
    header = kubectl("get", "dbtschedules", namespace=where).splitlines()[0]
    names = ["NAME", "SCHEDULE", "TIMEZONE", "SUSPEND", "ACTIVE", "LAST RUN", "NEXT", "AGE"]
    assert [name.strip() for name in header.split("  ") if name] == names


def test_all_kinds_are_in_one_category(where: str) -> None:
    for kind in SPECS:
        create(manifest(kind, where))
    listed = kubectl("get", "dbt", "-o", "name", namespace=where)
    for kind in SPECS:
        assert f"{kind.lower()}.dbt-operator.dev/" in listed


def test_every_field_can_be_explained() -> None:
    # Fields are named without their path.
    assert "spec.startTimeout" not in kubectl("explain", "dbtrun.spec")
    explained = kubectl("explain", "dbtrun.spec.startTimeout")
    assert "From the Job's creation to the start of dbt" in explained
