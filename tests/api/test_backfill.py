"""What the API server takes of a DbtBackfill, and what it refuses."""

from __future__ import annotations

import copy
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.support.kube import CommandError, Manifest, create, get, kubectl, resource

RUN: Manifest = {
    "projectRef": {"name": "p"},
    "targetRef": {"name": "t"},
    "steps": [{"build": {"select": ["tag:$(window.key)"]}}],
    "vars": {"ds": "$(window.start)"},
}
DATES: Manifest = {"from": "2024-01-01", "to": "2024-01-07"}
WINDOW_TIME = {"eventTime": {"start": "$(window.start)", "end": "$(window.end)"}}


def manifest(where: str, run: Manifest | None = None, **spec: Any) -> Manifest:
    """Seven days, with some fields put over it; None takes one away."""
    base: Manifest = {"runTemplate": {"spec": RUN | (run or {})}, "windows": {"dates": DATES}}
    merged = {key: value for key, value in copy.deepcopy(base | spec).items() if value is not None}
    return resource("DbtBackfill", f"x-{uuid.uuid4().hex[:8]}", where, merged)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"windows": {"dates": {"last": "7d"}}},
        {
            "windows": {
                "dates": {
                    "last": "2mo",
                    "every": "1w",
                    "timezone": "America/Argentina/Buenos_Aires",
                }
            }
        },
        {
            "windows": {
                "dates": DATES | {"every": "6h", "timezone": "Europe/Amsterdam"},
                "dateFormat": "%Y%m%dT%H%M%z",
            }
        },
        {"windows": {"keys": ["emea", "apac", "amer.2"]}},
        {
            "maxConcurrentWindows": 2,
            "windowsPerPod": "Auto",
            "order": "NewestFirst",
            "onFailure": "StopNow",
        },
        {"windowsPerPod": 100},
        {"windows": None, "resumeFrom": {"name": "earlier", "windows": "Failed"}},
        {"resumeFrom": {"name": "earlier"}},
        {"dryRun": True, "suspend": True},
        {"run": WINDOW_TIME},
        {"run": {"eventTime": {"start": "2024-01-01", "end": "$(window.end)"}}},
    ],
)
def test_accepted(where: str, spec: Manifest) -> None:
    asked = manifest(where, **spec)
    assert create(asked)["spec"] == asked["spec"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"windows": None}, "set windows, or resumeFrom"),
        ({"windows": {}}, "set exactly one of dates, occurrences and keys"),
        (
            {"windows": {"dates": DATES, "keys": ["a"]}},
            "set exactly one of dates, occurrences and keys",
        ),
        ({"windows": {"keys": ["a", "a"]}}, "spec.windows.keys[1]: Duplicate value"),
        ({"windows": {"keys": ["-rf"]}}, "spec.windows.keys[0]"),
        ({"windows": {"keys": ["result.json"]}}, "is the name of a file among the artifacts"),
        ({"windows": {"keys": ["a"], "dateFormat": "%Y"}}, "dateFormat is about dates"),
        ({"windows": {"dates": {}}}, "set from and to, or last"),
        ({"windows": {"dates": DATES | {"last": "7d"}}}, "set from and to, or last"),
        ({"windows": {"dates": {"from": "2024-01-01"}}}, "from and to belong together"),
        (
            {"windows": {"dates": {"from": "2024-01-02", "to": "2024-01-01"}}},
            "to must not be before from",
        ),
        ({"windows": {"dates": DATES | {"every": "5h"}}}, "windows of hours must divide a day"),
        ({"windows": {"dates": DATES | {"every": "1y"}}}, "spec.windows.dates.every"),
        ({"windows": {"dates": {"last": "24h"}}}, "last in hours needs every in hours"),
        ({"windows": {"dates": DATES, "dateFormat": '%Y"'}}, "spec.windows.dateFormat"),
        ({"windowsPerPod": 0}, "must be Auto, or a number from 1 to 100"),
        ({"windowsPerPod": "Many"}, "must be Auto, or a number from 1 to 100"),
        ({"maxConcurrentWindows": 51}, "spec.maxConcurrentWindows"),
        ({"run": {"steps": [{"build": {"fullRefresh": True}}]}}, "fullRefresh in each window"),
        (
            {"run": {"state": {"promote": "Always", "from": "LastSuccess"}}},
            "leave out state.promote",
        ),
        ({"windows": {"keys": ["a"]}, "run": WINDOW_TIME}, "keys have neither start nor end"),
        (
            {"run": {"eventTime": {"start": "$(window.from)", "end": "$(window.end)"}}},
            "eventTime.start",
        ),
        (
            {"run": {"warnError": True, "warnErrorOptions": {"error": ["all"]}}},
            "warnError makes every warning",
        ),
        ({"run": {"windows": [{"key": "a"}]}}, 'unknown field "spec.runTemplate.spec.windows"'),
    ],
)
def test_refused_with_the_field_and_the_remedy(where: str, spec: Manifest, message: str) -> None:
    with pytest.raises(CommandError) as error:
        create(manifest(where, **spec))
    assert message in str(error.value)


