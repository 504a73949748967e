"""What is asked of the API server, and what it is told; nothing else in the operator asks it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dbt_operator.api.base import API_VERSION
from dbt_operator.api.registry import KINDS
from dbt_operator.api.texts import NOTE, cut
from dbt_operator.cluster.api_server import ApiServer, Request, path_of, path_of_foreign
from dbt_operator.cluster.errors import ClusterError, ConflictError, NotFoundError
from dbt_operator.common.awaited_kinds import AwaitedKind
from dbt_operator.planning.common.names import (
    ENDED_LABEL,
    HOLDER_LABEL,
    RUN_UID_LABEL,
    SLOT_GATE,
    STOP,
    TARGET_LABEL,
)
from dbt_operator.planning.common.plan import Event
from dbt_protocol.digests import LINE_BYTES, LINES
from dbt_protocol.json_input import parse_json

Manifest = Mapping[str, Any]

_LOG_TIMEOUT = (5, 5)  # a kubelet answers, which may be away; nothing depends on it
# Tried four times by the client, which must fit into the deadline of a leader.
_LEASE_TIMEOUT = (2, 2)
_CONNECT_TIMEOUT = 5.0
_GRACE = 15.0  # seconds after which a watch counts as lost that should have ended
_LINE_BYTES = 2048
# The sidecar's last lines: its digest, and what it says after that and between.
_LAST_LINES = LINES + 16
_PAGE = "500"  # objects; ten thousand runs at once would take more memory than everything else
_MERGE, _STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
_PARTIAL = "application/json;as={};g=meta.k8s.io;v=v1"
_METADATA = _PARTIAL.format("PartialObjectMetadata")
_METADATA_OF_LIST = _PARTIAL.format("PartialObjectMetadataList")
_OURS = {kind.kind for kind in KINDS}


class Cluster:
    """Reads and writes, each one request, all of them safe to repeat."""

    def __init__(
        self,
        client: Any | None = None,
        connections: int = 4,
        awaited_kinds: Iterable[AwaitedKind] = (),
        count: Callable[[str, int | None], None] = lambda _method, _code: None,
    ) -> None:
        """``connections`` are kept open: as many as threads make requests. ``awaited_kinds`` are
        those of others that runs may wait for. ``count`` is told the method of each request, and
        the code of its answer, None where there is none.
        """
        self._server = ApiServer(client, connections, count)
        self._awaited_kinds = {(kind.group, kind.kind): kind for kind in awaited_kinds}

    @property
    def clock_offset(self) -> timedelta:
        """By how much the API server's clock was ahead of ours at its last answer."""
        return self._server.clock_offset

    # Reads

    def list_pages(
        self, kind: str, namespace: str | None = None
    ) -> Iterator[tuple[list[Manifest], str]]:
        """All objects of a kind (Jobs and Pods: those of runs), some at a time, and the resource
        version of the list.

        Raises:
            ClusterError: the list became too old while it was read (410), among others.
        """
        query = {} if kind in _OURS else {"labelSelector": RUN_UID_LABEL}
        yield from self._list_pages(Request("GET", path_of(kind, namespace), query))

    def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """An object of ours, as it is now."""
        return self._server.ask(Request("GET", path_of(kind, namespace, name)))

    def get_job(self, namespace: str, name: str) -> Manifest | None:
        """A Job as it is now; None where there is none."""
        try:
            return self.get("Job", namespace, name)
        except NotFoundError:
            return None

    def find_awaited_kind(self, group: str, kind: str) -> AwaitedKind | None:
        """A kind of others that runs may wait for; None for one that nobody allows."""
        return self._awaited_kinds.get((group, kind))

    def get_awaited(self, kind: AwaitedKind, namespace: str, name: str) -> Manifest | None:
        """An object of somebody else's kind as it is now; None where there is none."""
        path = path_of_foreign(kind.group, kind.version, kind.plural, namespace, name)
        try:
            return self._server.ask(Request("GET", path))
        except NotFoundError:
            return None

    def jobs_with_labels(self, namespace: str, labels: str) -> Iterator[Manifest]:
        """The Jobs that have some labels, whoever made them, as they are now."""
        query = {"labelSelector": labels}
        for jobs, _ in self._list_pages(Request("GET", path_of("Job", namespace), query)):
            yield from jobs

    def list_job_metadata(self, namespace: str) -> Iterator[tuple[list[Manifest], str]]:
        """The metadata of all Jobs, whoever made them, some at a time, and the resource version of
        the list.
        """
        yield from self._list_pages(
            Request("GET", path_of("Job", namespace), accept=_METADATA_OF_LIST)
        )

    def watch_job_metadata(
        self, namespace: str, version: str, seconds: int
    ) -> Generator[tuple[str, Manifest], None, None]:
        """What becomes of the metadata of Jobs after a resource version: type of the event, and
        metadata, for some seconds.

        Raises:
            ClusterError: the API server has broken off, for whatever reason.
        """
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(seconds)}
        request = Request(
            "GET",
            path_of("Job", namespace),
            query,
            timeout=(_CONNECT_TIMEOUT, seconds + _GRACE),
            accept=_METADATA,
        )
        with closing(self._server.stream(request)) as lines:
            for line in lines:
                event = parse_json(line)
                if event["type"] == "ERROR":
                    raise ClusterError(f"the watch is refused: {event['object'].get('message')}")
                yield event["type"], event["object"]

    def pods_of_run(self, namespace: str, run_uid: str) -> list[Manifest]:
        """The pods of a run, as they are now."""
        return self._list("Pod", namespace, labelSelector=f"{RUN_UID_LABEL}={run_uid}")

    def unfinished_jobs_of_target(self, namespace: str, target: str) -> list[Manifest]:
        """The Jobs of runs on a target, as they are now, but for those that have succeeded, or are
        marked as ended.
        """
        labels = f"{TARGET_LABEL}={target},{HOLDER_LABEL},!{ENDED_LABEL}"
        return self._list(
            "Job", namespace, labelSelector=labels, fieldSelector="status.successful=0"
        )

    def living_pods_of_target(self, namespace: str, target: str) -> list[Manifest]:
        """The pods of runs on a target, as they are now, but for those that are known to have
        ended.
        """
        labels = f"{TARGET_LABEL}={target},{HOLDER_LABEL}"
        unfinished = "status.phase!=Succeeded,status.phase!=Failed"
        return self._list("Pod", namespace, labelSelector=labels, fieldSelector=unfinished)

    def list_warnings(self, namespace: str, uid: str) -> tuple[str, ...]:
        """The warning events about an object, the newest first, each as ``Reason: message``."""
        found = self._list(
            "Event", namespace, fieldSelector=f"involvedObject.uid={uid},type=Warning"
        )
        events = sorted(
            found, key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "", reverse=True
        )
        return tuple(f"{event['reason']}: {event['message']}" for event in events)

    def last_log_line(self, namespace: str, pod: str, container: str) -> str:
        """The last line that a container has printed, or as much of it as is sane; empty if there
        is none.
        """
        query = {"container": container, "tailLines": "1", "limitBytes": str(_LINE_BYTES)}
        return self._read_log(namespace, pod, query).rstrip("\n")

    def last_log_lines(
        self, namespace: str, pod: str, container: str, *, previous: bool = False
    ) -> list[str]:
        """The last lines that a container has printed, enough of them for a digest.

        Args:
            namespace: of the pod.
            pod: its name.
            container: its name.
            previous: those of the container before it was started again.
        """
        size = str(_LAST_LINES * LINE_BYTES)
        query = {"container": container, "tailLines": str(_LAST_LINES), "limitBytes": size}
        text = self._read_log(namespace, pod, query | ({"previous": "true"} if previous else {}))
        return text.split("\n")  # and not at all that Unicode calls the end of a line

    def _read_log(self, namespace: str, pod: str, query: Mapping[str, str]) -> str:
        path = f"{path_of('Pod', namespace, pod)}/log"
        answer = self._server.send(Request("GET", path, query, timeout=_LOG_TIMEOUT))
        return answer.decode(errors="replace")

    # Writes

    def create_job(self, manifest: Manifest) -> Manifest:
        """Create a Job; where one of its name exists, that one, whoever it belongs to."""
        return self._create("Job", manifest)

    def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Delete a Job; it is gone once its pods are. Nothing happens where it is gone or is
        another one by now.
        """
        self._delete("Job", namespace, name, uid, propagationPolicy="Foreground")

    def mark_job_ended(self, namespace: str, name: str, uid: str) -> Manifest:
        """Mark a Job as ended, so that nobody need list it any more.

        Raises:
            NotFoundError: it is gone.
            InvalidError: it is another one by now, or may not be changed.
        """
        body = {"metadata": {"uid": uid, "labels": {ENDED_LABEL: "true"}}}
        path = path_of("Job", namespace, name)
        return self._server.ask(Request("PATCH", path, body=body, content_type=_MERGE))

    def delete_pod(self, namespace: str, name: str, uid: str) -> None:
        """Ask a pod to end. Nothing happens where it is gone or is another one by now."""
        self._delete("Pod", namespace, name, uid)

    def open_gate(self, namespace: str, name: str, uid: str) -> Manifest:
        """Let a pod be scheduled. Nothing happens where it may be already.

        Raises:
            NotFoundError: it is gone.
            ConflictError: it is another one by now.
        """
        gates = [{"$patch": "delete", "name": SLOT_GATE}]
        body = {"metadata": {"uid": uid}, "spec": {"schedulingGates": gates}}
        path = path_of("Pod", namespace, name)
        request = Request("PATCH", path, body=body, content_type=_STRATEGIC)
        return self._server.ask(request)

    def stop_pod(self, namespace: str, name: str, uid: str) -> Manifest:
        """Ask a pod to begin no further window. Nothing happens where it has been asked already.

        Raises:
            NotFoundError: it is gone.
            ConflictError: it is another one by now.
        """
        body = {"metadata": {"uid": uid, "annotations": {STOP: "true"}}}
        path = path_of("Pod", namespace, name)
        return self._server.ask(Request("PATCH", path, body=body, content_type=_MERGE))

    def create_run(self, manifest: Manifest) -> Manifest:
        """Create a DbtRun or a DbtBackfill; where one of its name exists, that one, whoever it
        belongs to.
        """
        return self._create(manifest["kind"], manifest)

    def delete_run(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete a DbtRun or a DbtBackfill; what belongs to it follows. Nothing happens where it is
        gone or is another one by now.
        """
        self._delete(kind, namespace, name, uid, propagationPolicy="Background")

    def patch_status(self, kind: str, manifest: Manifest, patch: Mapping[str, Any]) -> Manifest:
        """Write part of an object's status, provided that the object has not changed since it was
        read.

        Raises:
            ConflictError: it has.
            NotFoundError: it is gone.
        """
        metadata = manifest["metadata"]
        body = {
            "metadata": {"resourceVersion": metadata["resourceVersion"], "uid": metadata["uid"]},
            "status": patch,
        }
        path = f"{path_of(kind, metadata['namespace'], metadata['name'])}/status"
        return self._server.ask(Request("PATCH", path, body=body, content_type=_MERGE))

    def post_event(self, kind: str, manifest: Manifest, event: Event) -> None:
        """Tell people what happened, where they look with ``kubectl describe``."""
        metadata = manifest["metadata"]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {
            "metadata": {
                "name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}",
                "namespace": metadata["namespace"],
            },
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": kind,
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "type": event.type,
            "reason": event.reason,
            "message": cut(event.message, NOTE),
            "source": {"component": "dbt-operator"},
            "reportingComponent": "dbt-operator",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        self._server.ask(Request("POST", path_of("Event", metadata["namespace"]), body=body))

    # The Lease of the election

    def get_lease(self, namespace: str, name: str) -> Manifest | None:
        """A Lease as it is now; None where there is none."""
        try:
            path = path_of("Lease", namespace, name)
            return self._server.ask(Request("GET", path, timeout=_LEASE_TIMEOUT))
        except NotFoundError:
            return None

    def create_lease(self, manifest: Manifest) -> Manifest:
        """Create a Lease.

        Raises:
            ConflictError: there is one by now.
        """
        path = path_of("Lease", manifest["metadata"]["namespace"])
        return self._server.ask(Request("POST", path, body=manifest, timeout=_LEASE_TIMEOUT))

    def replace_lease(self, manifest: Manifest) -> Manifest:
        """Write a Lease, provided that it has not changed since it was read.

        Raises:
            ConflictError: it has.
        """
        path = path_of("Lease", manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        return self._server.ask(Request("PUT", path, body=manifest, timeout=_LEASE_TIMEOUT))

    # What several of them use

    def _list_pages(self, request: Request) -> Iterator[tuple[list[Manifest], str]]:
        query = {"limit": _PAGE, **(request.query or {})}
        while True:
            answer = self._server.ask(replace(request, query=query))
            yield list(answer["items"]), str(answer["metadata"]["resourceVersion"])
            if not answer["metadata"].get("continue"):
                return
            query["continue"] = answer["metadata"]["continue"]

    def _list(self, kind: str, namespace: str, **query: str) -> list[Manifest]:
        return list(self._server.ask(Request("GET", path_of(kind, namespace), query))["items"])

    def _create(self, kind: str, manifest: Manifest) -> Manifest:
        metadata = manifest["metadata"]
        try:
            path = path_of(kind, metadata["namespace"])
            return self._server.ask(Request("POST", path, body=manifest))
        except ConflictError as error:
            try:
                return self.get(kind, metadata["namespace"], metadata["name"])
            except NotFoundError:
                raise error from None

    def _delete(self, kind: str, namespace: str, name: str, uid: str, **options: str) -> None:
        try:
            body = {"preconditions": {"uid": uid}, **options}
            self._server.send(Request("DELETE", path_of(kind, namespace, name), body=body))
        except (NotFoundError, ConflictError):
            return  # gone, or another one by now
