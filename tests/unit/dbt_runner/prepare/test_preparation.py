"""The init container."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from dbt_protocol.plans import PLAN_VARIABLE, Bucket, PreparePlan, UploadPlan
from dbt_protocol.summaries import Summary
from dbt_runner.layout import Layout
from dbt_runner.prepare import fingerprint, preparation
from tests.support.hostile_files import make_nested
from tests.support.kube import PATIENCE, wait_for
from tests.support.pods import HOME

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    for folder in ("opt", "dev", "dbt-operator", "dbt-operator-source"):
        (tmp_path / folder).mkdir()
    (tmp_path / "opt/runner.pyz").write_bytes(b"PK runner")
    return Layout(str(tmp_path))


def config_map(layout: Layout, **files: str | bytes) -> None:
    """Files as the kubelet mounts them: links into a folder of which it keeps several versions."""
    data = layout.source / "..2024_01_01"
    data.mkdir()
    (layout.source / "..data").symlink_to(data.name)
    for name, content in files.items():
        (data / name).write_bytes(content.encode() if isinstance(content, str) else content)
        (layout.source / name).symlink_to(f"..data/{name}")


def archive(**files: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def project(layout: Layout) -> dict[str, str]:
    files = (path for path in layout.project.rglob("*") if path.is_file())
    return {str(path.relative_to(layout.project)): path.read_text() for path in files}


def run(layout: Layout, source: str = "configMap") -> tuple[int, Summary]:
    code = preparation.main(layout, PreparePlan(source), {})
    return code, Summary.from_json((Path(layout.root) / "dev/termination-log").read_text())


def test_the_runner_and_the_folders_are_made(layout: Layout) -> None:
    assert run(layout, "image") == (0, Summary())
    assert layout.runner.read_bytes() == b"PK runner"
    for folder in (layout.work, layout.artifacts):
        assert folder.stat().st_mode & stat.S_IWGRP
    assert not layout.project.exists()


def test_the_runner_may_be_put_in_its_place_twice_at_once(layout: Layout) -> None:
    """By the sidecar, and by the hook that the kubelet waits for."""
    argv = [sys.executable, "-m", "dbt_runner", "place", "--root", layout.root]
    started = [subprocess.Popen(argv) for _ in range(4)]
    assert [process.wait(PATIENCE) for process in started] == [0] * 4
    assert layout.runner.read_bytes() == b"PK runner"
    assert layout.cache.stat().st_mode & stat.S_IWGRP
    assert [path.name for path in layout.shared.glob("*runner*")] == ["runner.pyz"]


def test_the_sidecar_puts_the_runner_in_its_place_where_nobody_else_does(layout: Layout) -> None:
    plan = UploadPlan(Bucket("http://127.0.0.1:9", "artifacts"), "runs/one", places=True)
    argv = [sys.executable, "-m", "dbt_runner", "artifacts", "--root", layout.root]
    with subprocess.Popen(argv, env={**os.environ, PLAN_VARIABLE: plan.to_json()}) as sidecar:
        wait_for("the runner is there", layout.runner.exists)
        sidecar.terminate()
        assert sidecar.wait(PATIENCE) == 0
    assert layout.cache.is_dir()


def test_keys_are_files_of_the_project(layout: Layout) -> None:
    config_map(layout, **{"dbt_project.yml": "name: shop", "orders.sql": "select 1"})
    assert run(layout)[0] == 0
    assert project(layout) == {"dbt_project.yml": "name: shop", "orders.sql": "select 1"}
    assert not any(path.is_symlink() for path in layout.project.rglob("*"))


def test_keys_that_are_mapped_to_paths_keep_them(layout: Layout) -> None:
    config_map(layout, **{"dbt_project.yml": "name: shop"})
    (layout.source / "..data/models").mkdir()
    (layout.source / "..data/models/orders.sql").write_text("select 1")
    (layout.source / "models").symlink_to("..data/models")
    assert run(layout)[0] == 0
    assert project(layout) == {"dbt_project.yml": "name: shop", "models/orders.sql": "select 1"}


@pytest.mark.parametrize("key", ["project.tgz", "project.tar.gz"])
@pytest.mark.parametrize("top", ["", "./", "shop/"])
def test_an_archive_is_unpacked_from_where_the_project_is(
    layout: Layout, key: str, top: str
) -> None:
    config_map(
        layout,
        **{
            key: archive(
                **{f"{top}dbt_project.yml": "name: shop", f"{top}models/a.sql": "select 1"}
            )
        },
    )
    assert run(layout)[0] == 0
    assert project(layout) == {"dbt_project.yml": "name: shop", "models/a.sql": "select 1"}


def test_a_folder_is_kept_when_the_project_is_not_in_it(layout: Layout) -> None:
    models = archive(**{"models/a.sql": "select 1"})
    files: dict[str, str | bytes] = {"dbt_project.yml": "name: shop", "models.tgz": models}
    config_map(layout, **files)
    assert run(layout)[0] == 0
    assert project(layout) == {"dbt_project.yml": "name: shop", "models/a.sql": "select 1"}


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "models/../../evil"])
def test_paths_outside_of_the_project_are_refused(layout: Layout, name: str) -> None:
    config_map(layout, **{"project.tgz": archive(**{"dbt_project.yml": "name: shop", name: "boo"})})
    code, summary = run(layout)
    if code:  # an absolute path is taken as one below the project, as tar does
        assert (summary.reason, summary.exit_code) == ("ConfigError", 2)
        assert "project.tgz" in summary.message
    assert not list(Path(layout.root).glob("evil"))
    assert not (layout.shared / "evil").exists()
    assert not Path("/etc/evil").exists()
    assert code == 2 or name.startswith("/")


@pytest.mark.parametrize(
    "content", [b"no archive", archive(**{"dbt_project.yml": "name: shop" * 999})[:-30]]
)
def test_a_broken_archive_is_named(layout: Layout, content: bytes) -> None:
    config_map(layout, **{"project.tgz": content})
    code, summary = run(layout)
    assert (code, summary.reason) == (2, "ConfigError")
    assert "project.tgz" in summary.message


def make_archive(*members: tarfile.TarInfo) -> bytes:
    """An archive whose members have no content, whatever size they are said to have."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            tar.addfile(member)
    return buffer.getvalue()


