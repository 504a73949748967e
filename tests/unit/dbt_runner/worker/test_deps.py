"""``dbt deps`` before the first step, with real dbt on DuckDB and packages in folders."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dbt_protocol.messages import PINNED_CODE
from dbt_runner.worker import deps
from tests.support.kube import PATIENCE
from tests.support.pods import PROJECT, Ended, Pod, profile, step

pytestmark = pytest.mark.one_dbt
LIBRARY = {
    "library/dbt_project.yml": "name: library\nversion: '1.0'\n",
    "library/models/ones.sql": "select 1 as id",
}
SHOP = LIBRARY | {"models/orders.sql": "select * from {{ ref('library', 'ones') }}"}
PACKAGES = {"packages.yml": "packages:\n  - local: library\n"}
WITHOUT_CAPABILITIES = (
    ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
)


def run(tmp_path: Path, files: dict[str, str], when: str, **other: Any) -> Ended:
    return Pod(tmp_path / "pod", files).run(step("build"), deps=when, **other)


def installed(ended: Ended) -> bool:
    """Whether dbt deps ran, as its logs among the artifacts say."""
    folder = ended.layout.artifacts / "deps"
    if not folder.exists():
        return False
    assert "library" in (folder / "dbt.log").read_text()
    assert {path.name for path in folder.iterdir()} >= {"dbt.log", "events.jsonl"}
    return True


@pytest.mark.parametrize("when", ["IfMissing", "Always"])
@pytest.mark.parametrize("declared_in", ["packages.yml", "dependencies.yml"])
def test_packages_are_installed_before_the_first_step(
    tmp_path: Path, when: str, declared_in: str
) -> None:
    ended = run(tmp_path, SHOP | {declared_in: PACKAGES["packages.yml"]}, when)
    assert ended.code == 0, ended.log
    assert installed(ended)
    assert ended.summary.nodes.success == 2
    assert [each["name"] for each in ended.result["steps"]] == ["build"]


@pytest.mark.parametrize(("when", "expected"), [("IfMissing", False), ("Always", True)])
def test_what_is_installed_is_installed_again_only_when_that_is_asked_for(
    tmp_path: Path, when: str, expected: bool
) -> None:
    there = {
        name.replace("library/", "dbt_packages/library/"): text for name, text in LIBRARY.items()
    }
    ended = run(tmp_path, SHOP | PACKAGES | there, when)
    assert ended.code == 0, ended.log
    assert installed(ended) is expected


def test_a_project_without_packages_gets_none(tmp_path: Path) -> None:
    ended = run(
        tmp_path,
        {"models/orders.sql": "select 1 as id", "dependencies.yml": "projects: []"},
        "Always",
    )
    assert ended.code == 0, ended.log
    assert not installed(ended)
    assert not (ended.layout.project / "dbt_packages").exists()


def test_never_means_never_and_the_message_says_what_to_do(tmp_path: Path) -> None:
    ended = run(tmp_path, SHOP | PACKAGES, "Never")
    assert (ended.summary.reason, installed(ended)) == ("ConfigError", False)
    assert "set deps in the DbtProject" in ended.summary.message


def test_packages_may_use_the_runs_vars(tmp_path: Path) -> None:
    files = SHOP | {"packages.yml": "packages:\n  - local: \"{{ var('where') }}\"\n"}
    arguments = ["--vars", '{"where":"library"}', "--threads", "1"]
    ended = Pod(tmp_path / "pod", files).run(step("build", *arguments), deps="IfMissing")
    assert ended.code == 0, ended.log


@pytest.mark.parametrize("when", ["IfMissing", "Always"])
def test_a_package_that_cannot_be_had_ends_in_dbts_words(tmp_path: Path, when: str) -> None:
    ended = run(tmp_path, SHOP | {"packages.yml": "packages:\n  - local: no-such-folder\n"}, when)
    assert (ended.code, ended.summary.reason) == (2, "DepsFailed")
    assert "dbt deps ended with exit code 2" in ended.summary.message
    assert "no-such-folder" in ended.summary.message
    assert "no-such-folder" in (ended.layout.artifacts / "deps/dbt.log").read_text()


def test_a_run_can_be_cancelled_while_a_package_does_not_come(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        package = (
            f"packages:\n  - {{git: 'http://127.0.0.1:{silent.getsockname()[1]}/library.git', "
            "revision: main}\n"
        )
        pod = Pod(tmp_path / "pod", SHOP | {"packages.yml": package})
        process = pod.start(step("build"), deps="IfMissing")
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGTERM)
            ended = pod.finish(process)
    assert ended.summary.reason == "Cancelled", ended.log


@pytest.mark.parametrize("isolation", ["Fork", "Process"])
def test_a_project_that_cannot_be_written_to_is_copied(tmp_path: Path, isolation: str) -> None:
    """As one that is baked into the image. root may write everywhere, unless it has no
    capabilities.
    """
    baked = tmp_path / "baked"
    pod = Pod(
        tmp_path / "pod", SHOP | PACKAGES | {"package-lock.yml": "packages: []\nsha1_hash: stale\n"}
    )
    pod.layout.project.rename(baked)
    os.utime(baked / "packages.yml", (1_000_000_000, 1_000_000_000))
    for path in (*baked.rglob("*"), baked):
        path.chmod(0o555 if path.is_dir() else 0o444)
    pod.prefix = WITHOUT_CAPABILITIES
    ended = pod.run(
        step("run"), step("build"), deps="IfMissing", project_dir=str(baked), isolation=isolation
    )
    assert ended.code == 0, ended.log
    assert [each["nodes"]["success"] for each in ended.result["steps"]] == [2, 2]
    assert (pod.layout.project / "dbt_packages/library").exists()
    assert (pod.layout.project / "packages.yml").stat().st_mtime == 1_000_000_000
    assert not (baked / "dbt_packages").exists()


@pytest.mark.parametrize("when", ["IfMissing", "Always"])
def test_packages_beside_and_above_a_copied_project_are_found(tmp_path: Path, when: str) -> None:
    """As with tests of a package, whose project is below it."""
    files = LIBRARY | {
        "dbt_project.yml": "name: above\nversion: '1.0'\n",
        "macros/two.sql": "{% macro two() %}2{% endmacro %}",
        "tests_of_it/packages.yml": "packages: [{local: ../}, {local: ../library}, {local: own}]",
        "tests_of_it/dbt_project.yml": PROJECT,
        "tests_of_it/own/dbt_project.yml": "name: own\nversion: '1.0'\n",
        "tests_of_it/models/orders.sql": (
            "select {{ above.two() }} as n from {{ ref('library', 'ones') }}"
        ),
    }
    pod = Pod(tmp_path / "pod", files)
    baked = tmp_path / "baked"
    pod.layout.project.rename(baked)
    for path in (*baked.rglob("*"), baked):
        path.chmod(0o555 if path.is_dir() else 0o444)
    pod.prefix = WITHOUT_CAPABILITIES
    ended = pod.run(step("build"), deps=when, project_dir=str(baked / "tests_of_it"))
    assert ended.code == 0, ended.log
    assert ended.summary.nodes.success == 2
    assert {path.name for path in (pod.layout.project / "tests_of_it/dbt_packages").iterdir()} == {
        "above",
        "library",
        "own",
    }
    assert not (baked / "tests_of_it/dbt_packages").exists()


def test_a_project_stays_where_it_is_if_nothing_is_missing(tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", {"models/orders.sql": "select 1 as id"})
    baked = tmp_path / "baked"
    pod.layout.project.rename(baked)
    ended = pod.run(step("build"), deps="IfMissing", project_dir=str(baked))
    assert ended.code == 0, ended.log
    assert not pod.layout.project.exists()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, False),
        ({"packages.yml": ""}, False),
        ({"packages.yml": "packages: []"}, False),
        ({"dependencies.yml": "projects: [{name: other}]"}, False),
        ({"dependencies.yml": "packages: [{local: x}]"}, True),
        ({"packages.yml": "packages: [{local: x}]", "dependencies.yml": "projects: []"}, True),
        ({"packages.yml": "{broken"}, True),
    ],
)
def test_whether_packages_are_declared(
    tmp_path: Path, files: dict[str, str], expected: bool
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert deps.declares_packages(tmp_path) is expected


def test_an_address_with_a_secret_in_it_stays_as_it_is(tmp_path: Path) -> None:
    """A password that is a word: dbt would star it in package-lock.yml, and look for stars then."""
    repository = tmp_path / "warehouse-library"
    for name, text in LIBRARY.items():
        path = repository / name.removeprefix("library/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    identity = ("-c", "user.name=tests", "-c", "user.email=tests@example.com")
    for argv in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "one"]):
        subprocess.run(["git", *identity, *argv], cwd=repository, check=True)
    packages = f"packages:\n  - git: {repository.as_uri()}\n    revision: HEAD\n"
    files = {"models/orders.sql": SHOP["models/orders.sql"], "packages.yml": packages}
    profiles = profile(tmp_path / "warehouse.duckdb", "\"{{ env_var('TOKEN') }}\"")
    ended = Pod(tmp_path / "pod", files, profiles, {"TOKEN": "warehouse"}).run(
        step("build"), deps="IfMissing"
    )
    assert ended.code == 0, ended.log
    assert repository.as_uri() in (ended.layout.project / "package-lock.yml").read_text()


# Where packages have to be pinned

STALE = "packages:\n  - local: library\n    name: library\nsha1_hash: stale\n"


@pytest.fixture(scope="module")
def lock(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What dbt itself writes for the packages that are declared."""
    ended = run(tmp_path_factory.mktemp("lock"), SHOP | PACKAGES, "IfMissing")
    assert ended.code == 0, ended.log
    return (ended.layout.project / "package-lock.yml").read_text()


