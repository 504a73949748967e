"""`make bench-scale`: many DbtRuns on fake nodes, against as many bare Jobs with the same pods.

API server, Job controller and scheduler are real; the pods are on a node without a machine and end
at once. DbtRuns and bare Jobs take turns, so that whatever else the machine does hits both. The
operator is a process beside the cluster.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import statistics
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import kubernetes

from tests.support import product
from tests.support.kube import Manifest, apply, resource, wait_for
from tests.support.operators import OperatorProcess
from tests.support.stage import GROUP, VERSION, Stage, install_crds, stage

WORKERS = 8  # that create objects side by side
TARGETS_OF_A_PROJECT = 5
FINISHED = ("Succeeded", "Failed", "Cancelled", "Skipped")


class Meter:
    """What a watch sees of runs and Jobs: when each was created, and when it had ended."""

    def __init__(self, scene: Stage) -> None:
        # By name: when the request that created it was answered.
        self.created: dict[str, float] = {}
        self.run_seen: dict[str, float] = {}
        self.job_seen: dict[str, float] = {}  # by name of the run
        self.ended: dict[str, float] = {}  # by name
        self._scene = scene
        client = kubernetes.config.new_client_from_config()
        client.configuration.connection_pool_maxsize = WORKERS + 4
        self.custom = kubernetes.client.CustomObjectsApi(client)
        self.batch = kubernetes.client.BatchV1Api(client)
        runs = (GROUP, VERSION, scene.namespace, "dbtruns")
        for source, arguments, see in (
            (self.custom.list_namespaced_custom_object, runs, self._saw_run),
            (self.batch.list_namespaced_job, (scene.namespace,), self._saw_job),
        ):
            threading.Thread(
                target=scene.follow, args=(source, arguments, see), daemon=True
            ).start()

    def _saw_run(self, run: Manifest) -> None:
        self.run_seen.setdefault(run["metadata"]["name"], time.monotonic())
        if run.get("status", {}).get("phase") in FINISHED:
            self.ended.setdefault(run["metadata"]["name"], time.monotonic())

    def _saw_job(self, job: Manifest) -> None:
        name = job["metadata"]["name"]
        if run := (job["metadata"].get("labels") or {}).get("dbt-operator.dev/run"):
            self.job_seen.setdefault(run, time.monotonic())
        if any(
            c["type"] == "Complete" and c["status"] == "True"
            for c in job["status"].get("conditions") or ()
        ):
            self.ended.setdefault(name, time.monotonic())

    def create_runs(self, runs: Iterable[Manifest]) -> None:
        """Create runs as fast as they are taken."""
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(self.create_run, runs))

    def create_run(self, run: Manifest) -> None:
        self.custom.create_namespaced_custom_object(
            GROUP, VERSION, self._scene.namespace, "dbtruns", run
        )
        self.created[run["metadata"]["name"]] = time.monotonic()

    def create_jobs(self, jobs: Iterable[Manifest]) -> None:
        def create(job: Manifest) -> None:
            self.batch.create_namespaced_job(self._scene.namespace, job)
            self.created[job["metadata"]["name"]] = time.monotonic()

        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(create, jobs))

    def seconds_until_ended(self, names: list[str], since: float, timeout: float = 1200) -> float:
        """From a moment on until the last of them has ended."""
        wait_for(f"{len(names)} end", lambda: all(name in self.ended for name in names), timeout)
        return max(self.ended[name] for name in names) - since

    def latencies(self, names: Iterable[str]) -> list[float]:
        """From the answer to a run's creation to the first sight of its Job."""
        return sorted(max(0.0, self.job_seen[name] - self.created[name]) for name in names)


# What is started


def make_runs(scene: Stage, count: int, targets: int) -> list[Manifest]:
    """Runs over targets, with the project of each."""
    batch = uuid.uuid4().hex[:4]
    return [
        scene.run(
            f"run-{batch}-{number}", f"target-{number % targets}", project_of(number % targets)
        )
        for number in range(count)
    ]


def project_of(target: int) -> str:
    return f"project-{target // TARGETS_OF_A_PROJECT}"


def make_jobs(scene: Stage, meter: Meter, count: int) -> list[Manifest]:
    """Jobs with the pods of a run that has been, behind no gate."""
    found = meter.batch.list_namespaced_job(scene.namespace, limit=1, _preload_content=False)
    template = json.loads(found.data)["items"][0]
    spec = {
        key: template["spec"][key]
        for key in ("backoffLimit", "completions", "parallelism", "template")
    }
    spec = copy.deepcopy(spec)
    spec["template"]["metadata"] = {"labels": {"app": "bare", "dbt-operator.dev/run": "bare"}}
    spec["template"]["spec"].pop("schedulingGates", None)
    batch = uuid.uuid4().hex[:4]
    metadata = {"namespace": scene.namespace}
    return [
        {"metadata": metadata | {"name": f"bare-{batch}-{n}"}, "spec": spec} for n in range(count)
    ]