def test_windows_have_a_meaning_in_backfills_only(where: str) -> None:
    with pytest.raises(CommandError, match=r"have a meaning in a DbtBackfill only"):
        create(resource("DbtRun", "x", where, RUN | WINDOW_TIME))
    window = {
        "key": "2024-01-01",
        "start": "2024-01-01",
        "end": "2024-01-02",
        "eventStart": "2024-01-01T00:00:00",
    }
    create(
        resource(
            "DbtRun", "x", where, RUN | WINDOW_TIME | {"windows": [window], "stopOnFailure": False}
        )
    )


@pytest.mark.parametrize(
    "change",
    [
        {"windows": {"dates": DATES | {"to": "2024-01-08"}}},
        {"runTemplate": {"spec": {"vars": {"ds": "other"}}}},
        {"onFailure": "Continue"},
        {"windowsPerPod": 3},
        {"dryRun": True},
        {"resumeFrom": {"name": "other"}},
        {"order": "NewestFirst"},
    ],
)
def test_what_was_asked_for_cannot_be_changed(where: str, change: Manifest) -> None:
    name = create(manifest(where))["metadata"]["name"]
    with pytest.raises(CommandError, match=r"cannot be changed: create another object"):
        _patch(name, where, change)


def test_what_is_about_its_pace_can(where: str) -> None:
    name = create(manifest(where))["metadata"]["name"]
    change = {"suspend": True, "maxConcurrentWindows": 4, "cancel": True}
    _patch(name, where, change)
    assert get("dbtbackfill", name, where)["spec"].items() >= change.items()


def test_ten_thousand_windows_fit_into_status(where: str, tmp_path: Path) -> None:
    name = create(manifest(where))["metadata"]["name"]
    states = "+-" * 5000
    entry = {"window": "2024-01-01T00", "phase": "Succeeded", "run": "x" * 63}
    counts = {"total": 10_000, "done": "5000/10000", "states": states}
    patch = tmp_path / "patch.json"
    patch.write_text(json.dumps({"status": {"windows": counts, "ledger": [entry] * 1000}}))
    arguments = ("--subresource=status", "--type=merge", f"--patch-file={patch}")
    kubectl("patch", "dbtbackfill", name, *arguments, namespace=where)
    assert get("dbtbackfill", name, where)["status"]["windows"]["states"] == states


def test_the_columns_of_kubectl_get(where: str) -> None:
    create(manifest(where))
    header = kubectl("get", "dbtb", namespace=where).splitlines()[0].split()
    assert header == ["NAME", "PROJECT", "TARGET", "PHASE", "WINDOWS", "FAILED", "DURATION", "AGE"]


def _patch(name: str, where: str, change: Manifest) -> None:
    kubectl(
        "patch",
        "dbtbackfill",
        name,
        "--type=merge",
        "-p",
        json.dumps({"spec": change}),
        namespace=where,
    )
