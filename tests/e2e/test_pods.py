"""What a project says of its pods and its bucket, seen in pods: a CA and temporary keys for the
bucket, a private key for the warehouse, names of hosts, a RuntimeClass, a quota that is used up.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import minio
import pytest
import urllib3
import yaml
from minio.credentials import AssumeRoleProvider

from tests.support import product
from tests.support.certificates import Tls, tls
from tests.support.kube import (
    PATIENCE,
    Manifest,
    apply,
    get,
    items,
    kubectl,
    namespace,
    secret,
    wait_for,
)
from tests.support.scenarios import Scenario, artifacts, create_user, location, manifests, secrets

NAMESPACE = "pods"
BUCKET, KEY, QUOTA = "pods-bucket", "pods-key", "pods-quota"
WAREHOUSE = "warehouse.example.com"  # a name that no DNS server knows
CLASS = "pods-runc"  # of the runtime that the node has anyway
CLIENT = "/client"
LOGIN = {"access_key": product.MINIO_USER, "secret_key": product.MINIO_PASSWORD}
RESOURCES = {"requests": {"cpu": "50m", "memory": "256Mi"}}
POSTGRES = """
set -eu
umask 077
initdb --username=e2e --auth=trust --encoding=UTF8 --no-sync
printf 'local all all trust\\nhostssl all all all cert\\n' > "$PGDATA/pg_hba.conf"
exec postgres -c listen_addresses='*' -c unix_socket_directories=/run/postgresql -c ssl=on \
  -c ssl_cert_file=/certs/tls.crt -c ssl_key_file=/certs/tls.key -c ssl_ca_file=/certs/ca.crt
