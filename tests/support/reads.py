"""Objects of the cluster, read through connections that are kept.

What suites do most is to look at an object again until something has become of it. kubectl would
be a process for each look, which takes ten to fifty times as long, on the cores that the product
under test needs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import kubernetes

from dbt_operator.api.base import GROUP, VERSION
from dbt_operator.api.registry import KINDS
from dbt_protocol.json_input import parse_json

Manifest = dict[str, Any]

_CONNECTIONS = 32  # threads that look at a time
_TIMEOUT = (10, 60)  # seconds to connect, seconds to read
# Plurals, by what kubectl takes for them, and where they are.
_PREFIXES = {
    "pods": "api/v1",
    "events": "api/v1",
    "nodes": "api/v1",
    "configmaps": "api/v1",
    "jobs": "apis/batch/v1",
    **{kind.plural: f"apis/{GROUP}/{VERSION}" for kind in KINDS},
}
_CLUSTER_WIDE = ("nodes",)
_PLURALS = {
    **{plural: plural for plural in _PREFIXES},
    **{plural.removesuffix("s"): plural for plural in _PREFIXES},
    **{kind.short: kind.plural for kind in KINDS},
}


class ReadError(AssertionError):
    """The API server refused; the message is its own."""


def read_object(kind: str, name: str, namespace: str) -> Manifest:
    """An object.

    Raises:
        ReadError: there is none, or the API server refused.
    """
    return _ask(f"{_path_of(kind, namespace)}/{name}", {})


def read_list(kind: str, namespace: str, selection: Mapping[str, str]) -> list[Manifest]:
    """The objects of a kind.

    Args:
        kind: as kubectl takes it.
        namespace: where they are; of no meaning for kinds that are in none.
        selection: labelSelector and fieldSelector, as the API has them.

    Raises:
        ReadError: the API server refused.
    """
    found = _ask(_path_of(kind, namespace), selection)
    of_each = {
        "apiVersion": found["apiVersion"],
        "kind": str(found["kind"]).removesuffix("List"),
    }
    return [of_each | item for item in found["items"]]


def _path_of(kind: str, namespace: str) -> str:
    plural = _PLURALS[kind.lower()]
    where = "" if plural in _CLUSTER_WIDE else f"namespaces/{namespace or 'default'}/"
    return f"{_PREFIXES[plural]}/{where}{plural}"


def _ask(path: str, query: Mapping[str, str]) -> Manifest:
    client = _connect(os.environ["KUBECONFIG"])
    url = f"{client.configuration.host}/{path}"
    url += f"?{urlencode(query)}" if query else ""
    headers = {"Accept": "application/json"}
    client.update_params_for_auth(headers, [], ["BearerToken"], path, "GET", None)
    answer = client.call_api("GET", url, headers, None, _request_timeout=_TIMEOUT)
    found: Manifest = parse_json(answer.read())
    if answer.status != 200:
        raise ReadError(f"{path}: {found.get('reason')}: {found.get('message')}")
    return found


@lru_cache(maxsize=4)
def _connect(kubeconfig: str) -> Any:
    configuration = kubernetes.client.Configuration()
    configuration.connection_pool_maxsize = _CONNECTIONS
    kubernetes.config.load_kube_config(kubeconfig, client_configuration=configuration)
    return kubernetes.client.ApiClient(configuration)
