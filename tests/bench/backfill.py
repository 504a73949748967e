"""`make bench-backfill`: a DbtBackfill against xargs, which is how people do it without an
operator.

The example shop's incremental models are built for seven days, two at a time: by a DbtBackfill that
chooses itself how many windows a pod works through, by one with a pod for each window, and by
`xargs -P 2` that starts dbt's command line for each day, outside Kubernetes but in its network,
with the same project, warehouse and vars. Pods and scheduling are included, from creation to the
end. The three take turns, so that whatever else the machine does hits all; quote the ratios, not
the seconds. Then the first and the last again, for sixty days.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.bench.run import NAMESPACE, Case, prepare, start, timed
from tests.support import product, scenarios
from tests.support.kube import Manifest, apply, get, items, kubectl, resource

LAST_DAY = date(2025, 2, 27)  # of the shop's data
AT_A_TIME = 2
SELECT = ["tag:incremental"]
AUTO, ONE_EACH, XARGS = "DbtBackfill", "a pod a window", "xargs dbt"
Spent = Mapping[str, float]


@dataclass
class Figures:
    """What one way took, batch by batch."""

    seconds: list[float] = field(default_factory=list)
    spent: list[Spent] = field(default_factory=list)


Way = Callable[[list[str]], tuple[float, Spent]]


def days(count: int) -> list[str]:
    """The last days of the shop's data."""
    return [(LAST_DAY - timedelta(days=number)).isoformat() for number in reversed(range(count))]


# By the operator


def backfill(case: Case, which: Sequence[str], windows_per_pod: int | None) -> tuple[float, Spent]:
    """Seconds from the creation of a backfill to its end, and where they went."""
    name = f"{case.name}-{uuid.uuid4().hex[:6]}"
    template = {
        "projectRef": {"name": case.name},
        "targetRef": {"name": case.name},
        "steps": [{"build": {"select": SELECT}}],
        "vars": {"ds": "$(window.start)"},
    }
    spec: Manifest = {
        "runTemplate": {"spec": template},
        "windows": {"dates": {"from": which[0], "to": which[-1], "every": "1d"}},
        "maxConcurrentWindows": AT_A_TIME,
    }
    if windows_per_pod is not None:
        spec["windowsPerPod"] = windows_per_pod
    manifest = resource("DbtBackfill", name, NAMESPACE, spec)
    seconds = timed(lambda: apply(manifest), "dbtbackfill", name, "Succeeded")
    found = get("dbtbackfill", name, NAMESPACE)["status"]["windows"]
    if (found["total"], found["succeeded"]) != (len(which), len(which)):
        raise SystemExit(f"{name}: not every window was done: {found}")
    return seconds, breakdown(name, seconds)


@dataclass(frozen=True)
class Pod:
    """The times of a pod of a backfill, in seconds since the epoch; of its container they are whole
    ones.
    """

    started: float  # dbt's container
    parsed: float  # seconds of it that dbt spent on parsing
    first: float  # the first step of the first window
    last: float  # the end of the last one
    ended: float  # dbt's container


def breakdown(name: str, seconds: float) -> Spent:
    """Where the time of a backfill went: whole seconds where Kubernetes tells them, and a median
    where pods differ.
    """
    created = _moment(get("dbtbackfill", name, NAMESPACE)["metadata"]["creationTimestamp"])
    pods = [
        _pod(run)
        for run in items("dbtruns", NAMESPACE, f"--selector=dbt-operator.dev/backfill={name}")
    ]
    last = max(pod.ended for pod in pods)
    return {
        "pods (how many)": len(pods),
        "creation to the first pod's dbt": min(pod.started for pod in pods) - created,
        "from there to the first window": min(pod.first for pod in pods)
        - min(pod.started for pod in pods),
        "  of it parsing, each pod": statistics.median(pod.parsed for pod in pods),
        "first window to the last one's end": max(pod.last for pod in pods)
        - min(pod.first for pod in pods),
        "  of it at work, a pod at a time": sum(pod.last - pod.first for pod in pods) / AT_A_TIME,
        "the last window to its pod's end": last - max(pod.last for pod in pods),
        "the last pod's end to the backfill's": created + seconds - last,
    }


def _pod(run: Manifest) -> Pod:
    """The only pod of a run: none of them is expected to fail."""
    (pod,) = items("pods", NAMESPACE, f"--selector=dbt-operator.dev/run={run['metadata']['name']}")
    state = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    windows = _results_of_windows(f"{run['status']['resolved']['location']}/attempt-1/")
    steps = [step for window in windows for step in window["steps"]]
    return Pod(
        started=_moment(state["startedAt"]),
        parsed=sum(window["parse"].get("seconds", 0.0) for window in windows),
        first=min(_moment(step["started_at"]) for step in steps),
        last=max(_moment(step["finished_at"]) for step in steps),
        ended=_moment(state["finishedAt"]),
    )


