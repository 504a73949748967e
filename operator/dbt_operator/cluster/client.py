"""The only module that talks to the API server; its client's exceptions end here."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import kubernetes
import urllib3

from dbt_operator.api.base import API_VERSION, GROUP, NAME_PATTERN, VERSION
from dbt_operator.api.registry import KINDS
from dbt_operator.api.texts import NOTE, cut
from dbt_operator.planning.common.names import (
    HOLDER_LABEL,
    RUN_UID_LABEL,
    SLOT_GATE,
    STOP,
    TARGET_LABEL,
)
from dbt_operator.planning.common.plan import Event
from dbt_protocol.json_input import parse_json

Manifest = Mapping[str, Any]

_TIMEOUT = (5, 30)  # seconds to connect, seconds to read
_LOG_TIMEOUT = (5, 5)  # a kubelet answers, which may be away; nothing depends on it
_LEASE_TIMEOUT = (
    2,
    2,
)  # tried four times by the client, which must fit into the deadline of a leader
_LINE_BYTES = 2048
_PAGE = "500"  # objects; ten thousand runs at once would take more memory than everything else
_MERGE, _STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
_NAME, _NAME_LENGTH = re.compile(NAME_PATTERN), 253
_OURS = {kind.kind for kind in KINDS}
_RESOURCES = {
    "Job": "apis/batch/v1/{}jobs",
    "Pod": "api/v1/{}pods",
    "Event": "api/v1/{}events",
    "Lease": "apis/coordination.k8s.io/v1/{}leases",
    **{kind.kind: f"apis/{GROUP}/{VERSION}/{{}}{kind.plural}" for kind in KINDS},
}


class ClusterError(Exception):
    """The API server refused a request or did not answer; the request may be tried again."""


class NotFoundError(ClusterError):
    """The object does not exist."""


class ConflictError(ClusterError):
    """The object has changed since it was read, or exists already."""


class InvalidError(ClusterError):
    """The API server finds the object wrong (400, 403, 422): trying again changes nothing by
    itself.
    """


class NoNameError(InvalidError, NotFoundError):
    """No object can have this name, or no namespace: so there is none, and nothing is asked for."""


class TooLargeError(InvalidError):
    """The object is larger than the API server or its etcd takes."""


class Cluster:
    """Reads and writes, each one request, all of them safe to repeat.

    Requests are made through the client's ApiClient: its classes for each group of the API would
    load models of all kinds that Kubernetes has, which take 85 MB, and manifests are dicts here
    anyway.
    """

    def __init__(self, client: Any | None = None, connections: int = 4) -> None:
        """``connections`` are kept open: as many as threads make requests."""
        self._client = client or _connect(connections)

    # Reads

    def pages(
        self, kind: str, namespace: str | None = None
    ) -> Iterator[tuple[list[Manifest], str]]:
        """All objects of a kind (Jobs and Pods: those of runs), some at a time, and the resource
        version of the list.

        Raises:
            ClusterError: the list became too old while it was read (410), among others.
        """
        query = {"limit": _PAGE} | ({} if kind in _OURS else {"labelSelector": RUN_UID_LABEL})
        while True:
            answer = self._request("GET", _path(kind, namespace), query)
            yield list(answer["items"]), str(answer["metadata"]["resourceVersion"])
            if not answer["metadata"].get("continue"):
                return
            query["continue"] = answer["metadata"]["continue"]

    def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """An object of ours, as it is now."""
        return self._request("GET", _path(kind, namespace, name))

    def get_job(self, namespace: str, name: str) -> Manifest | None:
        """A Job as it is now; None where there is none."""
        try:
            return self.get("Job", namespace, name)
        except NotFoundError:
            return None

    def pods_of_run(self, namespace: str, run_uid: str) -> list[Manifest]:
        """The pods of a run, as they are now."""
        return self._list("Pod", namespace, labelSelector=f"{RUN_UID_LABEL}={run_uid}")

    def unfinished_jobs_of_target(self, namespace: str, target: str) -> list[Manifest]:
        """The Jobs of runs on a target, as they are now, but for those that have succeeded."""
        labels = f"{TARGET_LABEL}={target},{HOLDER_LABEL}"
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

    def warnings(self, namespace: str, uid: str) -> tuple[str, ...]:
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
        answer = self._send(
            "GET", f"{_path('Pod', namespace, pod)}/log", query, timeout=_LOG_TIMEOUT
        )
        return answer.decode(errors="replace").rstrip("\n")

    # Writes

    def create_job(self, manifest: Manifest) -> Manifest:
        """Create a Job; where one of its name exists, that one, whoever it belongs to."""
        return self._create("Job", manifest)

    def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Delete a Job; it is gone once its pods are. Nothing happens where it is gone or is
        another one by now.
        """
        self._delete("Job", namespace, name, uid, propagationPolicy="Foreground")

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
        return self._request(
            "PATCH", _path("Pod", namespace, name), body=body, content_type=_STRATEGIC
        )

    def stop_pod(self, namespace: str, name: str, uid: str) -> Manifest:
        """Ask a pod to begin no further window. Nothing happens where it has been asked already.

        Raises:
            NotFoundError: it is gone.
            ConflictError: it is another one by now.
        """
        body = {"metadata": {"uid": uid, "annotations": {STOP: "true"}}}
        return self._request("PATCH", _path("Pod", namespace, name), body=body, content_type=_MERGE)

    def create_run(self, manifest: Manifest) -> Manifest:
        """Create a DbtRun; where one of its name exists, that one, whoever it belongs to."""
        return self._create("DbtRun", manifest)

    def delete_run(self, namespace: str, name: str, uid: str) -> None:
        """Delete a DbtRun; its Jobs follow. Nothing happens where it is gone or is another one by
        now.
        """
        self._delete("DbtRun", namespace, name, uid, propagationPolicy="Background")

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
        path = f"{_path(kind, metadata['namespace'], metadata['name'])}/status"
        return self._request("PATCH", path, body=body, content_type=_MERGE)

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
        self._request("POST", _path("Event", metadata["namespace"]), body=body)

    # The Lease of the election

    def get_lease(self, namespace: str, name: str) -> Manifest | None:
        """A Lease as it is now; None where there is none."""
        try:
            return self._request("GET", _path("Lease", namespace, name), timeout=_LEASE_TIMEOUT)
        except NotFoundError:
            return None

    def create_lease(self, manifest: Manifest) -> Manifest:
        """Create a Lease.

        Raises:
            ConflictError: there is one by now.
        """
        path = _path("Lease", manifest["metadata"]["namespace"])
        return self._request("POST", path, body=manifest, timeout=_LEASE_TIMEOUT)

    def replace_lease(self, manifest: Manifest) -> Manifest:
        """Write a Lease, provided that it has not changed since it was read.

        Raises:
            ConflictError: it has.
        """
        path = _path("Lease", manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        return self._request("PUT", path, body=manifest, timeout=_LEASE_TIMEOUT)

    # Requests

    def _list(self, kind: str, namespace: str, **query: str) -> list[Manifest]:
        return list(self._request("GET", _path(kind, namespace), query)["items"])

    def _create(self, kind: str, manifest: Manifest) -> Manifest:
        metadata = manifest["metadata"]
        try:
            return self._request("POST", _path(kind, metadata["namespace"]), body=manifest)
        except ConflictError as error:
            try:
                return self.get(kind, metadata["namespace"], metadata["name"])
            except NotFoundError:
                raise error from None

    def _delete(self, kind: str, namespace: str, name: str, uid: str, **options: str) -> None:
        try:
            self._send(
                "DELETE",
                _path(kind, namespace, name),
                body={"preconditions": {"uid": uid}, **options},
            )
        except (NotFoundError, ConflictError):
            return  # gone, or another one by now

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = "application/json",
        timeout: tuple[float, float] = _TIMEOUT,
    ) -> dict[str, Any]:
        """Send a request and read the answer as JSON."""
        found: dict[str, Any] = parse_json(
            self._send(method, path, query, body, content_type, timeout)
        )
        return found

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = "application/json",
        timeout: tuple[float, float] = _TIMEOUT,
    ) -> bytes:
        """Send a request, with this module's exceptions for what may come of it."""
        headers = {"Accept": "application/json", "Content-Type": content_type}
        self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = f"{self._client.configuration.host}/{path}" + (
            f"?{urlencode(query)}" if query else ""
        )
        try:
            answer = self._client.call_api(method, url, headers, body, _request_timeout=timeout)
            data: bytes = answer.read()
        except kubernetes.client.ApiException as error:
            raise ClusterError(f"the API server cannot be reached: {error.reason}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ClusterError(f"the API server cannot be reached: {error}") from error
        if not 200 <= answer.status <= 299:
            raise _translated(answer.status, answer.reason, data)
        return data


def _path(kind: str, namespace: str | None, name: str | None = None) -> str:
    """Where a kind's objects are, or one of them; without a namespace those of all."""
    within = "" if namespace is None else f"namespaces/{_part(namespace)}/"
    path = _RESOURCES[kind].format(within)
    return path if name is None else f"{path}/{_part(name)}"


def _part(name: str) -> str:
    """A name as part of a URL, which it must not lead out of: some come from owner references,
    which hold anything.

    Raises:
        NoNameError: it is no name.
    """
    if len(name) > _NAME_LENGTH or not _NAME.fullmatch(name):
        raise NoNameError(f"{name[:_NAME_LENGTH]!r} is no name of an object or a namespace")
    return quote(name, safe="")


def _connect(connections: int) -> Any:
    """In the cluster with the ServiceAccount, else with the kubeconfig."""
    configuration = kubernetes.client.Configuration()
    configuration.connection_pool_maxsize = connections
    try:
        kubernetes.config.load_incluster_config(client_configuration=configuration)
    except kubernetes.config.ConfigException:
        kubernetes.config.load_kube_config(client_configuration=configuration)
    return kubernetes.client.ApiClient(configuration)


# As etcd says it, and its client before it asks etcd; the API server passes both on as an internal
# error (500).
_TOO_LARGE = ("request is too large", "trying to send message larger than max")


def _translated(status: int, reason: str, body: bytes) -> ClusterError:
    message = _message(body)
    kinds = {
        400: InvalidError,
        403: InvalidError,
        404: NotFoundError,
        409: ConflictError,
        413: TooLargeError,
        422: InvalidError,
    }
    kind = kinds.get(status, ClusterError)
    if status >= 500 and any(words in message for words in _TOO_LARGE):
        kind = TooLargeError
    return kind(f"{status} {reason}: {message}")


def _message(body: bytes) -> str:
    try:
        return str(parse_json(body)["message"])
    except (ValueError, TypeError, KeyError):
        return body.decode(errors="replace")[:500]
