"""The whole product on a cluster: warehouse, bucket, operator. For the demo, the e2e suite and the
benchmarks.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import minio

from tests.cluster.state import IMAGES
from tests.support.kube import PATIENCE, ROOT, Manifest, command, get, items, kubectl, wait_for

EXAMPLES = ROOT / "examples"
BUCKET = "dbt-artifacts"
OPERATOR_NAMESPACE = "dbt-operator"
RELEASE = "dbt-operator"
WAREHOUSE, STORE = "warehouse", "minio"  # the namespaces of PostgreSQL and MinIO
# Of the demo's own bucket, which lives as long as the cluster; examples/ has the same.
MINIO_USER, MINIO_PASSWORD = "demo-access-key", "demo-secret-key"
POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DATABASE = "dbt", "only-for-the-demo", "warehouse"
# What examples/ names, and the image of tests/cluster that is put in its place.
PLACEHOLDERS = {
    "registry.example.com/shop:example": "shop",
    "dbt-operator.local/postgres:example": "postgres",
    "dbt-operator.local/minio:example": "minio",
}


def references() -> dict[str, str]:
    """The images that are loaded into the cluster, by their names in tests/cluster."""
    if not IMAGES.exists():
        raise AssertionError("no images are loaded: run `make images`")
    found: dict[str, str] = json.loads(IMAGES.read_text())
    return found


def manifest_text(path: Path, images: Mapping[str, str]) -> str:
    """A manifest of examples/ with the images that were built here in the place of the ones it
    names.
    """
    text = path.read_text()
    for placeholder, name in PLACEHOLDERS.items():
        text = re.sub(rf"{re.escape(placeholder)}$", images[name], text, flags=re.MULTILINE)
    return text


def apply_example(path: Path, images: Mapping[str, str]) -> None:
    kubectl("apply", "-f", "-", stdin=manifest_text(path, images))


def install_services(images: Mapping[str, str]) -> None:
    """PostgreSQL and MinIO, in pods, and the bucket."""
    for name in ("postgres", "minio"):
        apply_example(EXAMPLES / "local" / f"{name}.yaml", images)
    for name, where in (("postgres", WAREHOUSE), ("minio", STORE)):
        kubectl(
            "rollout", "status", f"deployment/{name}", f"--timeout={PATIENCE:g}s", namespace=where
        )
    with bucket() as client:
        if not client.bucket_exists(BUCKET):
            client.make_bucket(BUCKET)


def install_chart(
    images: Mapping[str, str], release: str = "", more: Mapping[str, Any] | None = None
) -> None:
    """helm install, or upgrade; to the images of another release, if one is named. What other
    values say stays as it is unless ``more`` says otherwise.
    """
    names = {"image": "operator", "runnerImage": "runner"}
    values: dict[str, Any] = {key: _image(images[release + name]) for key, name in names.items()}
    values |= more or {}
    command(
        "helm", "upgrade", "--install", RELEASE, str(ROOT / "charts" / "dbt-operator"),
        "--namespace", OPERATOR_NAMESPACE, "--create-namespace", "--take-ownership",
        "--reset-then-reuse-values", "--wait", "--timeout", f"{PATIENCE:g}s", "--values", "-",
        stdin=json.dumps(values),
    )  # fmt: skip


def roll_back_chart() -> None:
    """helm rollback, to what was installed before."""
    command(
        "helm", "rollback", RELEASE, "--namespace", OPERATOR_NAMESPACE,
        "--wait", "--timeout", f"{PATIENCE:g}s",
    )  # fmt: skip


@contextmanager
def without_operator() -> Iterator[None]:
    """The operator in the cluster, if there is one, stands aside for a while."""
    name = f"deployment/{RELEASE}"
    there = bool(
        kubectl("get", name, "--ignore-not-found", "-o", "name", namespace=OPERATOR_NAMESPACE)
    )
    if there:
        _scale(name, 0)
    try:
        yield
    finally:
        if there:
            _scale(name, 1)


def _scale(name: str, replicas: int) -> None:
    where = OPERATOR_NAMESPACE
    kubectl("scale", name, f"--replicas={replicas}", namespace=where)
    kubectl("rollout", "status", name, f"--timeout={PATIENCE:g}s", namespace=where)
    running = "--field-selector=status.phase=Running"
    wait_for(f"{replicas} operators", lambda: len(items("pods", where, running)) == replicas)


def _image(reference: str) -> dict[str, str]:
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag}


@contextmanager
def port_forward(where: str, service: str, port: int) -> Iterator[int]:
    """A local port that leads to a service."""
    argv = ["kubectl", "--namespace", where, "port-forward", f"service/{service}", f":{port}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            if found is None:
                raise AssertionError(f"no port was forwarded to {service} in {where}")
            yield int(found.group(1))
        finally:
            process.terminate()


@contextmanager
def bucket(where: str = STORE) -> Iterator[minio.Minio]:
    """A client of the demo's MinIO, or of another one."""
    with port_forward(where, "minio", 9000) as port:
        yield minio.Minio(
            endpoint=f"127.0.0.1:{port}",
            access_key=MINIO_USER,
            secret_key=MINIO_PASSWORD,
            secure=False,
        )


def objects(prefix: str, where: str = STORE) -> dict[str, bytes]:
    """Every object below a prefix, by its name after the prefix."""
    with bucket(where) as client:
        names = [
            str(found.object_name) for found in client.list_objects(BUCKET, prefix, recursive=True)
        ]
        return {
            name.removeprefix(prefix).lstrip("/"): client.get_object(BUCKET, name).data
            for name in names
        }


def object_names(prefix: str) -> list[str]:
    with bucket() as client:
        return sorted(
            str(found.object_name) for found in client.list_objects(BUCKET, prefix, recursive=True)
        )


def psql(query: str, *options: str, where: str = WAREHOUSE) -> str:
    """What PostgreSQL answers, in its own pod."""
    login = [
        "env",
        f"PGPASSWORD={POSTGRES_PASSWORD}",
        "psql",
        "-h",
        "127.0.0.1",
        "-U",
        POSTGRES_USER,
    ]
    argv = [
        "exec",
        "deployment/postgres",
        "--",
        *login,
        "-d",
        POSTGRES_DATABASE,
        *options,
        "-c",
        query,
    ]
    return kubectl(*argv, namespace=where)


def packed(folder: Path, *overlays: Path) -> bytes:
    """A dbt project as .tar.gz, with the files of the overlays put over it."""
    files: dict[str, Path] = {}
    for layer in (folder, *overlays):
        found = (path for path in layer.rglob("*") if path.is_file() and "target" not in path.parts)
        files |= {str(path.relative_to(layer)): path for path in found}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, path in sorted(files.items()):
            archive.add(path, arcname=name)
    return out.getvalue()


def wait_until_finished(name: str, where: str, timeout: float = PATIENCE) -> Manifest:
    """The run, once it has ended."""

    def look() -> Manifest | None:
        run = get("dbtrun", name, where)
        return run if condition(run, "Finished") == "True" else None

    return wait_for(f"DbtRun {name} ends", look, timeout)


def condition(run: Mapping[str, Any], kind: str) -> str:
    found = [c["status"] for c in run.get("status", {}).get("conditions", []) if c["type"] == kind]
    return str(found[0]) if found else ""
