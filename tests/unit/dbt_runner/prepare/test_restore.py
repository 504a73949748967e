"""What the init container fetches from the bucket for a run that is continued."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from dbt_protocol.paths import OVERWRITTEN
from dbt_protocol.plans import Bucket, PreparePlan, RunPlan
from dbt_protocol.result_file import ResultFile, StepResult, WindowResult
from dbt_runner.bucket import BucketError
from dbt_runner.contents import CONTENTS, record_contents
from dbt_runner.layout import Layout
from dbt_runner.prepare import restore
from dbt_runner.volume import Volume

RUN = "runs/nightly-1"
PLAN = PreparePlan("image", bucket=Bucket("http://nowhere", "dbt"), previous=RUN)
CHECKED = StepResult("1-sourceFreshness", "sourceFreshness", "Succeeded", attempt=2)
BUILT = StepResult("2-build", "build", "Failed", attempt=3)
FILE = ResultFile("nightly", "uid-1", 3, None)


class Store:
    """A bucket in memory; what it is asked for that is an error is refused."""

    objects: ClassVar[Mapping[str, object]] = {}

    def __init__(self, *_: object) -> None:
        pass

    def get(self, key: str, volume: Volume, path: Path) -> bool:
        content = self.objects.get(key)
        if isinstance(content, Exception):
            raise content
        if content is not None:
            with volume.replacing(path) as file:
                file.write(json.dumps(content).encode())
        return content is not None


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(str(tmp_path))
    layout.shared.mkdir()
    return layout


def fetch(
    layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
    objects: Mapping[str, object],
    plan: PreparePlan = PLAN,
) -> list[str]:
    """Restore from these objects; what is said of it."""
    said: list[str] = []
    monkeypatch.setattr(Store, "objects", objects)
    monkeypatch.setattr(restore, "MinioStore", Store)
    restore.restore(layout, plan, {}, said.append)
    return said


def test_what_was_found_of_sources_comes_from_the_attempt_that_found_it(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    skipped = replace(CHECKED, name="3-sourceFreshness", state="Skipped", attempt=3)
    file = replace(FILE, steps=[CHECKED, BUILT, skipped])
    objects = {
        f"{RUN}/result.json": file.to_document(),
        f"{RUN}/attempt-2/1-sourceFreshness/sources.json": {"results": [2]},
        f"{RUN}/attempt-3/1-sourceFreshness/sources.json": {"results": [3]},
        f"{RUN}/attempt-3/3-sourceFreshness/sources.json": {"results": ["of nobody"]},
    }
    said = fetch(layout, monkeypatch, objects)
    assert said == [
        "fetched the results of earlier attempts: result.json, 1-sourceFreshness/sources.json"
    ]
    found = layout.previous_sources("1-sourceFreshness")
    assert json.loads(found.read_text()) == {"results": [2]}
    assert not layout.previous_sources("3-sourceFreshness").exists()


def test_each_window_has_its_own(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = [WindowResult("2024-01-01", "Failed", steps=[CHECKED]), WindowResult("b", "Pending")]
    objects = {
        f"{RUN}/result.json": replace(FILE, codes="M-", windows=windows).to_document(),
        f"{RUN}/attempt-2/2024-01-01/1-sourceFreshness/sources.json": {"results": [1]},
    }
    fetch(layout, monkeypatch, objects)
    found = replace(layout, window="2024-01-01").previous_sources("1-sourceFreshness")
    assert json.loads(found.read_text()) == {"results": [1]}


@pytest.mark.parametrize("name", ["../../escaped", "..", "a/b", "", ".hidden"])
def test_names_that_lead_elsewhere_are_no_steps(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The project's code can write what it likes into result.json."""
    file = replace(FILE, steps=[replace(CHECKED, name=name)])
    key = f"{RUN}/attempt-2/{name}/sources.json"
    fetch(layout, monkeypatch, {f"{RUN}/result.json": file.to_document(), key: {"results": []}})
    assert sorted(path.name for path in Path(layout.root).rglob("*.json")) == ["result.json"]


@pytest.mark.parametrize("document", [[], {}, {"steps": 1}, {"schema_version": 9}, "no object"])
def test_results_that_cannot_be_read_ask_for_nothing(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, document: object
) -> None:
    said = fetch(layout, monkeypatch, {f"{RUN}/result.json": document})
    assert said == ["fetched the results of earlier attempts: result.json"]


def test_what_cannot_be_fetched_is_told(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = {
        f"{RUN}/result.json": replace(FILE, steps=[CHECKED]).to_document(),
        f"{RUN}/attempt-2/1-sourceFreshness/sources.json": BucketError("refused", final=True),
    }
    said = fetch(layout, monkeypatch, objects)
    assert "cannot be fetched, so everything runs again: refused" in said[0]


# The state

STATE = "dbt/analytics/shop/prod/state/uid-1"
COMPARED = PreparePlan("image", bucket=PLAN.bucket, state=STATE)


def leave_state(root: Path, run_uid: str = "uid-1") -> dict[str, object]:
    """The objects of a state, as a run has left them."""
    files: dict[str, object] = {"manifest.json": {"nodes": {}}, "run_results.json": {"results": []}}
    root.mkdir()
    for name, content in files.items():
        (root / name).write_text(json.dumps(content))
    plan = RunPlan("analytics", "nightly", run_uid, 1, "/project", "prod", [])
    record_contents(root, plan, list(files))
    files[CONTENTS] = json.loads((root / CONTENTS).read_text())
    return {f"{STATE}/{name}": content for name, content in files.items()}


def test_a_whole_state_is_fetched(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = fetch(layout, monkeypatch, leave_state(tmp_path / "left"), COMPARED)
    assert said == [f"fetched the state {STATE}: manifest.json, run_results.json, {CONTENTS}"]
    assert (layout.state / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("run_uid", "changed", "why"),
    [
        ("uid-2", {}, "another run has written it"),
        ("uid-1", {"run_results.json": None}, "run_results.json is missing"),
        ("uid-1", {"manifest.json": None}, "it is not in the bucket"),
        (
            "uid-1",
            {"manifest.json": {"nodes": "of another attempt"}},
            "manifest.json is not the one that was written with the others",
        ),
        ("uid-1", {CONTENTS: "no object"}, "contents.json is missing or cannot be read"),
        ("uid-1", {CONTENTS: {"run_uid": "uid-1"}}, "contents.json names no files"),
    ],
)
def test_a_state_is_whole_or_none(
    layout: Layout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_uid: str,
    changed: dict[str, object],
    why: str,
) -> None:
    objects = leave_state(tmp_path / "left", run_uid)
    objects |= {f"{STATE}/{name}": content for name, content in changed.items()}
    (said,) = fetch(layout, monkeypatch, objects, COMPARED)
    assert f"the state {STATE} is not used, so everything is built: {why}" in said
    assert not layout.state.exists()
    with pytest.raises(restore.MissingStateError, match=re.escape(why)):
        fetch(layout, monkeypatch, objects, replace(COMPARED, state_required=True))


def test_a_state_of_an_older_operator_does_not_say_what_belongs_in_it(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects: dict[str, object] = {f"{STATE}/manifest.json": {"nodes": {}}}
    assert fetch(layout, monkeypatch, objects, COMPARED) == [
        f"fetched the state {STATE}: manifest.json"
    ]


def test_a_state_that_was_built_over_is_none(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(COMPARED, state=f"dbt/analytics/shop/prod/runs/nightly-1111/{OVERWRITTEN}")
    (said,) = fetch(layout, monkeypatch, {}, plan)
    assert said.endswith("everything is built: nightly-1111 has built something else over it since")
