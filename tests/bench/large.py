"""`make bench-large`: what a large project costs besides dbt's own work: 2,000 models, 1,000 tests
and a manifest of 30 MB, as a DbtRun and as a bare Job with the same commands, in turns.

Memory is each container's own, as its control group tells it once a second: what its processes hold
(``held``), and the most that it has ever been charged for, with what the kernel could have dropped
(``charged``). The bare Job has one container, ``dbt``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dbt_operator.planning.common.durations import parse_time
from tests.bench.run import (
    NAMESPACE,
    STEPS,
    Case,
    bare_job,
    cases,
    prepare,
    run,
    start,
    timed,
    write_source,
)
from tests.support import product
from tests.support.kube import Manifest, apply, get, items, kubectl

# With these a model's part of the manifest is what makes it 30 MB for 2,000 of them.
SHAPE = ("--tested", "4", "--columns", "30")
CONTAINERS = ("dbt", "artifacts")
_MEGA = 1 << 20
# Of both versions of control groups: what processes hold, and what was charged at most.
_LOOK = """
cd /sys/fs/cgroup
cat memory/memory.max_usage_in_bytes memory.peak 2>/dev/null
cat memory/memory.stat memory.stat 2>/dev/null | sed -n 's/^total_rss //p; s/^anon //p'
"""


@dataclass
class Memory:
    """The most that has been seen of a pod's containers, in MiB."""

    held: dict[str, float] = field(default_factory=dict)
    charged: dict[str, float] = field(default_factory=dict)

    def look(self, pod: str, container: str) -> None:
        """Ask a container, if it runs."""
        argv = ["exec", pod, f"--container={container}", "--", "sh", "-c", _LOOK]
        numbers = kubectl(*argv, namespace=NAMESPACE, check=False).split()
        if len(numbers) == 2 and all(number.isdigit() for number in numbers):
            charged, held = (int(number) / _MEGA for number in numbers)
            self.held[container] = max(self.held.get(container, 0), held)
            self.charged[container] = max(self.charged.get(container, 0), charged)


@contextlib.contextmanager
def watching(selector: str, containers: Sequence[str]) -> Iterator[Memory]:
    """Ask the pod's containers again and again until this is left."""
    memory, over = Memory(), threading.Event()

    def look() -> None:
        while not over.wait(1):
            for pod in items("pods", NAMESPACE, f"--selector={selector}"):
                for container in containers:
                    memory.look(pod["metadata"]["name"], container)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()


@dataclass(frozen=True)
class Figures:
    """Of a DbtRun, in seconds."""

    whole: float
    first_statement: float  # from its creation to the first node's start
    after_dbt: float  # from the last step's end to the run's
    objects: int
    megabytes: float
    twice: int  # objects that hold the same as another one
    manifest: float  # MB


def measure(case: Case) -> tuple[Figures, Memory]:
    """One DbtRun."""
    name = f"{case.name}-{uuid.uuid4().hex[:6]}"
    created = time.time()
    with watching(f"dbt-operator.dev/run={name}", CONTAINERS) as memory:
        whole = timed(lambda: apply(run(case, name, STEPS)), "dbtrun", name, "Succeeded")
        ended = time.time()
    where = get("dbtrun", name, NAMESPACE)["status"]["resolved"]
    with product.bucket() as client:
        prefixes = [where["location"], where["stateLocation"]]
        found = [
            each
            for prefix in prefixes
            for each in client.list_objects(product.BUCKET, prefix, recursive=True)
        ]
        names = [str(each.object_name) for each in found]
        results = next(each for each in names if each.endswith("-build/run_results.json"))
        rows = json.loads(client.get_object(product.BUCKET, results).data)["results"]
        told = client.get_object(product.BUCKET, f"{where['location']}/result.json").data
    steps = json.loads(told)["steps"]
    begins = [stage["started_at"] for row in rows for stage in row["timing"]]
    tags = Counter(each.etag for each in found)
    sizes = {str(each.object_name): (each.size or 0) / 1e6 for each in found}
    figures = Figures(
        whole=whole,
        first_statement=parse_time(min(begins)).timestamp() - created,
        after_dbt=ended - max(parse_time(step["finished_at"]).timestamp() for step in steps),
        objects=len(found),
        megabytes=sum(sizes.values()),
        twice=sum(count - 1 for count in tags.values()),
        manifest=max(size for name, size in sizes.items() if name.endswith("manifest.json")),
    )
    return figures, memory


def measure_bare(case: Case) -> tuple[float, Memory]:
    """One bare Job."""
    name = f"bare-{case.name}-{uuid.uuid4().hex[:6]}"
    job: Manifest = bare_job(case, name)
    with watching(f"job-name={name}", ["dbt"]) as memory:
        return timed(lambda: apply(job), "job", name, "Complete"), memory


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--models", type=int, default=2000)
    options = parser.parse_args()
    start()
    case = next(case for case in cases(options.models) if case.name == "generated")
    write_source(options.models, *SHAPE)
    print(f"{options.models} models: building them once", flush=True)
    prepare(case)
    for number in range(1, options.pairs + 1):
        ours, memory = measure(case)
        bare, bare_memory = measure_bare(case)
        print(
            f"pair {number}: DbtRun {ours.whole:.1f} s, bare Job {bare:.1f} s, ratio "
            f"{ours.whole / bare:.2f}; first statement after {ours.first_statement:.1f} s; from "
            f"dbt's end to the run's {ours.after_dbt:.1f} s; {ours.objects} objects, "
            f"{ours.megabytes:.0f} MB, {ours.twice} of them twice; manifest.json "
            f"{ours.manifest:.1f} MB"
        )
        for title, seen in (("DbtRun", memory), ("bare Job", bare_memory)):
            for container, held in seen.held.items():
                charged = seen.charged[container]
                print(f"  {title}, {container}: held {held:.0f} MiB, charged {charged:.0f} MiB")


if __name__ == "__main__":
    main()