def member(name: str, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([member("x", 1 << 40)], "more than"),
        ([member(f"models/{number}.sql") for number in range(20_001)], "more than"),
        ([member("d/" * 1200 + "x")], "below more than 64 folders"),
        ([member("x" * 300)], "more than 255 bytes: rename"),
        ([member("caf\udce9.sql")], "no text in UTF-8"),
        ([member("a\nb.sql")], "not of one line: rename"),
        ([member(".")], "no plain file"),
        ([member("models"), member("models/a.sql")], "a file and a folder of the same name"),
        ([member("models/a.sql"), member("models")], "a file and a folder of the same name"),
    ],
    ids=["a terabyte", "20,001", "deep", "long", "bytes", "line", "itself", "file", "folder"],
)
def test_an_archive_of_another_kind_is_refused_in_words(
    layout: Layout, members: list[tarfile.TarInfo], words: str
) -> None:
    config_map(layout, **{"project.tgz": make_archive(*members)})
    code, summary = run(layout)
    assert (code, summary.reason) == (2, "ConfigError")
    assert summary.message.startswith("project.tgz in the project's ConfigMap is refused: ")
    assert words in summary.message


def test_a_missing_project_file_is_named_with_what_there_is(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    config_map(layout, **{"orders.sql": "select 1"})
    code, summary = run(layout)
    assert (code, summary.reason) == (2, "ConfigError")
    assert "dbt_project.yml" in summary.message
    assert "orders.sql" in summary.message
    assert summary.message in capsys.readouterr().out


def test_files_have_times_that_are_made_from_their_content(layout: Layout) -> None:
    """dbt's partial parsing goes by them, so a new pod must find them as they were, unless the
    content has changed.
    """
    config_map(
        layout, **{"dbt_project.yml": "name: shop", "a.yml": "a", "b.yml": "a", "c.yml": "c"}
    )
    assert run(layout)[0] == 0
    found = times(layout)
    assert found["a.yml"] == found["b.yml"] != found["c.yml"]
    assert all(time == int(time) and 978307200 <= time <= 2**31 for time in found.values())
    before = json.loads(layout.source_info.read_text())
    shutil.rmtree(layout.project)
    (layout.source / "c.yml").write_text("changed")
    assert run(layout)[0] == 0
    assert {name for name, time in times(layout).items() if found[name] != time} == {"c.yml"}
    after = json.loads(layout.source_info.read_text())
    assert before.keys() == after.keys() == {"commit", "fingerprint"}
    assert before["commit"] is None
    assert before["fingerprint"] != after["fingerprint"]


def times(layout: Layout) -> dict[str, float]:
    return {path.name: path.stat().st_mtime for path in layout.project.iterdir()}


@pytest.mark.parametrize(
    "files",
    [
        {"a": "1", "b": ""},
        {"a": "", "b": "1"},
        {"a": "1"},
        {"ab": "1"},
        {"a": "1b"},
        {"d/a": "1", "b": ""},
    ],
)
def test_a_fingerprint_tells_paths_and_contents_apart(
    tmp_path: Path, files: dict[str, str]
) -> None:
    def of(name: str, content: dict[str, str]) -> str:
        for path, text in content.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text)
        return fingerprint.stamp(tmp_path / name)

    other = {"a": "1", "b": "1"}
    assert of("one", files) == of("two", dict(reversed(files.items())))
    assert of("three", files) != of("four", other)


