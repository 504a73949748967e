"""Submodules: checked out where they are wanted, and missed only where dbt would look into one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbt_runner.prepare import git, submodules
from dbt_runner.prepare.git_messages import SourceError, Wanted
from dbt_runner.prepare.project_folder import PrepareError
from dbt_runner.prepare.submodules import resolve_url
from tests.support.git_repositories import (
    HASTE,
    PASSWORD,
    Repository,
    Server,
    listen,
    make_repository,
    secret,
)
from tests.support.ssh_server import serve_ssh

SOMEWHERE = "1" * 40
BESIDE = "../../{}/.git"  # a repository of the same server, as seen from another one


def check_out(url: str, into: Path, *, key: Path = Path("/no/secret"), wanted: bool = True) -> str:
    what = Wanted(url, submodules=wanted)
    return git.check_out(what, into, key, limits=HASTE)


def look(repository: Repository, into: Path, sub_path: str) -> None:
    """Check out without submodules."""
    wanted = Wanted(repository.url, sub_path=sub_path)
    git.check_out(wanted, into, Path("/no/secret"), limits=HASTE, protocols=("file",))


# Where they are not wanted


@pytest.mark.parametrize(
    ("sub_path", "path", "files"),
    [
        ("", "shared", {}),
        ("", "models/shared", {}),
        ("dbt", "dbt/models/shared", {}),
        ("dbt/", "dbt", {}),
        ("dbt/shop", "dbt", {}),
        ("dbt", "shared", {"dbt/packages.yml": "packages:\n- local: ../shared\n"}),
        ("dbt", "shared", {"dbt/packages.yml": "packages: [{'local': '../shared/pkg'}]"}),
        ("dbt", "own/deep", {"dbt/dependencies.yml": 'packages:\n  - "local" : "../own"\n'}),
        (
            "dbt",
            "deep",
            {
                "dbt/packages.yml": "packages:\n- local: ../own\n",
                "own/packages.yml": "packages:\n- local: ../deep\n",
            },
        ),
    ],
)
def test_one_that_dbt_would_look_into_is_missed(
    repository: Repository, into: Path, sub_path: str, path: str, files: dict[str, str]
) -> None:
    repository.add_submodule(path, "https://host/shared.git", SOMEWHERE)
    repository.commit("one", **files)
    with pytest.raises(PrepareError) as error:
        look(repository, into, sub_path)
    assert f"needs the submodule {path}, which is not checked out" in str(error.value)
    assert "set source.git.submodules: true in the DbtProject" in str(error.value)


def test_one_that_a_link_of_the_project_leads_to_is_missed(
    repository: Repository, into: Path
) -> None:
    repository.add_submodule("shared", "https://host/shared.git", SOMEWHERE)
    (repository.path / "dbt/models").mkdir(parents=True)
    (repository.path / "dbt/models/common").symlink_to("../../shared/models")
    repository.commit("one")
    with pytest.raises(PrepareError, match="needs the submodule shared"):
        look(repository, into, "dbt")


@pytest.mark.parametrize(
    ("sub_path", "files"),
    [
        ("dbt", {}),
        ("dbt", {"dbt/packages.yml": "packages:\n- local: ../share\n- package: shared/x\n"}),
        ("dbt", {"dbt/packages.yml": "packages:\n- local: ../../../shared\n- local: /shared\n"}),
        ("dbt", {"packages.yml": "packages:\n- local: shared\n"}),
    ],
)
def test_one_beside_the_project_is_left_alone(
    repository: Repository, into: Path, sub_path: str, files: dict[str, str]
) -> None:
    repository.add_submodule("shared", "https://host/shared.git", SOMEWHERE)
    repository.commit("one", **files)
    look(repository, into, sub_path)
    assert list((into / "shared").iterdir()) == []


def test_a_folder_of_which_nobody_knows_the_repository_is_left_alone(
    repository: Repository, into: Path
) -> None:
    """It is empty for everybody."""
    repository.add_submodule("models/shared", "https://host/shared.git", SOMEWHERE)
    (repository.path / ".gitmodules").write_text("no configuration [")
    repository.commit("one")
    look(repository, into, "")
    repository.git("rm", "--quiet", ".gitmodules")
    repository.commit("two")
    look(repository, into, "")


def test_what_gitmodules_tells_of_without_a_folder_is_left_alone(
    repository: Repository, into: Path
) -> None:
    text = '[submodule "gone"]\n\tpath = models/gone\n\turl = ../gone.git\n'
    repository.commit("one", **{".gitmodules": text})
    look(repository, into, "")


# Where they are wanted


@pytest.fixture
def key(into: Path, server: Server) -> Path:
    return secret(into.parent, username="deployer", password=PASSWORD, ca_crt=server.tls.ca)


def add_repository(repository: Repository, name: str) -> Repository:
    return make_repository(repository.path.parent / name)


def test_they_and_theirs_are_checked_out(
    repository: Repository, server: Server, into: Path, key: Path
) -> None:
    inner = add_repository(repository, "inner")
    inner_commit = inner.commit("inner one")
    inner.commit("inner two")
    middle = add_repository(repository, "middle")
    middle.add_submodule("packages/inner", BESIDE.format("inner"), inner_commit)
    middle_commit = middle.commit("middle")
    absolute = server.url.replace("/shop/", "/inner/")
    repository.add_submodule("models/inner", absolute, inner.git("rev-parse", "HEAD"))
    repository.add_submodule("middle", BESIDE.format("middle"), middle_commit)
    commit = repository.commit("shop")
    assert check_out(server.url, into, key=key) == commit
    found = {str(path.relative_to(into)): path.read_text() for path in into.rglob("version")}
    assert found == {
        "version": "shop",
        "models/inner/version": "inner two",
        "middle/version": "middle",
        "middle/packages/inner/version": "inner one",
    }
    assert not list(into.rglob(".git"))


def test_by_ssh_they_come_with_the_same_key(
    repository: Repository, into: Path, tmp_path: Path
) -> None:
    inner = add_repository(repository, "inner")
    inner_commit = inner.commit("inner")
    with serve_ssh(tmp_path / "ssh") as ssh:
        repository.add_submodule("relative", BESIDE.format("inner"), inner_commit)
        repository.add_submodule("absolute", ssh.locate(inner.path / ".git"), inner_commit)
        repository.commit("shop")
        key = secret(tmp_path, ssh__privatekey=ssh.client_key.private, known_hosts=ssh.known_hosts)
        check_out(ssh.locate(repository.path / ".git"), into, key=key)
    found = {str(path.relative_to(into)): path.read_text() for path in into.rglob("version")}
    assert found == {"version": "shop", "relative/version": "inner", "absolute/version": "inner"}
    assert not list(into.rglob(".git"))


def test_one_that_cannot_be_had_is_named(
    repository: Repository, server: Server, into: Path, key: Path
) -> None:
    inner = add_repository(repository, "inner")
    inner.add_submodule("gone", BESIDE.format("gone"), SOMEWHERE)
    repository.add_submodule("inner", BESIDE.format("inner"), inner.commit("inner"))
    repository.commit("shop")
    with pytest.raises(SourceError) as error:
        check_out(server.url, into, key=key)
    assert str(error.value).startswith("submodule inner: submodule gone: https://127.0.0.1:")
    assert "there is no such repository" in str(error.value)
    assert not list(into.rglob(".git"))


def test_a_commit_that_is_not_there_is_told(
    repository: Repository, server: Server, into: Path, key: Path
) -> None:
    add_repository(repository, "inner").commit("inner")
    repository.add_submodule("inner", BESIDE.format("inner"), SOMEWHERE)
    repository.commit("shop")
    with pytest.raises(SourceError, match=f"submodule inner: .* has no commit {SOMEWHERE}"):
        check_out(server.url, into, key=key)


def test_there_may_not_be_any_number(
    repository: Repository,
    server: Server,
    into: Path,
    key: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(submodules, "_MOST", 1)
    inner = add_repository(repository, "inner").commit("inner")
    for name in ("one", "two"):
        repository.add_submodule(name, BESIDE.format("inner"), inner)
    repository.commit("shop")
    with pytest.raises(PrepareError, match="more than 1 submodules"):
        check_out(server.url, into, key=key)


def test_another_host_gets_no_password(
    repository: Repository, server: Server, into: Path, key: Path
) -> None:
    with listen(server) as elsewhere:
        repository.add_submodule("inner", elsewhere.url, SOMEWHERE)
        repository.commit("shop")
        with pytest.raises(SourceError) as error:
            check_out(server.url, into, key=key)
    assert set(elsewhere.asked) == {""}
    assert "submodule inner: " in str(error.value)
    assert "asks for credentials" in str(error.value)
    host = server.url.split("/")[2]
    assert f"a Secret of source.git.secretRef is for {host} alone" in str(error.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ext::sh -c touch% {marker}", "no URL like"),
        ("ext::sh -c touch% {marker}/x", "no URL like"),
        ("file://{folder}/inner", "no URL like"),
        ("{folder}/inner", "no URL like"),
        ("-u./{folder}/inner", "no URL like"),
        ("--upload-pack=touch {marker}", "no URL like"),
        ("https://-x/inner", "no URL like"),
        ("ssh://-oProxyCommand=touch {marker}/x", "no URL like"),
        ("ssh://git@-oProxyCommand=x/x", "no URL like"),
        ("https://deployer:pw@127.0.0.1/inner.git", "without credentials"),
        ("git@127.0.0.1:inner.git", "asked for by ssh, .* no key for that host"),
        ("ssh://git@github.com/inner.git", "asked for by ssh, .* https URL into .gitmodules"),
        ("http://127.0.0.1:9/inner.git", "asked for by http, and the repository itself by https"),
        ("git://127.0.0.1:9/inner.git", "no URL like"),
        ("../../../../../inner", "no key for that host"),
    ],
)
def test_there_is_no_other_way_to_one(
    repository: Repository, server: Server, into: Path, key: Path, url: str, words: str
) -> None:
    marker = into.parent / "marker"
    commit = add_repository(repository, "inner").commit("inner")
    told = url.format(marker=marker, folder=repository.path.parent)
    repository.add_submodule("inner", f'"{told}"', commit, f"\tupdate = !touch {marker}\n")
    repository.commit("shop")
    with pytest.raises(SourceError, match=f"submodule inner: .*{words}") as error:
        check_out(server.url, into, key=key)
    assert not marker.exists()
    assert list((into / "inner").iterdir()) == []
    assert ":pw@" not in str(error.value)


@pytest.mark.parametrize(
    ("base", "url", "expected"),
    [
        ("https://host/team/shop.git", "../inner.git", "https://host/team/inner.git"),
        ("https://host/team/shop/", "../../x/inner", "https://host/x/inner"),
        ("https://host/team/shop", "./inner", "https://host/team/shop/inner"),
        ("https://host/team/shop", "./../inner/", "https://host/team/inner"),
        ("git@host:team/shop.git", "../inner.git", "git@host:team/inner.git"),
        ("git@host:shop.git", "../inner.git", "git@host:inner.git"),
        ("ssh://git@host/shop.git", "../inner.git", "ssh://git@host/inner.git"),
        ("https://host/shop", "https://other/inner", "https://other/inner"),
    ],
)
def test_a_url_may_be_told_relative_to_the_repository(base: str, url: str, expected: str) -> None:
    assert resolve_url(base, url) == expected