def _results_of_windows(prefix: str) -> list[Any]:
    """What each window's result.json says; beside them lies the one of them all, and much that is
    not needed here.
    """
    with product.bucket() as client:
        names = [
            str(found.object_name)
            for found in client.list_objects(product.BUCKET, prefix, recursive=True)
        ]
        wanted = [
            name
            for name in names
            if name.removeprefix(prefix).count("/") == 1 and name.endswith("/result.json")
        ]
        return [json.loads(client.get_object(product.BUCKET, name).data) for name in wanted]


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# Without one


def find_dbt() -> Path:
    """The dbt that is installed beside these tests."""
    return Path(sys.executable).with_name("dbt")


def xargs(
    folder: Path, which: Sequence[str], dbt: Path, env: Mapping[str, str]
) -> tuple[float, Spent]:
    """Seconds of dbt's command line, once for each day. Each has a target folder of its own: they
    would meet in one.
    """
    with tempfile.TemporaryDirectory(dir=folder) as work:
        variables = '{"ds": "DAY"}'
        build = [str(dbt), "--quiet", "build", "--select", *SELECT, "--vars", variables]
        where = ["--project-dir", str(folder / "project"), "--profiles-dir", str(folder)]
        out = ["--target-path", f"{work}/DAY", "--log-path", f"{work}/DAY"]
        begin = time.monotonic()
        done = subprocess.run(
            ["xargs", "-P", str(AT_A_TIME), "-I", "DAY", *build, *where, *out],
            input="\n".join(which),
            env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", **env},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - begin
        built = [day for day in which if Path(work, day, "run_results.json").exists()]
    if done.returncode or built != list(which):
        raise SystemExit(f"xargs ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return seconds, {}


def lay_project(case: Case, folder: Path) -> None:
    """The project and a profile that leads to the schema of :func:`prepare`, from outside of
    pods.
    """
    (folder / "project").symlink_to(product.EXAMPLES / "shop")
    address = kubectl(
        "get",
        "service",
        "postgres",
        "-o",
        "jsonpath={.spec.clusterIP}",
        namespace=product.WAREHOUSE,
    )
    profiles = scenarios.profiles(case.profile, schema=f"analytics_{case.name}", host=address)
    (folder / "profiles.yml").write_text(profiles)


# All of them


def batches(ways: Mapping[str, Way], which: list[str], count: int) -> dict[str, Figures]:
    """Each way in its turn, so many times."""
    found = {name: Figures() for name in ways}
    for number in range(1, count + 1):
        for name, way in ways.items():
            seconds, spent = way(which)
            found[name].seconds.append(seconds)
            found[name].spent.append(spent)
        shown = ", ".join(f"{name} {figures.seconds[-1]:.1f} s" for name, figures in found.items())
        print(f"  batch {number} of {len(which)} windows: {shown}", flush=True)
    return found


def report(count: int, found: Mapping[str, Figures], against: str = XARGS) -> None:
    """min, median and max of each way, and of the ratios to one of them, batch by batch."""
    base = found[against].seconds
    print(f"\n{count} windows, {AT_A_TIME} at a time, {len(base)} batches: min / median / max")
    for name, figures in found.items():
        print(f"  {name:16} {_three(figures.seconds)} s")
    for name, figures in found.items():
        if name != against:
            ratios = [ours / theirs for ours, theirs in zip(figures.seconds, base, strict=True)]
            of_medians = statistics.median(figures.seconds) / statistics.median(base)
            print(f"  {name:16} {_three(ratios)} of {against}; {of_medians:.2f} of the medians")
    for name, figures in found.items():
        for key in figures.spent[0]:
            print(f"    {name}: {key:36} {_three([spent[key] for spent in figures.spent])}")


def _three(figures: Sequence[float]) -> str:
    return f"{min(figures):6.2f} / {statistics.median(figures):6.2f} / {max(figures):6.2f}"


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=5, help="of seven windows")
    parser.add_argument("--long-batches", type=int, default=2, help="of sixty windows")
    options = parser.parse_args()
    start()
    case = Case(
        "shop", "shop", product.references()["shop"], {"image": {"path": "/project"}}, "/project"
    )
    print("building the shop once", flush=True)
    prepare(case)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        lay_project(case, folder)
        ways: dict[str, Way] = {
            AUTO: lambda which: backfill(case, which, None),
            XARGS: lambda which: xargs(folder, which, find_dbt(), {}),
            ONE_EACH: lambda which: backfill(case, which, 1),
        }
        # What it takes to read dbt from the disk is not measured.
        xargs(folder, days(1), find_dbt(), {})
        report(7, batches(ways, days(7), options.batches))
        del ways[ONE_EACH]
        report(60, batches(ways, days(60), options.long_batches))


if __name__ == "__main__":
    main()
