"""What is restored from a store that refuses what does not exist, as S3 does without
s3:ListBucket.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dbt_protocol.plans import PreparePlan
from dbt_protocol.summaries import Summary
from dbt_runner import bucket as bucket_module
from dbt_runner.bucket import BucketError, MinioStore, UploadError
from dbt_runner.layout import Layout
from dbt_runner.prepare import preparation
from dbt_runner.prepare import restore as restore_module
from dbt_runner.prepare.restore import MissingStateError
from dbt_runner.volume import Volume
from tests.support.s3_stub import KEYS, Stub, serve
from tests.support.sidecars import new_layout


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serve() as found:
        yield found


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return new_layout(tmp_path)


def restore(layout: Layout, stub: Stub, plan: PreparePlan, region: str = "us-east-1") -> str:
    said: list[str] = []
    found = PreparePlan(
        plan.source,
        bucket=stub.make_bucket(region or None),
        previous=plan.previous,
        state=plan.state,
        state_required=plan.state_required,
    )
    restore_module.restore(layout, found, KEYS, said.append)
    return "\n".join(said)


STATE = PreparePlan("image", state="states/1", state_required=True)


def test_a_state_without_the_results_of_sources_is_whole(layout: Layout, stub: Stub) -> None:
    stub.objects = {f"states/1/{name}": b"{}" for name in ("manifest.json", "run_results.json")}
    said = restore(layout, stub, STATE)
    assert said == "fetched the state states/1: manifest.json, run_results.json"
    assert sorted(path.name for path in layout.state.iterdir()) == [
        "manifest.json",
        "run_results.json",
    ]


def test_a_state_that_is_refused_is_no_state_that_does_not_exist(
    layout: Layout, stub: Stub
) -> None:
    with pytest.raises(BucketError, match=r"manifest\.json: AccessDenied.*s3:GetObject") as error:
        restore(layout, stub, STATE)
    assert "s3:ListBucket" in str(error.value)
    assert error.value.final
    assert not isinstance(error.value, MissingStateError)
    assert stub.asked == ["states/1/manifest.json"], "it was asked for in vain"


def test_a_state_that_is_refused_is_refused_again(layout: Layout, stub: Stub) -> None:
    layout.bundled_runner.parent.mkdir()
    layout.bundled_runner.touch()
    plan = replace(STATE, bucket=stub.make_bucket("us-east-1"))
    assert preparation.main(layout, plan, KEYS) == 2
    summary = Summary.from_json((Path(layout.root) / "dev/termination-log").read_text())
    assert summary.reason == "ConfigError"
    assert "s3:GetObject" in summary.message


def test_earlier_results_that_are_refused_are_told_as_absent(layout: Layout, stub: Stub) -> None:
    said = restore(layout, stub, PreparePlan("image", previous="runs"))
    assert "there are none, or the bucket's key may not read them" in said
    assert stub.asked == [
        f"runs/{name}" for name in ("contents.json", "result.json", "run_results.json")
    ]


def test_a_region_that_cannot_be_asked_for_is_no_absent_object(layout: Layout, stub: Stub) -> None:
    stub.objects = {"states/1/manifest.json": b"{}"}
    with pytest.raises(BucketError, match="s3:GetBucketLocation"):
        restore(layout, stub, STATE, region="")
    said = restore(layout, stub, PreparePlan("image", previous="runs"), region="")
    assert "cannot be fetched" in said
    assert "artifacts.region" in said


def test_a_key_that_may_not_write_is_told_what_it_needs(tmp_path: Path, stub: Stub) -> None:
    stub.may_put = False
    (tmp_path / "file").write_text("{}")
    with (tmp_path / "file").open("rb") as file, pytest.raises(UploadError) as error:
        MinioStore(stub.make_bucket(), KEYS).put("x.json", file, 2, "application/json")
    assert "the key needs s3:PutObject and s3:GetObject" in str(error.value)
    assert error.value.final


def test_what_is_restored_is_written_nowhere_else(layout: Layout, stub: Stub) -> None:
    stub.objects = {f"states/1/{name}": b"{}" for name in ("manifest.json", "run_results.json")}
    elsewhere = Path(layout.root) / "elsewhere"
    elsewhere.mkdir()
    layout.state.symlink_to(elsewhere)
    with pytest.raises(BucketError, match="no plain file") as error:
        restore(layout, stub, STATE)
    assert error.value.final
    assert not list(elsewhere.iterdir())


def test_an_object_without_an_end_is_not_stored(
    tmp_path: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "LARGEST_FILE", 10)
    stub.objects = {"x": b"y" * 11, "z": b"y" * 10}
    store = MinioStore(stub.make_bucket(), KEYS)
    with pytest.raises(BucketError, match="more than 10 bytes"):
        store.get("x", Volume(tmp_path), tmp_path / "x")
    assert not list(tmp_path.iterdir())
    assert store.get("z", Volume(tmp_path), tmp_path / "z")