def test_folders_in_folders_are_fingerprinted(tmp_path: Path) -> None:
    make_nested(tmp_path / "project", 1200)
    assert len(fingerprint.stamp(tmp_path / "project")) == 64


def test_a_link_counts_by_where_it_leads_to(tmp_path: Path) -> None:
    found = set()
    for target in ("/etc/passwd", "/nowhere"):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(target)
        found.add(fingerprint.stamp(tmp_path))
    assert len(found) == 2


# From Git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with two projects, each in a folder."""
    path = tmp_path / "repository"
    for name in ("dbt/dbt_project.yml", "dbt/models/a.sql", "packages/p/dbt_project.yml"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    commit(path)
    return path


def commit(repository: Path) -> str:
    identity = ["-c", "user.name=tests", "-c", "user.email=tests"]
    for argv in (
        ["init", "--quiet", "-b", "main"],
        ["add", "."],
        [*identity, "commit", "--quiet", "-m", "x"],
    ):
        subprocess.run(["git", *argv], cwd=repository, check=True)
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def clone(layout: Layout, repository: Path, **fields: Any) -> tuple[int, Summary]:
    code = preparation.main(
        layout, PreparePlan("git", repository.as_uri(), **fields), {}, protocols=("file",)
    )
    return code, Summary.from_json((Path(layout.root) / "dev/termination-log").read_text())


def test_a_repository_is_checked_out_whole_and_its_commit_reported(
    layout: Layout, repository: Path
) -> None:
    code, summary = clone(layout, repository, ref="main", sub_path="dbt")
    assert (code, summary.reason) == (0, "")
    assert project(layout).keys() == {
        "dbt/dbt_project.yml",
        "dbt/models/a.sql",
        "packages/p/dbt_project.yml",
    }
    assert json.loads(layout.source_info.read_text())["commit"] == summary.commit
    assert len(summary.commit) == 40


def test_a_later_attempt_works_on_the_commit_of_the_first(layout: Layout, repository: Path) -> None:
    _, first = clone(layout, repository, ref="main", sub_path="dbt")
    fingerprinted = layout.source_info.read_text()
    (repository / "dbt/models/b.sql").write_text("select 1")
    assert commit(repository) != first.commit
    # The volume is not empty either: init containers run again when a pod's sandbox is lost.
    _, second = clone(layout, repository, ref="main", commit=first.commit, sub_path="dbt")
    assert second.commit == first.commit
    assert layout.source_info.read_text() == fingerprinted
    assert "dbt/models/b.sql" not in project(layout)


@pytest.mark.parametrize("sub_path", ["", "models", "out"])
def test_where_projects_are_is_told_when_there_is_none(
    layout: Layout, repository: Path, sub_path: str
) -> None:
    outside = Path(layout.root) / "outside"
    outside.mkdir()
    (outside / "dbt_project.yml").write_text("name: x")
    (repository / "out").symlink_to(outside)
    expected = commit(repository)
    code, summary = clone(layout, repository, sub_path=sub_path)
    assert (code, summary.reason, summary.commit) == (2, "SourceError", expected)
    assert "set source.git.subPath to one of: dbt, packages/p" in summary.message


def test_what_the_project_lacks_of_its_files_is_told_before_anything_runs(
    layout: Layout, repository: Path
) -> None:
    (repository / "seeds.csv").write_text(POINTER)
    (repository / "packages/p/a.csv").write_text(POINTER)
    commit(repository)
    assert clone(layout, repository, sub_path="dbt")[0] == 0
    (repository / "dbt/packages.yml").write_text("packages: [{local: ../packages/p}]")
    expected = commit(repository)
    code, summary = clone(layout, repository, sub_path="dbt")
    assert (code, summary.reason, summary.commit) == (2, "ConfigError", expected)
    assert ": packages/p/a.csv, which the project holds, is a pointer" in summary.message
    assert summary.message.endswith("set source.git.lfs: true in the DbtProject")


def test_a_pointer_that_a_link_leads_to_is_told_before_anything_runs(
    layout: Layout, repository: Path
) -> None:
    (repository / "seeds.csv").write_text(POINTER)
    (repository / "dbt/linked.csv").symlink_to("../seeds.csv")
    commit(repository)
    code, summary = clone(layout, repository, sub_path="dbt")
    assert (code, summary.reason) == (2, "ConfigError")
    assert ": seeds.csv, which the project holds, is a pointer" in summary.message


def test_what_git_lfs_keeps_is_fetched_where_that_is_wanted(
    layout: Layout, repository: Path
) -> None:
    """The pointer's hash is too short to be one."""
    (repository / "dbt/seeds.csv").write_text(POINTER)
    commit(repository)
    code, summary = clone(layout, repository, sub_path="dbt", lfs=True)
    assert (code, summary.reason) == (2, "ConfigError")
    assert "dbt/seeds.csv is a pointer of Git LFS with another hash" in summary.message


def test_a_pointer_in_a_config_map_is_named(layout: Layout) -> None:
    config_map(layout, **{"dbt_project.yml": "name: shop", "cities.csv": POINTER})
    code, summary = run(layout)
    assert (code, summary.reason) == (2, "ConfigError")
    assert "the project's ConfigMap: cities.csv, which the project holds" in summary.message
    assert summary.message.endswith("pack a checkout that has the files")


def test_a_submodule_that_the_project_lacks_is_told_before_anything_runs(
    layout: Layout, repository: Path
) -> None:
    path = "dbt/models/shared"
    text = f'[submodule "shared"]\n\tpath = {path}\n\turl = https://127.0.0.1:9/shared.git\n'
    (repository / ".gitmodules").write_text(text)
    (repository / path).mkdir()
    subprocess.run(
        ["git", "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},{path}"],
        cwd=repository,
        check=True,
    )
    commit(repository)
    code, summary = clone(layout, repository, sub_path="dbt")
    assert (code, summary.reason) == (2, "ConfigError")
    assert f"needs the submodule {path}, which is not checked out" in summary.message
    code, summary = clone(layout, repository, sub_path="dbt", submodules=True)
    assert (code, summary.reason) == (2, "SourceError")
    assert f"submodule {path}: https://127.0.0.1:9/shared.git" in summary.message


def test_an_unknown_ref_is_a_source_error_without_a_commit(
    layout: Layout, repository: Path
) -> None:
    code, summary = clone(layout, repository, ref="nothing")
    assert (code, summary.reason, summary.commit) == (2, "SourceError", "")
    assert "ref nothing" in summary.message
    assert summary.again == "No"
    assert not layout.source_info.exists()


def test_it_can_be_stopped(layout: Layout) -> None:
    """As PID 1 it would ignore SIGTERM, and hold up whoever wants the pod to go."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.git"
        plan = PreparePlan("git", url).to_json()
        argv = [sys.executable, "-m", "dbt_runner", "prepare", "--root", layout.root]
        env = os.environ | {"DBT_OPERATOR_PLAN": plan, "PYTHONPATH": HOME}
        with subprocess.Popen(argv, env=env) as process:
            connection, _ = silent.accept()
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 1
            connection.close()
    summary = Summary.from_json((Path(layout.root) / "dev/termination-log").read_text())
    assert summary.reason == "Cancelled"


def test_an_unknown_source_is_refused(layout: Layout) -> None:
    assert run(layout, "ftp")[1].reason == "ConfigError"