def test_packages_are_installed_as_their_lock_file_has_them(tmp_path: Path, lock: str) -> None:
    files = SHOP | PACKAGES | {"package-lock.yml": lock}
    ended = run(tmp_path, files, "IfMissing", deps_locked=True, protocol=PINNED_CODE)
    assert ended.code == 0, ended.log
    assert installed(ended)


@pytest.mark.parametrize(
    ("locked", "words", "expected"),
    [
        ({}, "there is no package-lock.yml", False),
        ({"package-lock.yml": "packages:\n  - git: x\n    revision: main\n"}, "no commit", False),
        ({"package-lock.yml": STALE}, "was not made for the packages that are declared", True),
    ],
)
def test_nothing_runs_with_packages_that_no_lock_file_pins(
    tmp_path: Path, locked: dict[str, str], words: str, expected: bool
) -> None:
    ended = run(tmp_path, SHOP | PACKAGES | locked, "IfMissing", deps_locked=True)
    assert (ended.code, ended.summary.reason) == (2, "ConfigError")
    assert words in ended.summary.message
    assert "commit the package-lock.yml" in ended.summary.message
    assert installed(ended) is expected
    assert not (ended.layout.artifacts / "build/run_results.json").exists()


def test_packages_that_are_there_need_no_lock_file(tmp_path: Path) -> None:
    there = {
        name.replace("library/", "dbt_packages/library/"): text for name, text in LIBRARY.items()
    }
    ended = run(tmp_path, SHOP | PACKAGES | there, "IfMissing", deps_locked=True)
    assert ended.code == 0, ended.log
