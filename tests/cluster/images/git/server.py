"""Serves a folder's Git repositories over HTTPS with a password: `git http-backend`, as CGI, behind
Python's server; and the files that Git LFS keeps, from where git-lfs keeps them in a repository.

Python's own CGI support knows neither TLS nor the chunked requests that git sends. For tests; it
runs until killed.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Mapping
from http import HTTPStatus
from http.client import parse_headers
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

BATCH = "/info/lfs/objects/batch"
OBJECTS = "/lfs/objects/"
# A repository with this file refuses who asks for large files, and writes down who has asked.
REFUSED = "lfs/refused"
USER, PASSWORD = "GIT_USER", "GIT_PASSWORD"  # variables of the environment


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    repositories: Path
    scheme = "http"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self._body()
        if not self._may_enter():
            self.send_response(HTTPStatus.UNAUTHORIZED)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self._finish(b"")
            return
        if self.path.endswith(BATCH):
            self._answer_batch(self.path[: -len(BATCH)], json.loads(body)["objects"])
            return
        if OBJECTS in self.path:
            self._answer_object(*self.path.split(OBJECTS))
            return
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            env=self._cgi(body),
            capture_output=True,
            check=False,
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = parse_headers(BytesIO(head + b"\r\n\r\n"))
        status = headers.get("Status", "200 OK")
        self.send_response(int(status.split()[0]))
        for name, value in headers.items():
            if name != "Status":
                self.send_header(name, value)
        self._finish(content)

    def _answer_batch(self, repository: str, wanted: list[dict[str, str]]) -> None:
        """Say where files are. What is wrong with one is served as it is."""
        folder, login = self.repositories / repository.lstrip("/"), self.headers["Authorization"]
        if (folder / REFUSED).is_file():
            with (folder / REFUSED).open("a") as asked:
                asked.write(f"{login}\n")
            self.send_response(HTTPStatus.UNAUTHORIZED)
            self.send_header("WWW-Authenticate", 'Basic realm="lfs"')
            self._finish(b"")
            return
        answers: list[dict[str, object]] = []
        for each in wanted:
            answer: dict[str, object] = {**each}
            if self._find_object(repository, each["oid"]).is_file():
                base = f"{self.scheme}://{self.headers['Host']}{repository}"
                header = {"Authorization": login} if login else {}
                href = f"{base}{OBJECTS}{each['oid']}"
                answer["actions"] = {"download": {"href": href, "header": header}}
            else:
                answer["error"] = {"code": 404, "message": "Object does not exist"}
            answers.append(answer)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/vnd.git-lfs+json")
        self._finish(json.dumps({"transfer": "basic", "objects": answers}).encode())

    def _answer_object(self, repository: str, oid: str) -> None:
        self.send_response(HTTPStatus.OK)
        self._finish(self._find_object(repository, oid).read_bytes())

    def _find_object(self, repository: str, oid: str) -> Path:
        folder = self.repositories / repository.lstrip("/")
        return folder / "lfs" / "objects" / oid[:2] / oid[2:4] / oid

    def _finish(self, content: bytes) -> None:
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _may_enter(self) -> bool:
        if USER not in os.environ:
            return True
        login = f"{os.environ[USER]}:{os.environ[PASSWORD]}".encode()
        return hmac.compare_digest(
            self.headers.get("Authorization", ""), f"Basic {base64.b64encode(login).decode()}"
        )

    def _cgi(self, body: bytes) -> Mapping[str, str]:
        path, _, query = self.path.partition("?")
        return {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": self.client_address[0],
            "REMOTE_USER": os.environ.get(USER, ""),
        }


def main() -> None:
    if shutil.which("git") is None:
        raise SystemExit("there is no git")
    parser = argparse.ArgumentParser()
    parser.add_argument("--repositories", type=Path, required=True)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--certificate", type=Path, help="PEM with the chain; without it the server has no TLS"
    )
    parser.add_argument("--key", type=Path)
    arguments = parser.parse_args()
    Handler.repositories = arguments.repositories.resolve()
    server = ThreadingHTTPServer((arguments.address, arguments.port), Handler)
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate, arguments.key)
        Handler.scheme = "https"
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(f"listening on port {server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
