"""Runs public projects on the cluster: by DbtRuns, and by dbt alone in a Job of the same image,
each in a database of its own on one PostgreSQL.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.public import bare_dbt
from tests.public.checkout import find_project
from tests.public.outcomes import Outcome, read_bare
from tests.public.table import PROJECTS, PublicProject
from tests.support import product, scenarios
from tests.support.kube import Manifest, apply, get, kubectl, namespace, resource, secret, wait_for

NAMESPACE = "public-projects"
FOLDER = Path("/projects")  # in the image
LONGEST = 3600.0  # seconds: a small machine takes its time with the large ones
_REQUESTS = {"cpu": "250m", "memory": "512Mi"}
_TMP = "/tmp"  # noqa: S108 -- of a container
# dbt writes packages into the project's folder, which is not writable in the image.
_BARE = 'cp -r "$0" /tmp/source && cd "/tmp/source/$1" && shift && exec python -c "$@"'
# What a status calls the statuses of dbt by other names.
_RENAMED = {"noOp": "no-op"}


class InCluster:
    """Use :func:`start`."""

    def __init__(self, image: str) -> None:
        self._image = image
        # Of this invocation alone, so that the first run finds nothing of an earlier one.
        self._name = uuid.uuid4().hex[:6]
        self._count = 0

    def prepare(self, project: PublicProject) -> None:
        """Make what both have need of: databases, profiles, target and project."""
        for whose in ("ours", "bare"):
            _drop_database(project, whose)
            product.psql(f"CREATE DATABASE {_name_database(project, whose)}")
            apply(_make_secret(project, whose))
        reference = {"name": f"{project.name}-ours", "key": "profiles.yml"}
        target = {"target": "prod", "profiles": {"secretRef": reference}}
        spec = {
            "image": self._image,
            "source": {"image": {"path": str(FOLDER / project.name / find_project(project))}},
            "artifacts": scenarios.artifacts() | {"prefix": f"public/{self._name}"},
            "pod": {"resources": {"requests": _REQUESTS}},
        }
        apply(
            resource("DbtTarget", project.name, NAMESPACE, target),
            resource("DbtProject", project.name, NAMESPACE, spec),
        )

    def run(self, project: PublicProject) -> Outcome:
        """Have the product run a project."""
        name = self._make_name(project, "ours")
        spec = {
            "projectRef": {"name": project.name},
            "targetRef": {"name": project.name},
            "steps": [{step: {}} for step in project.steps],
            "vars": dict(project.variables),
        }
        run, seconds = _time(resource("DbtRun", name, NAMESPACE, spec), _find_finished_run)
        return _read_ours(run, seconds, project)

    def run_bare(self, project: PublicProject) -> Outcome:
        """Have dbt run it alone."""
        name = self._make_name(project, "bare")
        _, seconds = _time(self._make_job(name, project), _find_ended_job)
        log = kubectl("logs", f"job/{name}", "--tail=-1", namespace=NAMESPACE)
        outcome = read_bare(line for line in log.splitlines() if line.startswith("{"))
        outcome.seconds = seconds
        return outcome

    def _make_name(self, project: PublicProject, whose: str) -> str:
        self._count += 1
        return f"{project.name}-{whose}-{self._name}-{self._count}"

    def _make_job(self, name: str, project: PublicProject) -> Manifest:
        where = [str(FOLDER / project.name), str(find_project(project))]
        program = [Path(bare_dbt.__file__).read_text(), ".", f"{_TMP}/target"]
        steps = [json.dumps(project.variables), *project.steps]
        environment = {
            "DBT_PROFILES_DIR": "/profiles",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "HOME": _TMP,
        }
        container = {
            "name": "dbt",
            "image": self._image,
            "command": ["sh", "-ec", _BARE, *where, *program, *steps],
            "env": [{"name": key, "value": value} for key, value in environment.items()],
            "volumeMounts": [
                {"name": "profiles", "mountPath": "/profiles"},
                {"name": "tmp", "mountPath": _TMP},
            ],
            "resources": {"requests": _REQUESTS},
        }
        pod = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsUser": 65532, "runAsNonRoot": True, "fsGroup": 65532},
            "volumes": [
                {"name": "profiles", "secret": {"secretName": f"{project.name}-bare"}},
                {"name": "tmp", "emptyDir": {}},
            ],
            "containers": [container],
        }
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"backoffLimit": 0, "template": {"spec": pod}},
        }


def _name_database(project: PublicProject, whose: str) -> str:
    return f"public_{project.name.replace('-', '_')}_{whose}"


def _drop_database(project: PublicProject, whose: str) -> None:
    product.psql(f"DROP DATABASE IF EXISTS {_name_database(project, whose)} WITH (FORCE)")


def _make_secret(project: PublicProject, whose: str) -> Manifest:
    output = {
        "type": "postgres",
        "host": f"postgres.{product.WAREHOUSE}.svc",
        "port": 5432,
        "user": product.POSTGRES_USER,
        "password": product.POSTGRES_PASSWORD,
        "dbname": _name_database(project, whose),
        "schema": "analytics",
        "threads": 2,
    }
    profiles = {project.profile: {"target": "prod", "outputs": {"prod": output}}}
    data = {"profiles.yml": yaml.safe_dump(profiles)}
    return secret(f"{project.name}-{whose}", NAMESPACE, data)


def _time(manifest: Manifest, find: Callable[[str], Manifest | None]) -> tuple[Manifest, float]:
    """Create an object; what it is once it has ended, and after how many seconds that was."""
    name = manifest["metadata"]["name"]
    began = time.monotonic()
    apply(manifest)
    ended = wait_for(f"{manifest['kind']} {name} ends", lambda: find(name), LONGEST)
    return ended, time.monotonic() - began


def _find_finished_run(name: str) -> Manifest | None:
    run = get("dbtrun", name, NAMESPACE)
    return run if product.condition(run, "Finished") == "True" else None


def _find_ended_job(name: str) -> Manifest | None:
    job = get("job", name, NAMESPACE)
    ended = any(product.condition(job, kind) == "True" for kind in ("Complete", "Failed"))
    return job if ended else None


def _read_ours(run: Manifest, seconds: float, project: PublicProject) -> Outcome:
    status = run["status"]
    words = (status["phase"], status.get("reason"), status.get("message"))
    outcome = Outcome(": ".join(filter(None, words)), seconds)
    outcome.counts = {_RENAMED.get(k, k): n for k, n in status.get("nodes", {}).items()}
    found = product.objects(scenarios.location(run))
    for number, step in enumerate(project.steps, start=1):
        folder = f"attempt-1/{number}-{step}"
        if results := found.get(f"{folder}/run_results.json"):
            outcome.nodes[step] = bare_dbt.read_nodes(results.decode())
        if manifest := found.get(f"{folder}/manifest.json"):
            outcome.things = bare_dbt.count_things(manifest.decode())
    parse = json.loads(found.get("attempt-1/result.json", b"{}")).get("parse", {})
    outcome.tell_parse(parse)
    return outcome


@contextmanager
def start(image: str) -> Iterator[InCluster]:
    """The product, its services, and a namespace for as long as projects are run."""
    images = product.references()
    product.install_services(images)
    product.install_chart(images)
    apply(namespace(NAMESPACE, restricted=False))
    apply(*scenarios.secrets(NAMESPACE))
    try:
        yield InCluster(image)
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")
        for project in PROJECTS:
            for whose in ("ours", "bare"):
                _drop_database(project, whose)