def make_finished(scene: Stage, meter: Meter, count: int) -> None:
    """Runs that have ended, as the operator leaves them: copies of the status of one that has."""
    listed = meter.custom.list_namespaced_custom_object(GROUP, VERSION, scene.namespace, "dbtruns")
    status = next(
        run["status"] for run in listed["items"] if run["status"].get("phase") == "Succeeded"
    )
    names = [f"finished-{number}" for number in range(count)]

    def create(name: str) -> None:
        where = (GROUP, VERSION, scene.namespace, "dbtruns")
        run = scene.run(name, "target-0", project_of(0))
        meter.custom.create_namespaced_custom_object(*where, run)
        meter.custom.patch_namespaced_custom_object_status(
            *where, name, {"status": status}, _content_type="application/merge-patch+json"
        )

    with ThreadPoolExecutor(WORKERS) as pool:
        for done, _ in enumerate(pool.map(create, names), start=1):
            if done % 1000 == 0:
                print(f"  {done} finished runs are there", flush=True)


# The operator, from outside


def memory(process: OperatorProcess) -> float:
    """RSS in MB."""
    return (
        int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[0])
        / 1024
    )


def cpu(process: OperatorProcess) -> float:
    """Seconds that it has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# The measurements


def throughput(scene: Stage, meter: Meter, options: argparse.Namespace) -> None:
    """Batches of runs and of bare Jobs in turn."""
    size = options.runs // options.batches
    ours: list[float] = []
    bare: list[float] = []
    process = scene.another_operator()
    warm_up(scene, meter)
    used = cpu(process)
    for number in range(1, options.batches + 1):
        runs = make_runs(scene, size, options.targets)
        start = time.monotonic()
        meter.create_runs(runs)
        ours.append(meter.seconds_until_ended([run["metadata"]["name"] for run in runs], start))
        jobs = make_jobs(scene, meter, size)
        start = time.monotonic()
        meter.create_jobs(jobs)
        bare.append(meter.seconds_until_ended([job["metadata"]["name"] for job in jobs], start))
        print(
            f"  batch {number}: {size} DbtRuns {ours[-1]:.1f} s, bare Jobs {bare[-1]:.1f} s",
            flush=True,
        )
    total = size * options.batches
    print(
        f"{total} DbtRuns over {options.targets} targets: {sum(ours):.1f} s, "
        f"{total / sum(ours):.1f} a second"
    )
    print(f"{total} bare Jobs: {sum(bare):.1f} s, {total / sum(bare):.1f} a second")
    ratios = [b / o for o, b in zip(ours, bare, strict=True)]
    print(
        f"throughput against bare Jobs: {statistics.median(ratios):.2f} ({min(ratios):.2f} to "
        f"{max(ratios):.2f})"
    )
    print(
        f"operator: {(cpu(process) - used) / total * 1000:.0f} ms CPU a run, {memory(process):.0f} "
        "MB RSS"
    )
    stop(process)


def stop(process: OperatorProcess) -> None:
    process.kill()
    process.wait()


def warm_up(scene: Stage, meter: Meter) -> None:
    run = make_runs(scene, 1, 1)
    meter.create_runs(run)
    meter.seconds_until_ended([run[0]["metadata"]["name"]], 0)
    meter.create_jobs(jobs := make_jobs(scene, meter, 1))
    meter.seconds_until_ended([jobs[0]["metadata"]["name"]], 0)


def requests(scene: Stage, meter: Meter, options: argparse.Namespace) -> None:
    """A batch with an operator behind a proxy that counts what it asks the API server for."""
    scene.start_operator()
    warm_up(scene, meter)
    runs = make_runs(scene, options.runs // options.batches, options.targets)
    scene.proxy.requests.clear()
    meter.create_runs(runs)
    meter.seconds_until_ended([run["metadata"]["name"] for run in runs], 0)
    seen = [request for request in scene.proxy.requests if not request.watch]
    scene.kill_operator()
    writes = sum(request.writes for request in seen)
    print(
        f"API requests a run: {len(seen) / len(runs):.1f}, of them writes without events: "
        f"{writes / len(runs):.1f}"
    )
    for what, count in Counter(f"{r.method} {r.kind} {r.subresource}" for r in seen).most_common():
        print(f"  {count / len(runs):6.2f}  {what}")


def at_a_rate(scene: Stage, meter: Meter, options: argparse.Namespace) -> None:
    """With many finished runs there, create so many a second, and see how long each waits for its
    Job.
    """
    print(f"creating {options.finished} finished runs", flush=True)
    make_finished(scene, meter, options.finished)
    process = scene.another_operator()
    warm_up(scene, meter)
    started = memory(process)
    runs = make_runs(scene, options.active, options.active)  # a target each: none waits for another
    begin, used = time.monotonic(), cpu(process)
    with ThreadPoolExecutor(WORKERS) as pool:
        for number, run in enumerate(runs):
            wait = begin + number / options.rate - time.monotonic()
            threading.Event().wait(max(0.0, wait))
            pool.submit(meter.create_run, run)
    names = [run["metadata"]["name"] for run in runs]
    spent = meter.seconds_until_ended(names, begin)
    found = meter.latencies(names)
    print(
        f"{len(runs)} DbtRuns at {options.rate} a second beside {options.finished} finished ones: "
        f"{spent:.1f} s"
    )
    print(
        f"create to Job: p50 {found[len(found) // 2]:.2f} s, p99 "
        f"{found[int(len(found) * 0.99)]:.2f} s"
    )
    print(
        f"operator: {memory(process):.0f} MB RSS ({started:.0f} MB before the active ones),"
        f" {(cpu(process) - used) / len(runs) * 1000:.0f} ms CPU a run"
    )


# Schedules


def make_schedules(scene: Stage, options: argparse.Namespace, due: datetime) -> list[Manifest]:
    """Schedules over targets of one slot, of which some are due at a moment, each on a target of
    its own, and the others at some minute of the hours after the next three.
    """
    found = []
    for number in range(options.schedules):
        later = due + timedelta(hours=4, minutes=number % 900)
        moment = due if number < options.due else later
        run = {
            "projectRef": {"name": project_of(number % options.active)},
            "targetRef": {"name": f"target-{number % options.active}"},
            "steps": [{"build": {}}],
            "vars": {"at": "$(scheduled.time)"},
        }
        entry = f"{moment.minute} {moment.hour} * * *"
        spec = {"schedules": [entry], "runTemplate": {"spec": run}}
        found.append(resource("DbtSchedule", f"schedule-{number}", scene.namespace, spec))
    return found


def count_seen(scene: Stage, meter: Meter) -> int:
    """How many schedules have been looked at."""
    where = (GROUP, VERSION, scene.namespace, "dbtschedules")
    listed = meter.custom.list_namespaced_custom_object(*where)["items"]
    return sum("cursor" in each.get("status", {}) for each in listed)


def on_time(scene: Stage, meter: Meter, options: argparse.Namespace) -> None:
    """Many schedules, some of them due in one minute: how long each waits for its run and its Job,
    and what the operator uses while nothing is due.
    """
    where = (GROUP, VERSION, scene.namespace, "dbtschedules")
    due = (datetime.now(UTC) + timedelta(minutes=options.lead)).replace(second=0, microsecond=0)
    schedules = make_schedules(scene, options, due)
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(partial(meter.custom.create_namespaced_custom_object, *where), schedules))
    process = scene.another_operator()
    wait_for("all are looked at", lambda: count_seen(scene, meter) == len(schedules), 600)
    print(f"{len(schedules)} schedules are there, {options.due} of them due at {due}", flush=True)
    since, used = time.monotonic(), cpu(process)
    # Up to shortly before they are due, when nothing happens.
    left = (due - datetime.now(UTC)).total_seconds() - 5
    threading.Event().wait(max(0.0, left))
    idle = (cpu(process) - used) / (time.monotonic() - since)
    print(f"idle for {time.monotonic() - since:.0f} s: {idle:.2%} of a core", flush=True)
    used = cpu(process)
    starts = time.monotonic() + (due - datetime.now(UTC)).total_seconds()
    label = "schedule-"
    wait_for(
        "all have a Job",
        lambda: sum(name.startswith(label) for name in meter.job_seen) >= options.due,
        600,
    )
    for what, seen in (("DbtRun", meter.run_seen), ("Job", meter.job_seen)):
        found = sorted(at - starts for name, at in seen.items() if name.startswith(label))
        p50, p99 = found[len(found) // 2], found[int(len(found) * 0.99)]
        print(f"from the occurrence to the {what}: p50 {p50:.2f} s, p99 {p99:.2f} s", flush=True)
    spent = (cpu(process) - used) / options.due
    print(f"operator: {memory(process):.0f} MB RSS, {spent * 1000:.0f} ms CPU an occurrence")
    stop(process)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--targets", type=int, default=50)
    parser.add_argument("--batches", type=int, default=5)
    parser.add_argument("--finished", type=int, default=10_000)
    parser.add_argument("--active", type=int, default=200)
    parser.add_argument("--rate", type=float, default=10)
    parser.add_argument("--schedules", type=int, default=2000)
    parser.add_argument("--due", type=int, default=200, help="schedules that are due at once")
    parser.add_argument("--lead", type=int, default=8, help="minutes until they are")
    parser.add_argument("--only-schedules", action="store_true")
    options = parser.parse_args()
    install_crds()
    with product.without_operator(), stage(f"bench-{uuid.uuid4().hex[:6]}") as scene:
        meter = Meter(scene)
        targets = range(max(options.targets, options.active))
        apply(*(scene.project(name) for name in sorted({project_of(number) for number in targets})))
        apply(*(scene.target(f"target-{number}") for number in targets))
        on_time(scene, meter, options)
        if options.only_schedules:
            return
        throughput(scene, meter, options)
        requests(scene, meter, options)
        at_a_rate(scene, meter, options)


if __name__ == "__main__":
    main()