"""


@dataclass(frozen=True)
class Certificates:
    """Of the servers, and of the client that PostgreSQL lets in."""

    store: Tls
    warehouse: Tls
    client: Tls


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates(tls(f"minio.{NAMESPACE}.svc", "127.0.0.1"), tls(WAREHOUSE), tls("e2e"))


def make_service(
    name: str, images: Mapping[str, str], files: Mapping[str, str], places: Mapping[str, str]
) -> list[Manifest]:
    """A server of the examples in the namespace of this test, with files of its own.

    Args:
        name: of the example.
        images: those of the cluster.
        files: the keys of a Secret.
        places: where in /certs they are.
    """
    text = product.manifest_text(product.EXAMPLES / "local" / f"{name}.yaml", images)
    found = [each for each in yaml.safe_load_all(text) if each["kind"] != "Namespace"]
    for each in found:
        each["metadata"]["namespace"] = NAMESPACE
        if each["kind"] == "Deployment":
            template = each["spec"]["template"]
            # A server reads its keys when it starts: with others, there is another pod.
            version = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]
            template["metadata"]["annotations"] = {"dbt-operator.dev/keys": version}
            keys: Manifest = {"secretName": f"{name}-tls", "defaultMode": 0o440}
            keys["items"] = [{"key": key, "path": path} for key, path in places.items()]
            template["spec"]["volumes"].append({"name": "certs", "secret": keys})
            mount = {"name": "certs", "mountPath": "/certs", "readOnly": True}
            template["spec"]["containers"][0]["volumeMounts"].append(mount)
    return [secret(f"{name}-tls", NAMESPACE, dict(files)), *found]


def container_of(service: list[Manifest]) -> Any:
    deployment = next(each for each in service if each["kind"] == "Deployment")
    return deployment["spec"]["template"]["spec"]["containers"][0]


def make_store(images: Mapping[str, str], keys: Tls) -> list[Manifest]:
    files = {"public.crt": keys.certificate, "private.key": keys.key, "ca.crt": keys.ca}
    # It would make the folder of the last, and cannot.
    places = {"public.crt": "public.crt", "private.key": "private.key", "ca.crt": "CAs/ca.crt"}
    service = make_service("minio", images, files, places)
    container = container_of(service)
    container["args"] += ["--certs-dir", "/certs"]
    container["readinessProbe"]["httpGet"]["scheme"] = "HTTPS"
    return service


def make_warehouse(images: Mapping[str, str], certificates: Certificates) -> list[Manifest]:
    """One that asks for a certificate, and for no password."""
    keys = certificates.warehouse
    files = {"tls.crt": keys.certificate, "tls.key": keys.key, "ca.crt": certificates.client.ca}
    service = make_service("postgres", images, files, {name: name for name in files})
    container = container_of(service)
    container["command"] = ["sh", "-c", POSTGRES]
    container["readinessProbe"]["exec"]["command"] = ["pg_isready", "--host=/run/postgresql"]
    return service


def make_profile() -> str:
    """profiles.yml for the warehouse that asks for a certificate."""
    output = {
        "type": "postgres",
        "host": WAREHOUSE,
        "port": 5432,
        "user": "e2e",
        "password": "",
        "dbname": "postgres",
        "schema": "{{ env_var('SCHEMA') }}",
        "threads": 1,
        "sslmode": "verify-full",
        "sslrootcert": f"{CLIENT}/ca.crt",
        "sslcert": f"{CLIENT}/tls.crt",
        "sslkey": f"{CLIENT}/tls.key",
    }
    return yaml.safe_dump({"mini": {"target": "prod", "outputs": {"prod": output}}})


@contextmanager
def reach_store(keys: Tls, folder: Path) -> Iterator[tuple[str, urllib3.PoolManager]]:
    """The address of the store, and what trusts it."""
    file = folder / "ca.crt"
    file.write_text(keys.ca)
    with product.port_forward(NAMESPACE, "minio", 9000) as port:
        yield f"127.0.0.1:{port}", urllib3.PoolManager(ca_certs=str(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pods")


def make_keys(certificates: Certificates, folder: Path) -> dict[str, str]:
    """Make the bucket, and temporary keys for it, as they come out of a file."""
    with reach_store(certificates.store, folder) as (address, http):
        client = minio.Minio(endpoint=address, http_client=http, **LOGIN)
        if not client.bucket_exists(product.BUCKET):
            client.make_bucket(product.BUCKET)
        provider = AssumeRoleProvider(
            sts_endpoint=f"https://{address}", region="us-east-1", http_client=http, **LOGIN
        )
        keys = provider.retrieve()
    assert keys.session_token
    return {
        "AWS_ACCESS_KEY_ID": f"{keys.access_key}\n",
        "AWS_SECRET_ACCESS_KEY": f"{keys.secret_key}\n",
        "AWS_SESSION_TOKEN": f"{keys.session_token}\n",
    }


def make_quota(pods: int) -> Manifest:
    """Room for so many pods of the priority that one of the runs has."""
    selector = {
        "matchExpressions": [
            {"scopeName": "PriorityClass", "operator": "In", "values": [QUOTA]},
        ]
    }
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team", "namespace": NAMESPACE},
        "spec": {"hard": {"pods": str(pods)}, "scopeSelector": selector},
    }


def make_classes() -> list[Manifest]:
    return [
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": CLASS},
            "handler": "runc",
        },
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": QUOTA},
            "value": 0,
        },
    ]


def make_scenarios(address: str) -> list[Scenario]:
    """The runs; the address is that of the warehouse with the name that no DNS server knows."""
    store = {
        "endpoint": f"https://minio.{NAMESPACE}.svc:9000",
        "secretRef": {"name": "temporary"},
        "caSecretRef": {"name": "minio-tls", "key": "ca.crt"},
        "onFailure": "Fail",
    }
    kept = {key: value for key, value in artifacts().items() if key != "insecure"}
    client = {"name": "client", "mountPath": CLIENT, "secret": {"secretName": "client"}}
    pod = {
        "resources": RESOURCES,
        "volumes": [client],
        "hostAliases": [{"ip": address, "hostnames": [WAREHOUSE]}],
        "runtimeClassName": CLASS,
    }
    profile = {"secretRef": {"name": "client", "key": "profiles.yml"}}
    quota = {"resources": RESOURCES, "priorityClassName": QUOTA}
    return [
        Scenario(BUCKET, project={"artifacts": kept | store}),
        Scenario(KEY, project={"pod": pod}, target={"profiles": profile}),
        Scenario(QUOTA, project={"pod": quota}),
    ]


@pytest.fixture(scope="module", autouse=True)
def _started(
    installed: None,  # noqa: ARG001 -- it has to be there first
    images: Mapping[str, str],
    certificates: Certificates,
    folder: Path,
) -> None:
    """All servers, then all runs, together."""
    apply(namespace(NAMESPACE), *make_classes(), make_quota(0))
    kubectl("delete", "dbtruns", "--all", "--wait", namespace=NAMESPACE)
    create_user()
    keys = certificates.client
    files = {"tls.crt": keys.certificate, "tls.key": keys.key, "ca.crt": certificates.warehouse.ca}
    apply(
        *make_store(images, certificates.store),
        *make_warehouse(images, certificates),
        *secrets(NAMESPACE),
        secret("client", NAMESPACE, files | {"profiles.yml": make_profile()}),
    )
    for name in ("minio", "postgres"):
        rollout = ("rollout", "status", f"deployment/{name}", f"--timeout={PATIENCE:g}s")
        kubectl(*rollout, namespace=NAMESPACE)
    apply(secret("temporary", NAMESPACE, make_keys(certificates, folder)))
    address = kubectl(
        "get", "service", "postgres", "-o", "jsonpath={.spec.clusterIP}", namespace=NAMESPACE
    )
    for scenario in make_scenarios(address):
        apply(*manifests(scenario, images, NAMESPACE))


def finish(name: str) -> Manifest:
    """The run, which has to succeed."""
    run = product.wait_until_finished(name, NAMESPACE)
    assert run["status"]["phase"] == "Succeeded", run["status"]["message"]
    return run


def pod_of(name: str) -> Manifest:
    (pod,) = items("pods", NAMESPACE, f"--selector=dbt-operator.dev/run={name}")
    spec: Manifest = pod["spec"]
    return spec


def test_a_quota_that_is_used_up_is_waited_for() -> None:
    def look() -> bool:
        status = get("dbtrun", QUOTA, NAMESPACE).get("status", {})
        return "the ResourceQuota team is used up" in status.get("message", "")

    wait_for("the run says what it waits for", look)
    assert get("dbtrun", QUOTA, NAMESPACE)["status"]["phase"] == "Pending"
    assert items("pods", NAMESPACE, f"--selector=dbt-operator.dev/run={QUOTA}") == []
    apply(make_quota(1))
    assert len(finish(QUOTA)["status"]["attempts"]) == 1
    assert pod_of(QUOTA)["priorityClassName"] == QUOTA


def test_a_bucket_is_trusted_by_its_own_ca_and_takes_temporary_keys(
    certificates: Certificates, folder: Path
) -> None:
    run = finish(BUCKET)
    assert product.condition(run, "ArtifactsUploaded") == "True"
    with reach_store(certificates.store, folder) as (address, http):
        client = minio.Minio(endpoint=address, http_client=http, **LOGIN)
        name = f"{location(run)}/attempt-1/1-build/run_results.json"
        results = json.load(io.BytesIO(client.get_object(product.BUCKET, name).data))
    assert results["results"]


def test_libpq_takes_a_private_key_and_finds_a_host_by_its_alias() -> None:
    """It has the mode that files of Secrets have if nobody says another one."""
    finish(KEY)
    pod = pod_of(KEY)
    modes = {
        volume["secret"]["defaultMode"]
        for volume in pod["volumes"]
        if volume.get("secret", {}).get("secretName") == "client"
    }
    assert modes == {0o440}
    assert [alias["hostnames"] for alias in pod["hostAliases"]] == [[WAREHOUSE]]
    assert pod["runtimeClassName"] == CLASS
    query = "SELECT count(*) FROM information_schema.tables WHERE table_schema LIKE 'analytics%'"
    psql = ["psql", "-h", "/run/postgresql", "-U", "e2e", "-d", "postgres", "-At", "-c", query]
    assert int(kubectl("exec", "deployment/postgres", "--", *psql, namespace=NAMESPACE)) == 3
