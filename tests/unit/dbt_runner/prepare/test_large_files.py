"""Files that Git LFS keeps: fetched where they are wanted, by nobody's rules but ours."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dbt_runner.prepare import git
from dbt_runner.prepare.git_messages import SourceError, Wanted
from dbt_runner.prepare.project_folder import PrepareError
from tests.support import git_programs
from tests.support.git_repositories import (
    HASTE,
    PASSWORD,
    Repository,
    Server,
    listen,
    make_repository,
    secret,
)
from tests.support.ssh_server import SshServer, serve_ssh

CITIES = b"id,name\n1,Utrecht\n"
OTHER = b"id,name\n2,Gouda\n"
LOGIN = "Basic " + base64.b64encode(f"deployer:{PASSWORD}".encode()).decode()


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    git_programs.install()


@pytest.fixture
def key(into: Path, server: Server) -> Path:
    return secret(into.parent, username="deployer", password=PASSWORD, ca_crt=server.tls.ca)


def check_out(
    url: str, into: Path, key: Path, *, sub_path: str = "", submodules: bool = False
) -> None:
    wanted = Wanted(url, sub_path=sub_path, submodules=submodules, lfs=True)
    git.check_out(wanted, into, key, limits=HASTE)


def is_pointer(path: Path) -> bool:
    return path.read_bytes().startswith(b"version https://git-lfs")


def test_what_dbt_may_look_into_is_fetched_and_nothing_else(
    repository: Repository, server: Server, into: Path, key: Path
) -> None:
    """That is the project, its local packages, and where their links lead."""
    wanted = {
        "dbt/seeds/cities.csv": CITIES,
        "dbt/seeds/of the\tsame, [content]*.csv": CITIES,
        "dbt/seeds/none.csv": b"",
        "package/seeds/other.csv": OTHER,
        "data/linked.csv": b"linked",
        "folder/in/linked.csv": b"in a folder",
    }
    for name, content in wanted.items():
        repository.add_large_file(name, content)
    others = ("elsewhere/cities.csv", "dbt/assets/logo.png")
    for name in others:
        repository.add_pointer(name, f"oid sha256:{'1' * 64}\nsize 12345\n")
    (repository.path / "dbt/seeds/cities.csv").chmod(0o755)
    (repository.path / "dbt/linked.csv").symlink_to("../data/linked.csv")
    (repository.path / "dbt/folder").symlink_to("../folder")
    repository.commit("one", **{"dbt/packages.yml": "packages: [{local: ../package}]"})
    check_out(server.url, into, key, sub_path="dbt")
    assert {name: (into / name).read_bytes() for name in wanted} == wanted
    assert all(is_pointer(into / name) for name in others)
    assert (into / "dbt/seeds/cities.csv").stat().st_mode & 0o111
    assert not (into / "dbt/seeds/none.csv").stat().st_mode & 0o111
    assert not list(into.rglob(".git"))


def test_a_submodule_has_them_at_its_own_repository(
    repository: Repository, server: Server, into: Path, key: Path
) -> None:
    inner = make_repository(repository.path.parent / "inner")
    inner.add_large_file("cities.csv", CITIES)
    repository.add_submodule("seeds/inner", "../../inner/.git", inner.commit("inner"))
    repository.add_large_file("seeds/other.csv", OTHER)
    repository.commit("one")
    check_out(server.url, into, key, submodules=True)
    assert (into / "seeds/inner/cities.csv").read_bytes() == CITIES
    assert (into / "seeds/other.csv").read_bytes() == OTHER
    assert not list(into.rglob(".git"))


def test_one_of_a_submodule_that_is_missing_is_named(
    repository: Repository, server: Server, into: Path, key: Path
) -> None:
    inner = make_repository(repository.path.parent / "inner")
    inner.add_pointer("cities.csv", f"oid sha256:{'1' * 64}\nsize 12345\n")
    repository.add_submodule("seeds/inner", "../../inner/.git", inner.commit("inner"))
    repository.commit("one")
    with pytest.raises(SourceError) as error:
        check_out(server.url, into, key, submodules=True)
    assert str(error.value).startswith("submodule seeds/inner: seeds/inner/cities.csv: https://")
    assert "Git LFS at the server does not have it" in str(error.value)


@pytest.mark.parametrize(
    ("served", "words"),
    [
        (None, "Git LFS at the server does not have it; push it"),
        (b"another", "is another file than the commit means; push the right one"),
        (b"x" * (3 << 20), "what the server sends is larger than the commit says; push"),
    ],
)
def test_one_that_cannot_be_had_is_named(
    repository: Repository, server: Server, into: Path, key: Path, served: bytes | None, words: str
) -> None:
    if served is None:
        repository.add_pointer("seeds/a.csv", f"oid sha256:{'1' * 64}\nsize 12345\n")
    else:
        repository.add_large_file("seeds/a.csv", CITIES, served)
    repository.commit("one")
    with pytest.raises(SourceError) as error:
        check_out(server.url, into, key)
    assert str(error.value).startswith(f"seeds/a.csv: {server.url}, its default branch: ")
    assert words in str(error.value)
    assert error.value.again == "No"
    assert is_pointer(into / "seeds/a.csv")
    assert not list(into.rglob(".git"))


def test_what_there_is_no_room_for_is_not_asked_for(
    repository: Repository, server: Server, into: Path, key: Path
) -> None:
    repository.add_pointer("seeds/a.csv", f"oid sha256:{'1' * 64}\nsize {10**15 - 1}\n")
    repository.commit("one")
    with pytest.raises(SourceError, match=r"have 999999999999999 bytes, .* has room for \d+: keep"):
        check_out(server.url, into, key)


@pytest.mark.parametrize(
    "fields",
    [
        "oid sha256:4d7a2146\nsize 12345\n",
        f"oid md5:{'1' * 64}\nsize 12345\n",
        f"oid sha256:{'g' * 64}\nsize 12345\n",
        f"oid sha256:{'1' * 64}\nsize -1\n",
        f"oid sha256:{'1' * 64}\nsize 0\n",
        f"oid sha256:{'1' * 64}\nsize {10**15}\n",
        f"oid sha256:{'1' * 64}\noid sha256:{'2' * 64}\nsize 1\n",
        f"ext-0-rot13 sha256:{'2' * 64}\noid sha256:{'1' * 64}\nsize 1\n",
    ],
)
def test_a_pointer_that_cannot_be_followed_is_named(
    repository: Repository, server: Server, into: Path, key: Path, fields: str
) -> None:
    repository.add_pointer("seeds/a.csv", fields)
    repository.commit("one")
    with pytest.raises(
        PrepareError, match=r"seeds/a\.csv is a pointer of Git LFS with another hash"
    ):
        check_out(server.url, into, key)


def test_an_image_without_git_lfs_is_told(
    repository: Repository, server: Server, into: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = into.parent / "programs"
    programs.mkdir()
    (programs / "git").symlink_to(str(shutil.which("git")))
    repository.add_large_file("seeds/a.csv", CITIES)
    repository.commit("one")
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(SourceError, match="git lfs is not installed here; the runner image must"):
        check_out(server.url, into, key)


# Whom the password is shown to


def test_a_password_that_is_refused_is_tried_once(
    repository: Repository, server: Server, into: Path, key: Path
) -> None:
    repository.add_large_file("seeds/a.csv", CITIES)
    refused = repository.path / ".git" / "lfs" / "refused"
    refused.touch()
    repository.commit("one")
    with pytest.raises(
        SourceError, match=r"Git LFS: .*the server refuses the credentials"
    ) as error:
        check_out(server.url, into, key)
    assert error.value.again == "No"
    assert refused.read_text().splitlines().count(LOGIN) == 1
    assert PASSWORD not in str(error.value)


def test_another_host_gets_no_password(
    repository: Repository, server: Server, into: Path, key: Path
) -> None:
    repository.add_large_file("seeds/a.csv", CITIES)
    with listen(server) as elsewhere:
        repository.commit("one", **{".lfsconfig": f"[lfs]\n\turl = {elsewhere.url}/info/lfs\n"})
        with pytest.raises(SourceError) as error:
            check_out(server.url, into, key)
    assert set(elsewhere.asked) == {""}
    assert "the server asks for credentials" in str(error.value)
    host = server.url.split("/")[2]
    assert f"a Secret of source.git.secretRef is for {host} alone" in str(error.value)


@pytest.mark.parametrize("key_of_url", ["[lfs]\n\turl", '[remote "origin"]\n\tlfsurl'])
def test_they_may_be_at_another_repository_of_the_same_host(
    repository: Repository, server: Server, into: Path, key: Path, key_of_url: str
) -> None:
    store = make_repository(repository.path.parent / "store")
    store.add_large_file("seeds/a.csv", CITIES)
    oid = (store.path / "seeds/a.csv").read_text().split()[3]
    repository.add_pointer("seeds/a.csv", f"oid {oid}\nsize {len(CITIES)}\n")
    url = server.url.replace("/shop/", "/store/") + "/info/lfs"
    repository.commit("one", **{".lfsconfig": f"{key_of_url} = {url}\n"})
    check_out(server.url, into, key)
    assert (into / "seeds/a.csv").read_bytes() == CITIES


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file://{folder}", "what .lfsconfig has is no URL"),
        ("{folder}", "what .lfsconfig has is no URL"),
        ("ssh://-oProxyCommand=touch {marker}/x", "what .lfsconfig has is no URL"),
        ("ssh://git@example.com/x.git", "asked for by ssh, .* write an https URL into .lfsconfig"),
        ("https://deployer:pw@127.0.0.1/x.git", "without credentials"),
        ("http://127.0.0.1:9/x.git", "asked for by http, and the repository itself by https"),
        ("https://127.0.0.1:9/x.git", "Git LFS: .*the server cannot be reached"),
    ],
)
def test_there_is_no_other_way_to_them(
    repository: Repository, server: Server, into: Path, key: Path, url: str, words: str
) -> None:
    repository.add_large_file("seeds/a.csv", CITIES)
    marker = into.parent / "marker"
    told = url.format(marker=marker, folder=repository.path / ".git")
    repository.commit("one", **{".lfsconfig": f'[lfs]\n\turl = "{told}"\n'})
    with pytest.raises(SourceError, match=words) as error:
        check_out(server.url, into, key)
    assert not marker.exists()
    assert is_pointer(into / "seeds/a.csv")
    assert error.value.again == ("Yes" if "reached" in words else "No")


def test_no_file_of_the_repository_has_a_say(
    repository: Repository, server: Server, into: Path, key: Path
) -> None:
    marker = into.parent / "marker"
    program = f"touch {marker}"
    repository.add_large_file("seeds/a.csv", CITIES)
    said = (
        f'[core]\n\tsshCommand = {program}\n[credential]\n\thelper = "!{program}"\n'
        "[lfs]\n\tstandalonetransferagent = evil\n\tfetchexclude = *\n\tskipdownloaderrors = true\n"
        f'[lfs "customtransfer.evil"]\n\tpath = touch\n\targs = {marker}\n'
        f'[lfs "extension.evil"]\n\tsmudge = {program}\n'
        f'[filter "lfs"]\n\tprocess = {program}\n\tsmudge = {program}\n'
    )
    attributes = "*.csv filter=lfs diff=lfs merge=lfs -text\n"
    repository.commit("one", **{".lfsconfig": said, ".gitattributes": attributes})
    check_out(server.url, into, key)
    assert (into / "seeds/a.csv").read_bytes() == CITIES
    assert not marker.exists()


# By ssh


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[SshServer]:
    with serve_ssh(tmp_path / "ssh") as server:
        yield server


def test_by_ssh_the_server_says_where_they_are(
    repository: Repository, server: Server, ssh: SshServer, into: Path
) -> None:
    """They come by https, with what it gives along, and by the Secret's CA."""
    repository.add_large_file("seeds/a.csv", CITIES)
    repository.commit("one")
    where = {"href": f"{server.url}/info/lfs", "header": {"Authorization": LOGIN}}
    program = ssh.programs / "git-lfs-authenticate"
    program.write_text(
        f"#!/bin/sh\necho \"$@\" >> {ssh.programs}/asked\necho '{json.dumps(where)}'\n"
    )
    program.chmod(0o755)
    key = secret(
        into.parent,
        ssh__privatekey=ssh.client_key.private,
        known_hosts=ssh.known_hosts,
        ca_crt=server.tls.ca,
    )
    check_out(ssh.locate(repository.path / ".git"), into, key)
    assert (into / "seeds/a.csv").read_bytes() == CITIES
    asked = (ssh.programs / "asked").read_text().split()
    assert asked == [str(repository.path / ".git"), "download"]
