"""The only module that talks to the API server; its client's exceptions end here."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import kubernetes
import urllib3

from dbt_operator.api.base import API_VERSION, GROUP, VERSION
from dbt_operator.api.kinds import KINDS
from dbt_operator.planning.names import RUN_UID_LABEL
from dbt_operator.planning.plan import Event

Manifest = Mapping[str, Any]

_TIMEOUT = (5, 30)  # seconds to connect, seconds to read
_LOG_TIMEOUT = (5, 5)  # a kubelet answers, which may be away; nothing depends on it
_LEASE_TIMEOUT = (2, 2)  # tried four times by the client, which must fit into the deadline of a leader
_LINE_BYTES = 2048
_PLURALS = {kind.kind: kind.plural for kind in KINDS}


class ClusterError(Exception):
    """The API server refused a request or did not answer; the request may be tried again."""


class NotFoundError(ClusterError):
    """The object does not exist."""


class ConflictError(ClusterError):
    """The object has changed since it was read, or exists already."""


class InvalidError(ClusterError):
    """The API server finds the object wrong (400, 403, 422): trying again changes nothing by itself."""


class Cluster:
    """Reads and writes, each one request, all of them safe to repeat."""

    def __init__(self, client: Any | None = None) -> None:
        self._client = client or _connect()
        self._custom = kubernetes.client.CustomObjectsApi(self._client)
        self._core = kubernetes.client.CoreV1Api(self._client)
        self._batch = kubernetes.client.BatchV1Api(self._client)
        self._coordination = kubernetes.client.CoordinationV1Api(self._client)

    # Reads

    def list_all(self, kind: str, namespace: str | None = None) -> tuple[list[Manifest], str]:
        """All objects of a kind (Jobs and Pods: those of runs), and the resource version of the list."""
        answer = _call(self._lister(kind, namespace))
        return list(answer["items"]), str(answer["metadata"]["resourceVersion"])

    def _lister(self, kind: str, namespace: str | None) -> Callable[[], Any]:
        options: dict[str, Any] = {"_request_timeout": _TIMEOUT}
        if kind in _PLURALS:
            names = (GROUP, VERSION, namespace, _PLURALS[kind])
            if namespace:
                return lambda: self._custom.list_namespaced_custom_object(*names, **options)
            return lambda: self._custom.list_cluster_custom_object(GROUP, VERSION, _PLURALS[kind], **options)
        options |= {"label_selector": RUN_UID_LABEL, "_preload_content": False}
        where, what = (self._batch, "job") if kind == "Job" else (self._core, "pod")
        if namespace:
            return lambda: getattr(where, f"list_namespaced_{what}")(namespace, **options)
        return lambda: getattr(where, f"list_{what}_for_all_namespaces")(**options)

    def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """An object of ours, as it is now."""
        return _call(
            lambda: self._custom.get_namespaced_custom_object(
                GROUP, VERSION, namespace, _PLURALS[kind], name, _request_timeout=_TIMEOUT
            )
        )

    def get_job(self, namespace: str, name: str) -> Manifest | None:
        """A Job as it is now; None where there is none."""
        try:
            return _call(
                lambda: self._batch.read_namespaced_job(
                    name, namespace, _preload_content=False, _request_timeout=_TIMEOUT
                )
            )
        except NotFoundError:
            return None

    def pods_of_run(self, namespace: str, run_uid: str) -> list[Manifest]:
        """The pods of a run, as they are now."""
        answer = _call(
            lambda: self._core.list_namespaced_pod(
                namespace,
                label_selector=f"{RUN_UID_LABEL}={run_uid}",
                _preload_content=False,
                _request_timeout=_TIMEOUT,
            )
        )
        return list(answer["items"])

    def warnings(self, namespace: str, uid: str) -> tuple[str, ...]:
        """The warning events about an object, the newest first, each as ``Reason: message``."""
        answer = _call(
            lambda: self._core.list_namespaced_event(
                namespace,
                field_selector=f"involvedObject.uid={uid},type=Warning",
                _preload_content=False,
                _request_timeout=_TIMEOUT,
            )
        )
        events = sorted(answer["items"], key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "", reverse=True)
        return tuple(f"{event['reason']}: {event['message']}" for event in events)

    def last_log_line(self, namespace: str, pod: str, container: str) -> str:
        """The last line that a container has printed, or as much of it as is sane; empty if there is none."""
        answer = _sent(
            lambda: self._core.read_namespaced_pod_log(
                pod,
                namespace,
                container=container,
                tail_lines=1,
                limit_bytes=_LINE_BYTES,
                _preload_content=False,
                _request_timeout=_LOG_TIMEOUT,
            )
        )
        return str(answer.data.decode(errors="replace")).rstrip("\n")

    # Writes

    def create_job(self, manifest: Manifest) -> Manifest:
        """Create a Job; where one of its name exists, that one, whoever it belongs to."""
        metadata = manifest["metadata"]
        try:
            return _call(
                lambda: self._batch.create_namespaced_job(
                    metadata["namespace"], manifest, _preload_content=False, _request_timeout=_TIMEOUT
                )
            )
        except ConflictError:
            existing = self.get_job(metadata["namespace"], metadata["name"])
            if existing is None:
                raise
            return existing

    def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Delete a Job; it is gone once its pods are. Nothing happens where it is gone or is another one by now."""
        body = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        _delete(self._batch.delete_namespaced_job, name, namespace, body)

    def delete_pod(self, namespace: str, name: str, uid: str) -> None:
        """Ask a pod to end. Nothing happens where it is gone or is another one by now."""
        _delete(self._core.delete_namespaced_pod, name, namespace, {"preconditions": {"uid": uid}})

    def delete_run(self, namespace: str, name: str, uid: str) -> None:
        """Delete a DbtRun; its Jobs follow. Nothing happens where it is gone or is another one by now."""
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}

        def request(name: str, namespace: str, **options: Any) -> Any:
            plural = _PLURALS["DbtRun"]
            return self._custom.delete_namespaced_custom_object(GROUP, VERSION, namespace, plural, name, **options)

        _delete(request, name, namespace, body)

    def patch_status(self, kind: str, manifest: Manifest, patch: Mapping[str, Any]) -> Manifest:
        """Write part of an object's status, provided that the object has not changed since it was read.

        Raises:
            ConflictError: it has.
            NotFoundError: it is gone.
        """
        metadata = manifest["metadata"]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "uid": metadata["uid"]}, "status": patch}
        return _call(
            lambda: self._custom.patch_namespaced_custom_object_status(
                GROUP,
                VERSION,
                metadata["namespace"],
                _PLURALS[kind],
                metadata["name"],
                body,
                _content_type="application/merge-patch+json",
                _request_timeout=_TIMEOUT,
            )
        )

    def post_event(self, kind: str, manifest: Manifest, event: Event) -> None:
        """Tell people what happened, where they look with ``kubectl describe``."""
        metadata = manifest["metadata"]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {
            "metadata": {"name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}", "namespace": metadata["namespace"]},
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
            "message": event.message[:1024],
            "source": {"component": "dbt-operator"},
            "reportingComponent": "dbt-operator",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        _call(
            lambda: self._core.create_namespaced_event(
                metadata["namespace"], body, _preload_content=False, _request_timeout=_TIMEOUT
            )
        )

    # The Lease of the election

    def get_lease(self, namespace: str, name: str) -> Manifest | None:
        """A Lease as it is now; None where there is none."""
        try:
            return _call(
                lambda: self._coordination.read_namespaced_lease(
                    name, namespace, _preload_content=False, _request_timeout=_LEASE_TIMEOUT
                )
            )
        except NotFoundError:
            return None

    def create_lease(self, manifest: Manifest) -> Manifest:
        """Create a Lease.

        Raises:
            ConflictError: there is one by now.
        """
        where = manifest["metadata"]["namespace"]
        return _call(
            lambda: self._coordination.create_namespaced_lease(
                where, manifest, _preload_content=False, _request_timeout=_LEASE_TIMEOUT
            )
        )

    def replace_lease(self, manifest: Manifest) -> Manifest:
        """Write a Lease, provided that it has not changed since it was read.

        Raises:
            ConflictError: it has.
        """
        metadata = manifest["metadata"]
        return _call(
            lambda: self._coordination.replace_namespaced_lease(
                metadata["name"],
                metadata["namespace"],
                manifest,
                _preload_content=False,
                _request_timeout=_LEASE_TIMEOUT,
            )
        )


def _connect() -> Any:
    """In the cluster with the ServiceAccount, else with the kubeconfig."""
    configuration = kubernetes.client.Configuration()
    try:
        kubernetes.config.load_incluster_config(client_configuration=configuration)
    except kubernetes.config.ConfigException:
        kubernetes.config.load_kube_config(client_configuration=configuration)
    return kubernetes.client.ApiClient(configuration)


def _call(request: Callable[[], Any]) -> dict[str, Any]:
    """Send a request and read the answer as JSON."""
    answer = _sent(request)
    found: dict[str, Any] = json.loads(answer.data) if hasattr(answer, "data") else answer
    return found


def _sent(request: Callable[[], Any]) -> Any:
    """Send a request, with this module's exceptions for the client's."""
    try:
        return request()
    except kubernetes.client.ApiException as error:
        raise _translated(error) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ClusterError(f"the API server cannot be reached: {error}") from error


def _delete(request: Callable[..., Any], name: str, namespace: str, body: Mapping[str, Any]) -> None:
    try:
        _call(lambda: request(name, namespace, body=body, _preload_content=False, _request_timeout=_TIMEOUT))
    except (NotFoundError, ConflictError):
        return  # gone, or another one by now


def _translated(error: Any) -> ClusterError:
    kinds = {400: InvalidError, 403: InvalidError, 404: NotFoundError, 409: ConflictError, 422: InvalidError}
    return kinds.get(error.status, ClusterError)(f"{error.status} {error.reason}: {_message(error)}")


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.body)[:500]
