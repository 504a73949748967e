"""Projects from Git, from a server in the cluster: by branch, tag and commit, over HTTPS and
ssh.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import git_server, product
from tests.support.git_server import GitServer
from tests.support.kube import Manifest, apply, get, kubectl, namespace, resource, wait_for
from tests.support.scenarios import (
    NAMESPACE,
    PROJECTS,
    Scenario,
    create_user,
    location,
    logs,
    manifests,
    secrets,
)

MINI = PROJECTS / "mini"
LATER = {"models/later.sql": "select 1 as id"}  # in a branch that has moved on
NEW = {
    "models/new.sql": "select count(*) as stations from {{ ref('stations') }}"
}  # in another branch
LIBRARY = {
    "library/dbt_project.yml": "name: library\nversion: '1.0'\n",
    "library/macros/one.sql": "{% macro one() %}1{% endmacro %}",
    "mini/packages.yml": "packages:\n  - local: ../library\n",
    "mini/models/from_library.sql": "select {{ library.one() }} as id",
}
PINNED, PULL_REQUEST = "git-pinned", "git-pull-request"


@dataclass(frozen=True)
class World:
    """What is on the server."""

    server: GitServer
    first: str  # commits of main: the tag v1 ...
    second: str  # ... and its end
    feature: str
    folder: str
    packages: str
    flaky: str
    large: str


@pytest.fixture(scope="module")
def world(installed: None, images: Mapping[str, str]) -> World:  # noqa: ARG001 -- it has to be there first
    """A repository with a few branches."""
    server = git_server.install(images)
    git_server.create("shop")
    first = git_server.commit("shop", "main", git_server.files_of(MINI))
    git_server.tag("shop", "v1", first)
    below = git_server.files_of(MINI, below="mini/")
    return World(
        server=server,
        first=first,
        second=git_server.commit("shop", "main", git_server.files_of(MINI) | LATER),
        feature=git_server.commit("shop", "feature/x", git_server.files_of(MINI) | NEW),
        folder=git_server.commit("shop", "folder", below),
        packages=git_server.commit("shop", "packages", below | LIBRARY),
        flaky=git_server.commit("shop", "flaky", git_server.files_of(MINI, PROJECTS / "flaky")),
        large=git_server.commit("shop", "large", git_server.files_of(MINI) | _large()),
    )


def _large() -> dict[str, str]:
    """A model that Git LFS keeps, for what a build makes of it."""
    return {name: git_server.pointer("shop", text) for name, text in LATER.items()}


def project(url: str, secret: str, **git: Any) -> Manifest:
    return {"source": {"git": {"url": url, "secretRef": {"name": secret}, **git}}}


def _scenarios(world: World) -> list[Scenario]:
    https, ssh = world.server.https("shop"), world.server.ssh("shop")
    return [
        Scenario("git-branch", project=project(https, "git-https", ref="main")),
        Scenario("git-default", project=project(https, "git-https")),
        Scenario("git-tag", project=project(ssh, "git-ssh", ref="v1")),
        Scenario("git-commit", project=project(https, "git-https", ref=world.first)),
        Scenario(
            "git-ref",
            project=project(ssh, "git-ssh", ref="main"),
            run={"source": {"ref": "feature/x"}},
        ),
        Scenario("git-folder", project=project(https, "git-https", ref="folder", subPath="mini")),
        Scenario("git-deps", project=project(https, "git-https", ref="packages", subPath="mini")),
        Scenario("git-lfs", project=project(https, "git-https", ref="large", lfs=True)),
        Scenario("git-no-ref", project=project(https, "git-https", ref="no-such-branch")),
        Scenario("git-no-folder", project=project(https, "git-https", ref="folder", subPath="min")),
        Scenario("git-password", project=project(https, "git-wrong", ref="main")),
        Scenario(
            "git-user",
            project=project(https, "git-https", ref="main") | {"pod": {"runAsUser": 12345}},
        ),
        Scenario(
            PINNED,
            project=project(https, "git-https", ref="flaky"),
            run={
                "retry": {
                    "maxAttempts": 2,
                    "backoff": {"initial": "20s"},
                    "reasons": ["ModelError"],
                }
            },
        ),
    ]


@pytest.fixture(scope="module", autouse=True)
def _started(world: World, images: Mapping[str, str]) -> None:
    """All runs, started together; and the branch of one is moved as soon as its first attempt has
    failed.
    """
    scenarios = _scenarios(world)
    create_user()
    apply(namespace(NAMESPACE))
    for scenario in scenarios:
        kubectl(
            "delete", "dbtrun", scenario.name, "--ignore-not-found", "--wait", namespace=NAMESPACE
        )
    apply(
        *secrets(),
        world.server.https_secret("git-https", NAMESPACE),
        world.server.https_secret("git-wrong", NAMESPACE, password="not-the-password"),  # noqa: S106 -- indeed
        world.server.ssh_secret("git-ssh", NAMESPACE),
        # Without the first: the ConfigMap that projects usually come from.
        *(manifest for scenario in scenarios for manifest in manifests(scenario, images)[1:]),
    )
    wait_for("the first attempt fails", lambda: _has_failed_once(PINNED))
    git_server.commit("shop", "flaky", git_server.files_of(MINI) | LATER)


def _has_failed_once(name: str) -> bool:
    """Not whether it backs off: an operator that was away for so long leaves that out."""
    attempts = get("dbtrun", name, NAMESPACE)["status"].get("attempts") or [{}]
    return bool(attempts[0].get("reason"))


def ended(name: str) -> Manifest:
    return product.wait_until_finished(name, NAMESPACE)


def models(run: Manifest, attempt: int = 1) -> set[str]:
    """The models that an attempt knew of."""
    manifest = json.loads(
        product.objects(location(run))[f"attempt-{attempt}/1-build/manifest.json"]
    )
    return {
        name.removeprefix("model.mini.")
        for name in manifest["nodes"]
        if name.startswith("model.mini.")
    }


OLD = {"measurements", "stations", "summary"}


@pytest.mark.parametrize(
    ("name", "commit", "expected"),
    [
        ("git-branch", "second", OLD | {"later"}),
        ("git-default", "second", OLD | {"later"}),
        ("git-tag", "first", OLD),
        ("git-commit", "first", OLD),
        ("git-ref", "feature", OLD | {"new"}),
        ("git-folder", "folder", OLD),
        ("git-deps", "packages", OLD | {"from_library"}),
        ("git-user", "second", OLD | {"later"}),
        ("git-lfs", "large", OLD | {"later"}),
    ],
)
def test_a_run_works_on_what_it_asks_for_and_says_what_that_was(
    world: World, name: str, commit: str, expected: set[str]
) -> None:
    run = ended(name)
    assert run["status"]["phase"] == "Succeeded", run["status"]["message"]
    assert run["status"]["commit"] == getattr(world, commit)
    assert models(run) == expected


def test_packages_were_installed_and_the_log_is_kept() -> None:
    found = product.objects(location(ended("git-deps")))
    assert b"library" in found["attempt-1/deps/dbt.log"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("git-no-ref", "ref no-such-branch: the repository has no such branch, tag or commit"),
        ("git-password", "the server refuses the credentials; check the Secret"),
        ("git-no-folder", "set source.git.subPath to one of: mini"),
    ],
)
def test_what_is_wrong_with_the_source_is_said(world: World, name: str, words: str) -> None:
    run = ended(name)
    assert (run["status"]["phase"], run["status"]["reason"]) == ("Failed", "SourceError")
    assert words in run["status"]["message"]
    assert world.server.https("shop") in run["status"]["message"]


def test_a_branch_that_moves_between_two_attempts_changes_nothing(world: World) -> None:
    run = ended(PINNED)
    assert run["status"]["phase"] == "Succeeded", run["status"]["message"]
    assert [attempt.get("reason") for attempt in run["status"]["attempts"]] == ["ModelError", None]
    assert run["status"]["commit"] == world.flaky
    assert models(run, attempt=1) == models(run, attempt=2) == OLD


def test_a_ref_for_a_project_that_is_not_in_git_is_refused(images: Mapping[str, str]) -> None:
    name = "git-refused"
    kubectl("delete", "dbtrun", name, "--ignore-not-found", "--wait", namespace=NAMESPACE)
    apply(*manifests(Scenario(name, run={"source": {"ref": "main"}}), images))
    run = ended(name)
    assert (run["status"]["phase"], run["status"]["reason"]) == ("Failed", "InvalidSpec")
    assert "does not come from Git" in run["status"]["message"]


def test_the_repositorys_password_is_nowhere(world: World) -> None:
    names = ["git-branch", "git-password", "git-tag"]
    runs = {name: ended(name) for name in names}
    texts = {
        f"{name}/{part}": logs(name, part).encode()
        for name in names
        for part in ("prepare", "dbt", "artifacts")
    }
    for kind in ("dbtruns", "dbtprojects", "jobs", "pods", "events"):
        texts[kind] = kubectl("get", kind, "-o", "json", namespace=NAMESPACE).encode()
    for name in ("git-branch", "git-tag"):
        texts |= product.objects(location(runs[name]))
    assert b"fetching commit" in texts["git-branch/prepare"]
    key = world.server.client_key.private.splitlines()[1]
    for secret in (git_server.PASSWORD, "not-the-password", key):
        for needle in (secret.encode(), base64.b64encode(secret.encode())):
            assert [where for where, text in texts.items() if needle in text] == []


def test_a_pull_request_builds_what_it_changes_into_a_schema_of_its_own() -> None:
    """The rest is read from what the main branch has built."""
    assert ended("git-branch")["status"]["phase"] == "Succeeded"
    spec = {
        "projectRef": {"name": "git-branch"},
        "targetRef": {"name": "git-branch"},
        "source": {"ref": "feature/x"},
        "env": [{"name": "SCHEMA", "value": "analytics_pull_request"}],
        "steps": [{"build": {"select": ["state:modified+"]}}],
        "state": {"from": {"run": "git-branch"}, "defer": True, "onMissing": "Fail"},
    }
    product.psql("DROP SCHEMA IF EXISTS analytics_pull_request CASCADE")
    kubectl("delete", "dbtrun", PULL_REQUEST, "--ignore-not-found", "--wait", namespace=NAMESPACE)
    apply(resource("DbtRun", PULL_REQUEST, NAMESPACE, spec))
    run = ended(PULL_REQUEST)
    assert run["status"]["phase"] == "Succeeded", run["status"]["message"]
    tables = (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = "
        "'analytics_pull_request'"
    )
    assert product.psql(tables, "-At").split() == ["new"]
    assert product.psql("SELECT stations FROM analytics_pull_request.new", "-At").strip() == "2"
