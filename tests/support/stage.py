"""A namespace with a project whose pods a fake node has, operators that can be killed, and what is
seen of it all.
"""

from __future__ import annotations

import itertools
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import kubernetes
import urllib3

from tests.support.fake_nodes import End, FakeNode, Life, fake_node
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.kube import (
    PATIENCE,
    Manifest,
    apply,
    get,
    kubectl,
    namespace,
    resource,
    wait_for,
)
from tests.support.operators import OperatorProcess, operator
from tests.support.places import ROOT

GROUP, VERSION = "dbt-operator.dev", "v1alpha1"
RUN, HOLDER = "dbt-operator.dev/run", "dbt-operator.dev/holder-uid"
# Starts an operator: operators.operator, or another way.
Begin = Callable[..., AbstractContextManager[OperatorProcess]]
FINISHED = ("Succeeded", "Failed", "Cancelled", "Skipped")


class Stage:
    """Use :func:`stage`."""

    def __init__(
        self, name: str, folder: Path, node: FakeNode, proxy: FaultProxy, begin: Begin
    ) -> None:
        self.namespace = name
        self.node = node
        node.decide = self.decide
        self.proxy = proxy
        self._begin = begin
        self.log = folder / "operator.log"
        self.jobs: set[tuple[str, str]] = set()  # name and UID of every Job that ever was
        # Of every version of every target: its name, and how many hold it.
        self.holders: list[tuple[str, int]] = []
        self.runs: dict[str, Manifest] = {}  # every DbtRun, as the watch shows it last
        # By run: how its pods end, one after another; then all succeed at once.
        self.ends: dict[str, list[End]] = {}
        self._given: dict[str, End] = {}  # by UID of the pod
        self._operators = ExitStack()
        self._process: OperatorProcess | None = None
        self._stopped = threading.Event()
        self._watches: list[kubernetes.watch.Watch] = []
        self._threads: list[threading.Thread] = []

    def decide(self, pod: Mapping[str, Any]) -> End:
        """How a pod ends."""
        uid = pod["metadata"]["uid"]
        if uid not in self._given:
            planned = self.ends.get(pod["metadata"]["labels"][RUN])
            self._given[uid] = planned.pop(0) if planned else End()
        return self._given[uid]

    # Operators

    def start_operator(self, **settings: str) -> OperatorProcess:
        """An operator whose requests go through the proxy."""
        self._process = self._operators.enter_context(
            self._begin(
                self.namespace, log=self.log, KUBECONFIG=str(self.proxy.kubeconfig), **settings
            )
        )
        return self._process

    def another_operator(self) -> OperatorProcess:
        """One more, which talks to the API server itself."""
        return self._operators.enter_context(
            self._begin(self.namespace, log=self.log.with_name("another.log"))
        )

    def kill_operator(self) -> None:
        """As the kernel kills."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def operator_is_dead(self) -> bool:
        """Whether the operator behind the proxy has ended."""
        return self._process is not None and self._process.poll() is not None

    # Objects

    def target(self, name: str, **spec: Any) -> Manifest:
        base = {"profiles": {"secretRef": {"name": "warehouse", "key": "profiles.yml"}}}
        return resource("DbtTarget", name, self.namespace, base | spec)

    def project(self, name: str = "shop") -> Manifest:
        spec = {
            "image": "registry.example.com/dbt:1.0",
            "source": {"image": {"path": "/project"}},
            "artifacts": {"endpoint": "https://s3.example.com", "bucket": "artifacts"},
            "pod": self.node.pod,
        }
        return resource("DbtProject", name, self.namespace, spec)

    def run(self, name: str, target: str, project: str = "shop", **spec: Any) -> Manifest:
        references = {
            "projectRef": {"name": project},
            "targetRef": {"name": target},
            "steps": [{"build": {}}],
        }
        return resource("DbtRun", name, self.namespace, references | spec)

    def status(self, name: str, kind: str = "dbtrun") -> Manifest:
        found: Manifest = get(kind, name, self.namespace).get("status", {})
        return found

    def phase(self, name: str) -> str:
        return str(self.status(name).get("phase", ""))

    def wait_for_phase(self, name: str, *phases: str, timeout: float = PATIENCE) -> Manifest:
        """The status of a run, once it is in one of some phases."""

        def look() -> Manifest | None:
            found = self.status(name)
            return found if found.get("phase") in phases else None

        return wait_for(f"{name} is {' or '.join(phases)}: {self.status(name)}", look, timeout)

    def wait_for_end(self, *names: str, timeout: float = PATIENCE) -> dict[str, str]:
        """The phases of runs, once all have ended."""
        return {
            name: str(self.wait_for_phase(name, *FINISHED, timeout=timeout)["phase"])
            for name in names
        }

    def seen(self, name: str) -> Manifest:
        """The status of a run as the watch shows it: may be some milliseconds old, and costs
        nothing.
        """
        found: Manifest = self.runs.get(name, {}).get("status", {})
        return found

    def ended(self, *names: str) -> list[str]:
        """Those of some runs that have ended."""
        return [name for name in names if self.seen(name).get("phase") in FINISHED]

    def all_ended(self, *names: str, timeout: float = PATIENCE) -> dict[str, str]:
        """How runs have ended, phase and reason, once all have."""
        try:
            wait_for("every run has ended", lambda: len(self.ended(*names)) == len(names), timeout)
        except AssertionError as error:
            stuck = {name: self.seen(name) for name in names if name not in self.ended(name)}
            raise AssertionError(f"not ended after {timeout:g} s: {stuck}") from error
        found = {name: self.seen(name) for name in names}
        return {
            name: "/".join(filter(None, (s["phase"], s.get("reason")))) for name, s in found.items()
        }

    def holders_of(self, target: str) -> list[str]:
        """The names of those who hold a target's slots now."""
        return [holder["name"] for holder in self.status(target, "dbttarget").get("holders") or ()]

    def create_anew(self, target: Manifest) -> None:
        """Delete a DbtTarget and create it again."""
        kubectl(
            "delete", "dbttarget", target["metadata"]["name"], "--wait", namespace=self.namespace
        )
        apply(target)

    def cancel(self, name: str) -> None:
        kubectl(
            "patch",
            "dbtrun",
            name,
            "--type=merge",
            "-p",
            '{"spec":{"cancel":true}}',
            namespace=self.namespace,
        )

    # What was seen

    def jobs_of(self, *runs: str) -> list[str]:
        """The names of all Jobs that ever were of some runs, once for each Job."""
        return sorted(name for name, _ in self.jobs if name.rsplit("-", 2)[0] in runs)

    def at_work(self) -> list[str]:
        """The runs whose pods are on the node and have not ended."""
        return [life.labels[RUN] for life in self._lives() if life.ended is None]

    def overlaps(self, *runs: str) -> list[tuple[str, str]]:
        """Pairs of pods of some runs that were on the node at the same time."""
        spans = sorted(
            (life.started, life.ended or float("inf"), life.name)
            for life in self._lives()
            if not runs or life.labels[RUN] in runs
        )
        found = []
        latest = (0.0, "")
        for start, end, name in spans:
            if start < latest[0]:
                found.append((latest[1], name))
            latest = max(latest, (end, name))
        return found

    def most_at_work(self, *runs: str) -> int:
        """How many pods of some runs were on the node at the same time."""
        lives = [life for life in self._lives() if life.labels[RUN] in runs]
        moments = [(life.started, 1) for life in lives] + [
            (life.ended or float("inf"), -1) for life in lives
        ]
        return max(itertools.accumulate(step for _, step in sorted(moments)), default=0)

    def was_at_work(self, run: str) -> int:
        """How many pods of a run have ever been on the node."""
        return sum(1 for life in self._lives() if life.labels[RUN] == run)

    def _lives(self) -> list[Life]:
        return [life for life in list(self.node.lives.values()) if life.namespace == self.namespace]

    # Watching

    def watch(self) -> None:
        """Write down every Job, every DbtRun, and how many hold each target at every version of
        it.
        """
        self._client = client = kubernetes.config.new_client_from_config()
        jobs, custom = (
            kubernetes.client.BatchV1Api(client),
            kubernetes.client.CustomObjectsApi(client),
        )
        ours = custom.list_namespaced_custom_object
        watches: list[tuple[Callable[..., object], tuple[str, ...], Callable[[Manifest], None]]] = [
            (jobs.list_namespaced_job, (self.namespace,), self._saw_job),
            (ours, (GROUP, VERSION, self.namespace, "dbttargets"), self._saw_target),
            (ours, (GROUP, VERSION, self.namespace, "dbtruns"), self._saw_run),
        ]
        for source, arguments, see in watches:
            self._start_following(source, arguments, see)

    def _start_following(
        self,
        source: Callable[..., object],
        arguments: tuple[str, ...],
        see: Callable[[Manifest], None],
    ) -> None:
        thread = threading.Thread(target=self.follow, args=(source, arguments, see), daemon=True)
        self._threads.append(thread)
        thread.start()

    def follow(
        self,
        source: Callable[..., object],
        arguments: tuple[str, ...],
        see: Callable[[Manifest], None],
    ) -> None:
        """Watch something as long as the stage stands."""
        watch = kubernetes.watch.Watch()
        self._watches.append(watch)
        while not self._stopped.is_set():
            since = {"resource_version": watch.resource_version} if watch.resource_version else {}
            try:
                for event in watch.stream(source, *arguments, timeout_seconds=60, **since):
                    if self._stopped.is_set():
                        break
                    see(event["raw_object"])
            except kubernetes.client.ApiException:
                watch.resource_version = None  # too old: from the list on
            except (urllib3.exceptions.HTTPError, OSError):
                continue

    def _saw_job(self, job: Manifest) -> None:
        self.jobs.add((job["metadata"]["name"], job["metadata"]["uid"]))

    def _saw_run(self, run: Manifest) -> None:
        self.runs[run["metadata"]["name"]] = run

    def _saw_target(self, target: Manifest) -> None:
        self.holders.append(
            (target["metadata"]["name"], len(target.get("status", {}).get("holders") or ()))
        )

    def close(self) -> None:
        self._stopped.set()
        for watch in self._watches:
            watch.stop()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._client.rest_client.pool_manager.clear()
        self._operators.close()
        # Shown where a test has failed.
        for log in sorted(self.log.parent.glob("*.log")):
            print(f"{log.name}:", *log.read_text().splitlines()[-50:], sep="\n")
        kubectl(
            "delete", "namespace", self.namespace, "--ignore-not-found", "--wait=false", check=False
        )


@contextmanager
def stage(name: str, begin: Begin = operator) -> Iterator[Stage]:
    """A namespace of a name of its own, its fake node, a proxy, and a way to begin an operator:
    there is none yet.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        fake_node(name) as node,
        fault_proxy(Path(folder)) as proxy,
    ):
        found = Stage(name, Path(folder), node, proxy, begin)
        apply(namespace(name))
        try:
            found.watch()
            yield found
        finally:
            found.close()


def install_crds() -> None:
    """Ours, as they stand in the checkout."""
    folder = str(ROOT / "crds")
    kubectl("apply", "--server-side", "--force-conflicts", "-f", folder)
    kubectl("wait", "--for=condition=Established", "-f", folder)
