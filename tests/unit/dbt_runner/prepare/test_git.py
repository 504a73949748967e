"""Checking out, with real git: local repositories, and a server with TLS and a password."""

from __future__ import annotations

import os
import re
import socket
import ssl
import stat
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dbt_runner.prepare import git
from dbt_runner.prepare.git_command import Limits
from dbt_runner.prepare.git_messages import SourceError, Wanted
from dbt_runner.prepare.project_folder import PrepareError
from tests.support.certificates import ssh_key
from tests.support.git_repositories import HASTE, PASSWORD, Repository, Server, secret


def check_out(
    url: str, into: Path, ref: str = "", commit: str = "", secret: Path = Path("/no/secret")
) -> str:
    protocols = (*git.PROTOCOLS, "file")
    return git.check_out(Wanted(url, ref, commit), into, secret, limits=HASTE, protocols=protocols)


def version(into: Path) -> str:
    return (into / "version").read_text()


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("", "three"),
        ("HEAD", "three"),
        ("main", "three"),
        ("refs/heads/main", "three"),
        ("feature/x", "two"),
        ("v1", "one"),
        ("annotated", "one"),
        ("refs/tags/annotated", "one"),
        ("both", "two"),  # a branch and a tag
        ("refs/pull/7/head", "two"),
    ],
)
def test_branches_and_tags_are_resolved(
    repository: Repository, into: Path, ref: str, expected: str
) -> None:
    commits = {"one": repository.commit("one")}
    for tag in (["v1"], ["annotated", "-m", "one", "-a"], ["both"]):
        repository.git("tag", *tag)
    commits["two"] = repository.commit("two")
    for branch in ("feature/x", "both", "unrelated/refs/heads/main"):
        repository.git("branch", branch)
    repository.git("update-ref", "refs/pull/7/head", "HEAD")
    commits["three"] = repository.commit("three")
    assert check_out(repository.url, into, ref) == commits[expected]
    assert version(into) == expected
    assert {path.name for path in into.iterdir()} == {"version"}


@pytest.mark.parametrize("digits", [40, 10])
def test_a_commit_is_taken_as_it_is_and_a_short_one_is_looked_for(
    repository: Repository, into: Path, digits: int
) -> None:
    first = repository.commit("one")
    repository.commit("two")
    assert check_out(repository.url, into, first[:digits]) == first
    assert version(into) == "one"


def test_the_hash_of_an_annotated_tag_leads_to_its_commit(
    repository: Repository, into: Path
) -> None:
    first = repository.commit("one")
    repository.git("tag", "-a", "v1", "-m", "one")
    assert check_out(repository.url, into, repository.git("rev-parse", "v1")) == first


def test_a_commit_that_is_known_stands_for_a_ref_that_has_moved(
    repository: Repository, into: Path
) -> None:
    first = repository.commit("one")
    repository.commit("two")
    assert check_out(repository.url, into, "main", first) == first
    assert version(into) == "one"


