"""An API server on loopback, for what a real one does not do on demand: refuse one namespace, and
go away.
"""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

GROUPS = {
    "batch": "v1",
    "dbt-operator.dev": "v1alpha1",
    "coordination.k8s.io": "v1",
    "apiextensions.k8s.io": "v1",
}
KINDS = {
    "dbtruns": ("dbt-operator.dev", "DbtRun"),
    "dbtprojects": ("dbt-operator.dev", "DbtProject"),
    "dbtbackfills": ("dbt-operator.dev", "DbtBackfill"),
    "dbtschedules": ("dbt-operator.dev", "DbtSchedule"),
    "dbttargets": ("dbt-operator.dev", "DbtTarget"),
    "jobs": ("batch", "Job"),
    "pods": ("", "Pod"),
}
BACKBONE = {"": ["namespaces", "events"], "apiextensions.k8s.io": ["customresourcedefinitions"]}


class FakeAPIServer:
    """Lists, watches, and Leases by compare-and-swap."""

    def __init__(self) -> None:
        self.refused: set[str] = set()  # namespaces
        self.unknown: set[str] = set()  # groups that are not served
        self.token = ""  # the only one that is accepted, if any
        self.requests: list[str] = []
        self.accepted: list[tuple[str, str]] = []  # path, and what the answer is to look like
        self.expired = 0  # watches that are told that they begin too early
        self.leases: dict[str, Manifest] = {}
        self.patched: list[tuple[str, str]] = []  # (name, token of who did it)
        self._away = False
        self._changed = threading.Condition()
        self._objects: dict[tuple[str, str, str], Manifest] = {}
        self._events: list[tuple[int, str, str, Manifest]] = []  # (version, plural, type, object)
        self._version = 100
        self._epoch = 0  # watches of earlier ones end
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[FakeAPIServer]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.cut()
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def put(
        self, plural: str, namespace: str, name: str, labels: dict[str, str] | None = None
    ) -> None:
        with self._changed:
            self._version += 1
            metadata = {
                "namespace": namespace,
                "name": name,
                "uid": f"{namespace}-{name}",
                "generation": 1,
                "labels": labels or {},
            }
            spec = {
                "projectRef": {"name": "shop"},
                "targetRef": {"name": "prod"},
                "steps": [],
            }  # nothing to be done
            manifest = {
                "metadata": metadata | {"resourceVersion": str(self._version)},
                "spec": spec,
            }
            self._objects[plural, namespace, name] = manifest
            self._events.append((self._version, plural, "ADDED", manifest))
            self._changed.notify_all()

    def cut(self) -> None:
        """End every watch, as the server does by itself after some minutes."""
        with self._changed:
            self._epoch += 1
            self._changed.notify_all()

    @property
    def away(self) -> bool:
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        self._away = away
        self.cut()

    def answer(self, path: str) -> Manifest | None:
        """Discovery, or a list."""
        parts = path.strip("/").split("/")
        if parts == ["api"]:
            return {"versions": ["v1"]}
        if parts == ["apis"]:
            served = {
                group: version for group, version in GROUPS.items() if group not in self.unknown
            }
            versions = [(g, {"groupVersion": f"{g}/{v}", "version": v}) for g, v in served.items()]
            return {
                "groups": [{"name": g, "versions": [v], "preferredVersion": v} for g, v in versions]
            }
        if parts == ["api", "v1"]:
            return {"resources": _resources("")}
        if parts[0] == "apis" and len(parts) == 3:
            return {"resources": _resources(parts[1])}
        return self._list(parts) if parts[-1] in KINDS else None

    def _list(self, parts: list[str]) -> Manifest:
        namespace = namespace_of(parts)
        with self._changed:
            items = [
                o
                for (p, n, _), o in self._objects.items()
                if p == parts[-1] and namespace in (None, n)
            ]
            return {"metadata": {"resourceVersion": str(self._version)}, "items": items}

    def stream(self, path: str, since: int, write: Callable[[Manifest], None]) -> None:
        """A watch, until it is cut."""
        parts = path.strip("/").split("/")
        namespace, epoch = namespace_of(parts), self._epoch
        while True:
            with self._changed:
                if epoch != self._epoch:
                    return
                news = [
                    event for event in self._events if event[0] > since and event[1] == parts[-1]
                ]
                if not news:
                    self._changed.wait(0.2)
            for version, _, kind, manifest in news:
                if namespace in (None, manifest["metadata"]["namespace"]):
                    write({"type": kind, "object": manifest})
                since = version

    def write_lease(self, name: str, wanted: Manifest, *, create: bool) -> bool:
        """Whether it was written."""
        with self._changed:
            kept = self.leases.get(name)
            version = kept["metadata"]["resourceVersion"] if kept else None
            if (create and kept) or (
                not create and wanted["metadata"].get("resourceVersion") != version
            ):
                return False
            self._version += 1
            metadata = wanted["metadata"] | {"resourceVersion": str(self._version)}
            self.leases[name] = wanted | {"metadata": metadata}
            return True

    def patch_status(self, parts: list[str], status: Manifest, token: str) -> Manifest:
        namespace, plural, name = parts[parts.index("namespaces") + 1 :][:3]
        with self._changed:
            self.patched.append((name, token))
            self._version += 1
            kept = self._objects[plural, namespace, name]
            changed = kept | {
                "status": status,
                "metadata": kept["metadata"] | {"resourceVersion": str(self._version)},
            }
            self._objects[plural, namespace, name] = changed
            self._events.append((self._version, plural, "MODIFIED", changed))
            self._changed.notify_all()
            return changed

    def kubeconfig(self, folder: Path, token: str) -> Path:
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": {"token": token}}],
        }
        path = folder / token
        path.write_text(yaml.safe_dump(content))
        return path


