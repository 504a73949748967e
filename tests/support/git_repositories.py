"""Git repositories of tests, and a server for them with TLS and a password."""

from __future__ import annotations

import hashlib
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dbt_runner.prepare.git_command import Limits
from tests.support.certificates import Tls
from tests.support.places import ROOT

PASSWORD = "canary-p@ss/word"  # noqa: S105 -- looked for where it must not be
HASTE = Limits(total_seconds=60, answer_seconds=20, pauses=(0, 0))


def run(*argv: str, cwd: Path) -> str:
    identity = {
        f"GIT_{who}_{what}": "tests"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "GIT_CONFIG_NOSYSTEM": "1"} | identity
    return subprocess.run(
        ["git", *argv], cwd=cwd, env=env, check=True, capture_output=True, text=True
    ).stdout.strip()


@dataclass
class Repository:
    """One with a working copy. Each commit's only content is the file ``version``."""

    path: Path

    @property
    def url(self) -> str:
        return self.path.as_uri()

    def commit(self, version: str, **files: str) -> str:
        for name, text in {"version": version, **files}.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(text)
        run("add", "--all", cwd=self.path)
        run("commit", "--quiet", "-m", version, cwd=self.path)
        return run("rev-parse", "HEAD", cwd=self.path)

    def add_submodule(self, path: str, url: str, commit: str, more: str = "") -> None:
        """Add one, whatever its URL is, with more lines for .gitmodules."""
        with (self.path / ".gitmodules").open("a") as file:
            file.write(f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n{more}')
        (self.path / path).mkdir(parents=True)
        self.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")

    def add_large_file(self, name: str, content: bytes, served: bytes | None = None) -> None:
        """Add a file that Git LFS keeps, of which a server may serve something else."""
        oid = hashlib.sha256(content).hexdigest()
        self.add_pointer(name, f"oid sha256:{oid}\nsize {len(content)}\n")
        kept = self.path / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(content if served is None else served)

    def add_pointer(self, name: str, fields: str) -> None:
        """Add a pointer to a file that no server of Git LFS has."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"version https://git-lfs.github.com/spec/v1\n{fields}")

    def git(self, *argv: str) -> str:
        return run(*argv, cwd=self.path)


def make_repository(path: Path) -> Repository:
    path.mkdir(parents=True)
    run("init", "--quiet", "--initial-branch=main", cwd=path)
    return Repository(path)


@dataclass
class Server:
    url: str
    tls: Tls
    files: tuple[str, str]  # of certificate and key


@contextmanager
def serve(folder: Path, certificates: Tls, private: Path) -> Iterator[Server]:
    """Serve the repositories in a folder; the URL is that of the first."""
    files = (str(private / "crt"), str(private / "key"))
    Path(files[0]).write_text(certificates.certificate)
    Path(files[1]).write_text(certificates.key)
    argv = [
        sys.executable,
        str(ROOT / "tests/cluster/images/git/server.py"),
        "--certificate",
        files[0],
    ]
    argv += ["--key", files[1], "--repositories", str(folder)]
    env = os.environ | {"GIT_USER": "deployer", "GIT_PASSWORD": PASSWORD}
    with subprocess.Popen(
        argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().split()[-1]
            yield Server(f"https://127.0.0.1:{port}/shop/.git", certificates, files)
        finally:
            process.kill()


@dataclass
class Elsewhere:
    url: str
    asked: list[str] = field(default_factory=list)  # with which credentials


@contextmanager
def listen(server: Server) -> Iterator[Elsewhere]:
    """Run another server with the same certificate, that asks for credentials."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.do_GET()

        def do_GET(self) -> None:
            found.asked.append(self.headers.get("Authorization", ""))
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server.files)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.socket = context.wrap_socket(http.socket, server_side=True)
        found = Elsewhere(f"https://127.0.0.1:{http.server_address[1]}/inner.git")
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield found
        http.shutdown()


def secret(folder: Path, **keys: str) -> Path:
    """A Secret as the kubelet mounts it."""
    data = folder / "secret" / "..2024_01_01"
    data.mkdir(parents=True)
    (folder / "secret" / "..data").symlink_to(data.name)
    for name, text in keys.items():
        key = name.replace("__", "-").replace("_crt", ".crt")
        (data / key).write_text(text)
        (folder / "secret" / key).symlink_to(f"..data/{key}")
    return folder / "secret"