def test_history_is_fetched_where_the_server_serves_no_single_commit(
    repository: Repository, into: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Protocol version 2 serves them all; version 0 only what a ref points to, unless it is told
    otherwise.
    """
    first = repository.commit("one")
    repository.commit("two")
    repository.commit("three")
    wrapper = into.parent / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {_real_git()} -c protocol.version=0 "$@"\n')
    wrapper.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
        assert check_out(repository.url, into, "main", first) == first
    assert version(into) == "one"
    assert "does not serve that" in capfd.readouterr().out


def _real_git() -> str:
    found = subprocess.run(["which", "git"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


@pytest.mark.parametrize(
    "ref", ["no-such-branch", "abcdef0", "0123456789" * 4, "refs/heads/nothing", "main~1"]
)
def test_what_is_not_there_is_named(repository: Repository, into: Path, ref: str) -> None:
    repository.commit("one")
    with pytest.raises(SourceError) as error:
        check_out(repository.url, into, ref)
    assert ref in str(error.value)
    assert repository.url in str(error.value)
    assert re.search("no such branch, tag or commit|no commit", str(error.value))


def test_an_empty_repository_is_told_apart(repository: Repository, into: Path) -> None:
    with pytest.raises(SourceError, match="HEAD leads nowhere"):
        check_out(repository.url, into)


def test_files_can_be_written_by_others_of_the_group(repository: Repository, into: Path) -> None:
    into.chmod(0o2775)
    repository.path.joinpath("models").mkdir()
    repository.path.joinpath("models/a.sql").write_text("select 1")
    repository.path.joinpath("run.sh").write_text("true")
    repository.path.joinpath("run.sh").chmod(0o755)
    repository.commit("one")
    check_out(repository.url, into)
    assert stat.S_IMODE((into / "models").stat().st_mode) == 0o2775
    assert stat.S_IMODE((into / "models/a.sql").stat().st_mode) == 0o664
    assert stat.S_IMODE((into / "run.sh").stat().st_mode) == 0o775


def test_neither_configuration_nor_hooks_nor_templates_of_anybody_count(
    repository: Repository, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = into.parent / "home"
    hooks = home / "hooks"
    hooks.mkdir(parents=True)
    hook = hooks / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {home}/hooked\n")
    hook.chmod(0o755)
    (home / ".gitconfig").write_text(
        f'[core]\n hooksPath = {hooks}\n[url "file:///nowhere"]\n insteadOf = file://\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    repository.commit("one")
    check_out(repository.url, into)
    assert not (home / "hooked").exists()


@pytest.mark.parametrize("url", ["git://localhost/x.git", "ext::sh -c true", "file:///tmp"])
def test_other_protocols_are_not_spoken(into: Path, url: str) -> None:
    with pytest.raises(SourceError):
        git.check_out(Wanted(url), into, Path("/no/secret"), limits=HASTE)


# Over the network


def test_https_with_a_password_and_a_ca_of_our_own(
    repository: Repository, server: Server, into: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = repository.commit("one")
    repository.git("tag", "v1")
    repository.commit("two")
    credentials = secret(
        into.parent, username="deployer\n", password=f"{PASSWORD}\n", ca_crt=server.tls.ca
    )
    assert check_out(server.url, into, "v1", secret=credentials) == first
    assert version(into) == "one"
    assert PASSWORD not in "".join(capfd.readouterr())


def test_the_password_is_in_no_argument_and_no_variable(
    repository: Repository, server: Server, into: Path
) -> None:
    """Of git and of everything that it starts."""
    repository.commit("one")
    spy = into.parent / "bin" / "git"
    spy.parent.mkdir()
    seen = into.parent / "seen"
    spy.write_text(f'#!/bin/sh\n(echo "$@"; env) >> {seen}\nexec {_real_git()} "$@"\n')
    spy.chmod(0o755)
    credentials = secret(into.parent, username="deployer", password=PASSWORD, ca_crt=server.tls.ca)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{spy.parent}:{os.environ['PATH']}")
        check_out(server.url, into, secret=credentials)
    assert "GIT_CONFIG_GLOBAL" in seen.read_text()
    assert PASSWORD not in seen.read_text()
    assert "canary" not in seen.read_text()


def test_a_server_that_redirects_elsewhere_gets_the_password_alone(
    repository: Repository, server: Server, into: Path
) -> None:
    repository.commit("one")
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", server.url.removesuffix("/shop/.git") + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server.files)
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as redirecting:
        redirecting.socket = context.wrap_socket(redirecting.socket, server_side=True)
        threading.Thread(target=redirecting.serve_forever, daemon=True).start()
        url = f"https://127.0.0.1:{redirecting.server_address[1]}/shop/.git"
        credentials = secret(
            into.parent, username="deployer", password=PASSWORD, ca_crt=server.tls.ca
        )
        with pytest.raises(SourceError, match="refuses the credentials"):
            check_out(url, into, secret=credentials)
        redirecting.shutdown()
    assert asked


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"username": "deployer", "password": "wrong-password"}, "refuses the credentials"),
        ({}, "refuses the credentials"),
        ({"username": "deployer"}, "both username and password"),
    ],
)
def test_wrong_credentials_are_told(
    repository: Repository, server: Server, into: Path, keys: dict[str, str], message: str
) -> None:
    repository.commit("one")
    with pytest.raises(SourceError, match=message) as error:
        check_out(
            server.url, into, "main", secret=secret(into.parent, ca_crt=server.tls.ca, **keys)
        )
    assert server.url in str(error.value)
    assert error.value.again == "No"
    assert "ref main" in str(error.value)
    assert "wrong-password" not in str(error.value)


def test_an_unknown_ca_is_told(repository: Repository, server: Server, into: Path) -> None:
    repository.commit("one")
    with pytest.raises(SourceError, match=r"certificate is not trusted.*ca\.crt"):
        check_out(
            server.url, into, secret=secret(into.parent, username="deployer", password=PASSWORD)
        )


def test_a_repository_that_is_not_there_is_told(server: Server, into: Path) -> None:
    credentials = secret(into.parent, username="deployer", password=PASSWORD, ca_crt=server.tls.ca)
    with pytest.raises(SourceError, match="there is no such repository"):
        check_out(server.url.replace("/shop/", "/shopp/"), into, secret=credentials)


def test_a_host_that_is_away_is_tried_again_and_then_told(
    into: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        SourceError,
        match=r"https://127\.0\.0\.1:9/certificate\.git, ref main: .* cannot be reached",
    ) as error:
        check_out("https://127.0.0.1:9/certificate.git", into, "main")
    assert capfd.readouterr().out.count("trying again") == 2
    assert error.value.again == "Yes"


def test_a_server_that_does_not_answer_is_not_waited_for(into: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.git"
        with pytest.raises(SourceError, match=r"cannot be reached.*timed out"):
            git.check_out(Wanted(url), into, Path("/no/secret"), limits=Limits(5, 0.3, (0,)))


def test_a_password_goes_over_tls_only(into: Path) -> None:
    with pytest.raises(SourceError, match="over https:// only"):
        check_out(
            "http://127.0.0.1:9/x.git",
            into,
            secret=secret(into.parent, username="u", password=PASSWORD),
        )


@pytest.mark.parametrize("url", ["git@127.0.0.1:x.git", "ssh://git@127.0.0.1:9/x.git"])
def test_ssh_says_what_its_secret_lacks(into: Path, url: str) -> None:
    with pytest.raises(SourceError, match=r"ssh-privatekey .* and known_hosts"):
        check_out(url, into)
    with pytest.raises(SourceError, match=r"with known_hosts \(what `ssh-keyscan"):
        check_out(url, into, secret=secret(into.parent, ssh__privatekey=ssh_key().private))


def test_ssh_is_really_tried(into: Path) -> None:
    credentials = secret(into.parent, ssh__privatekey=ssh_key().private, known_hosts="")
    with pytest.raises(SourceError, match=r"cannot be reached.*Connection refused"):
        check_out("ssh://git@127.0.0.1:9/x.git", into, secret=credentials)


def test_no_password_of_a_url_is_repeated() -> None:
    assert "canary" not in str(Wanted("https://user:canary@host/x.git", "main"))


# What a protected target takes


def protect(repository: Repository, into: Path, commit: str, named: str, known: str = "") -> str:
    wanted = Wanted(repository.url, commit, known, named)
    return git.check_out(
        wanted, into, Path("/no/secret"), limits=HASTE, protocols=(*git.PROTOCOLS, "file")
    )


@pytest.fixture(params=["partial", "whole"])
def published(request: pytest.FixtureRequest, repository: Repository) -> Repository:
    """Three commits on main, the second one tagged; and a server that can leave things out, or
    cannot.
    """
    for number in ("one", "two", "three"):
        repository.commit(number)
        repository.git("tag", "-a", "-m", number, f"v-{number}")
    repository.git("config", "uploadpack.allowFilter", str(request.param == "partial").lower())
    return repository


def make_foreign_commit(repository: Repository) -> str:
    """A commit that the server hands out although no ref leads to it, as one of a fork."""
    repository.git("checkout", "--quiet", "-b", "fork")
    commit = repository.commit("foreign")
    repository.git("checkout", "--quiet", "main")
    repository.git("branch", "--delete", "--force", "fork")
    return commit


@pytest.mark.parametrize(
    ("named", "version_of_commit"),
    [
        ("main", "three"),
        ("main", "one"),
        ("HEAD", "one"),
        ("refs/heads/main", "two"),
        ("v-two", "two"),
        ("refs/tags/v-two", "one"),
    ],
)
def test_a_commit_that_the_named_ref_reaches_is_checked_out(
    published: Repository, into: Path, named: str, version_of_commit: str
) -> None:
    commit = published.git("rev-parse", f"v-{version_of_commit}^{{commit}}")
    assert protect(published, into, commit, named) == commit
    assert version(into) == version_of_commit
    assert {path.name for path in into.iterdir()} == {"version"}


def test_a_commit_of_a_fork_is_refused_although_the_server_hands_it_out(
    published: Repository, into: Path
) -> None:
    foreign = make_foreign_commit(published)
    assert check_out(published.url, into, foreign) == foreign
    (into / "version").unlink()
    with pytest.raises(PrepareError, match=r"refs/heads/main, .* does not reach this commit"):
        protect(published, into, foreign, "main")
    assert list(into.iterdir()) == []


def test_what_an_earlier_attempt_has_found_is_proven_again(
    published: Repository, into: Path
) -> None:
    good, foreign = published.git("rev-parse", "main"), make_foreign_commit(published)
    with pytest.raises(PrepareError, match="does not reach"):
        protect(published, into, good, "main", known=foreign)


@pytest.mark.parametrize("named", ["v-two", "other", "release"])
def test_other_refs_of_the_repository_prove_nothing(
    published: Repository, into: Path, named: str
) -> None:
    published.git("checkout", "--quiet", "--orphan", "other")
    published.commit("unrelated")
    published.git("checkout", "--quiet", "main")
    published.git("branch", "release", "v-one")
    with pytest.raises(PrepareError, match=f"{named}, .* does not reach this commit"):
        protect(published, into, published.git("rev-parse", "main"), named)


def test_a_project_that_names_no_ref_of_the_repository_proves_nothing(
    published: Repository, into: Path
) -> None:
    commit = published.git("rev-parse", "main")
    for named in ("no-such-branch", commit[:10]):
        with pytest.raises(PrepareError, match=rf"source\.git\.ref .* {named}, is no branch or"):
            protect(published, into, commit, named)


def test_only_commits_are_fetched_for_the_proof(
    published: Repository, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a server that can leave things out; what is missing is not fetched one by one later."""
    commit, foreign = published.git("rev-parse", "main"), make_foreign_commit(published)
    trace = into.parent / "trace"
    wrapper = into.parent / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexport GIT_TRACE={trace}\nexec {_real_git()} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    with pytest.raises(PrepareError):
        protect(published, into, foreign, "main")
    assert protect(published, into, commit, "main") == commit
    lines = trace.read_text().splitlines()
    fetches = [line for line in lines if "built-in: git fetch --quiet" in line]
    assert ["--filter=tree:0" in line for line in fetches] == [True, True, False]
    assert "--depth=1" in fetches[-1]
    served = [line for line in lines if "built-in: git upload-pack" in line]
    assert len(served) == len(fetches) + 2  # git ls-remote


def test_a_server_that_cannot_be_asked_says_nothing_about_the_commit(into: Path) -> None:
    wanted = Wanted("https://127.0.0.1:9/shop.git", "1" * 40, "", "main")
    with pytest.raises(SourceError, match="cannot be reached"):
        git.check_out(wanted, into, Path("/no/secret"), limits=HASTE)