def namespace_of(parts: list[str]) -> str | None:
    return parts[parts.index("namespaces") + 1] if "namespaces" in parts else None


def _resources(group: str) -> list[Manifest]:
    names = [
        plural for plural, (its_group, _) in KINDS.items() if its_group == group
    ] + BACKBONE.get(group, [])
    verbs = ["get", "list", "watch", "patch"]
    return [
        {
            "name": n,
            "kind": KINDS.get(n, ("", n))[1],
            "singularName": n[:-1],
            "namespaced": n in KINDS,
            "verbs": verbs,
        }
        for n in names
    ]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fake: FakeAPIServer) -> None:
        self.fake = fake
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # whoever asked has gone away


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _begin(self) -> tuple[FakeAPIServer, str, dict[str, str]] | None:
        """The request, unless it is not even looked at."""
        fake = self.server.fake
        url = urllib.parse.urlsplit(self.path)
        if fake.away:
            self.close_connection = True
            return None
        fake.requests.append(f"{self.command} {self.path}")
        fake.accepted.append((url.path, self.headers["Accept"] or ""))
        if fake.token and self.headers["Authorization"] != f"Bearer {fake.token}":
            self._refuse(401, "Unauthorized")
            return None
        if namespace_of(url.path.split("/")) in fake.refused:
            self._refuse(403, "Forbidden")
            return None
        return fake, url.path, dict(urllib.parse.parse_qsl(url.query))

    def do_GET(self) -> None:
        if (begun := self._begin()) is None:
            return
        fake, path, query = begun
        if "/leases/" in path:
            lease = fake.leases.get(path.rpartition("/")[2])
            self._json(200 if lease else 404, lease or _status(404, "NotFound"))
        elif "watch" in query:
            self._stream(fake, path, int(query["resourceVersion"]))
        else:
            answer = fake.answer(path)
            if answer and "items" in answer:
                answer["items"] = [self._shape(each) for each in answer["items"]]
            self._json(200 if answer else 404, answer or _status(404, "NotFound"))

    def _shape(self, manifest: Manifest) -> Manifest:
        """An object as it is asked for: as a whole, or its metadata alone."""
        if "as=PartialObjectMetadata" not in (self.headers["Accept"] or ""):
            return manifest
        return {"kind": "PartialObjectMetadata", "metadata": manifest["metadata"]}

    def do_POST(self) -> None:
        self._write()

    def do_PUT(self) -> None:
        self._write()

    def do_PATCH(self) -> None:
        self._write()

    def _write(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if (begun := self._begin()) is None:
            return
        fake, path, _ = begun
        if "/leases" in path:
            create = self.command == "POST"
            written = fake.write_lease(body["metadata"]["name"], body, create=create)
            self._json(200 if written else 409, body if written else _status(409, "Conflict"))
        elif path.endswith("/status"):
            token = self.headers["Authorization"].removeprefix("Bearer ")
            self._json(200, fake.patch_status(path.split("/"), body["status"], token))
        else:
            self._json(201, body)  # an event

    def _stream(self, fake: FakeAPIServer, path: str, since: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

        def write(event: Manifest) -> None:
            line = json.dumps(event).encode() + b"\n"
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")

        if fake.expired:
            fake.expired -= 1
            write({"type": "ERROR", "object": _status(410, "Expired")})
        else:
            fake.stream(path, since, lambda e: write(e | {"object": self._shape(e["object"])}))
        self.wfile.write(b"0\r\n\r\n")

    def _refuse(self, code: int, reason: str) -> None:
        self._json(code, _status(code, reason))

    def _json(self, code: int, body: Manifest) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        pass


def _status(code: int, reason: str) -> Manifest:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": reason,
    }
