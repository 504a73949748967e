"""Requests to the API server, through the connections of Kubernetes' client; the exceptions of that
end here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

import kubernetes
import urllib3

from dbt_operator.api.base import GROUP, NAME_PATTERN, VERSION
from dbt_operator.api.registry import KINDS
from dbt_operator.cluster.errors import ClusterError, NoNameError, translate_error
from dbt_protocol.json_input import parse_json
from dbt_protocol.line_input import LineBuffer

_TIMEOUT = (5, 30)  # seconds to connect, seconds to read
_NAME = re.compile(NAME_PATTERN)
_NAME_LENGTH = 253
_RESOURCES = {
    "Job": "apis/batch/v1/{}jobs",
    "Pod": "api/v1/{}pods",
    "Event": "api/v1/{}events",
    "Lease": "apis/coordination.k8s.io/v1/{}leases",
    **{kind.kind: f"apis/{GROUP}/{VERSION}/{{}}{kind.plural}" for kind in KINDS},
}


@dataclass(frozen=True)
class Request:
    """What is asked of the API server."""

    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None
    content_type: str = "application/json"
    timeout: tuple[float, float] = _TIMEOUT
    accept: str = "application/json"

    def url_at(self, host: str) -> str:
        """Where the request goes."""
        url = f"{host}/{self.path}"
        return f"{url}?{urlencode(self.query)}" if self.query else url


class ApiServer:
    """Sends requests and reads answers. Safe to use from several threads.

    Requests are made through the client's ApiClient: its classes for each group of the API would
    load models of all kinds that Kubernetes has, which take 85 MB, and manifests are dicts here
    anyway.
    """

    def __init__(
        self,
        client: Any | None = None,
        connections: int = 4,
        count: Callable[[str, int | None], None] = lambda _method, _code: None,
    ) -> None:
        """``connections`` are kept open: as many as threads make requests. ``count`` is told of
        each request, and of the code of its answer, None where there is none.
        """
        self._client = client or _connect(connections)
        self._count = count
        # By how much its clock was ahead of ours at the last answer.
        self.clock_offset = timedelta(0)

    def ask(self, request: Request) -> dict[str, Any]:
        """Send a request and read the answer as JSON."""
        answer: dict[str, Any] = parse_json(self.send(request))
        return answer

    def send(self, request: Request) -> bytes:
        """Send a request and read the answer as it is.

        Raises:
            ClusterError: the API server refused or did not answer.
        """
        with _translated():
            answer = self._call(request)
            data: bytes = answer.read()
        _check(answer, data)
        return data

    def stream(self, request: Request) -> Generator[bytes, None, None]:
        """Send a request and read the lines of the answer as they come. Whoever has heard enough
        closes the iterator, and with it the connection.

        Raises:
            ClusterError: the API server refused, did not answer, or broke off.
        """
        with _translated():
            answer = self._call(request)
        try:
            with _translated():
                if not _is_success(answer):
                    _check(answer, answer.read())
                buffer = LineBuffer()
                for chunk in answer.response.stream():
                    yield from (line for line in buffer.add(chunk) if line.strip())
        finally:
            answer.response.close()

    def _call(self, request: Request) -> Any:
        headers = {"Accept": request.accept, "Content-Type": request.content_type}
        method, body = request.method, request.body
        self._client.update_params_for_auth(
            headers, [], ["BearerToken"], request.path, method, body
        )
        url = request.url_at(self._client.configuration.host)
        try:
            answer = self._client.call_api(
                method, url, headers, body, _request_timeout=request.timeout
            )
        except Exception:
            self._count(method, None)
            raise
        self._count(method, answer.status)
        self._compare_clocks(answer.headers.get("Date"))
        return answer

    def _compare_clocks(self, date: str | None) -> None:
        """Note what the clock of the API server shows, as RFC 9110 has it: in whole seconds."""
        try:
            self.clock_offset = parsedate_to_datetime(date or "") - datetime.now(UTC)
        except (ValueError, TypeError):
            return  # something between us and it leaves that out


@contextmanager
def _translated() -> Iterator[None]:
    """What comes of a request to an API server that does not answer, as one exception."""
    try:
        yield
    except kubernetes.client.ApiException as error:
        raise ClusterError(f"the API server cannot be reached: {error.reason}") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ClusterError(f"the API server cannot be reached: {error}") from error


def _is_success(answer: Any) -> bool:
    return bool(200 <= answer.status <= 299)


def _check(answer: Any, data: bytes) -> None:
    if not _is_success(answer):
        raise translate_error(answer.status, answer.reason, data)


def path_of(kind: str, namespace: str | None, name: str | None = None) -> str:
    """Where a kind's objects are, or one of them; without a namespace those of all."""
    within = "" if namespace is None else f"namespaces/{_quote_name(namespace)}/"
    path = _RESOURCES[kind].format(within)
    return path if name is None else f"{path}/{_quote_name(name)}"


def path_of_foreign(group: str, version: str, plural: str, namespace: str, name: str) -> str:
    """Where an object of somebody else's kind is."""
    quoted = [_quote_name(part) for part in (group, version, namespace, plural, name)]
    return "apis/{}/{}/namespaces/{}/{}/{}".format(*quoted)


def _quote_name(name: str) -> str:
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
