"""`make bench-parse`: what dbt's parse takes with the parse cache and without, of a project with
packages as real ones have them (:mod:`tests.bench.packages`): unchanged, with another value of the
var that is another every night, and with one file changed.

Runs with and without take turns on one node. Those without find no cache because a variable of a
new name is part of what a cache is kept by; nothing else differs. All have the steps seed,
sourceFreshness, build and docs, of the seed alone. Figures are of the parse in the dbt container,
as result.json tells it, and of the whole run from creation to its end.

With ``--here`` the dbt container's process runs on this machine, without a cluster and on DuckDB,
and only the parse is told.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dbt_runner import cache_files
from tests.bench.generate import files
from tests.bench.packages import add_packages
from tests.bench.run import NAMESPACE, Case, cases, prepare, run, start, timed, write_source
from tests.support import pods, product
from tests.support.kube import Manifest, apply, get

SEED = "resource_type:seed"
STEPS: list[Manifest] = [
    {"seed": {}},
    {"sourceFreshness": {}},
    {"build": {"select": [SEED]}},
    {"docs": {"select": [SEED]}},
]
CHANGE = "-- changed {number}\n"


@dataclass(frozen=True)
class Figures:
    """One run."""

    parse: float  # seconds
    whole: float  # seconds


@dataclass(frozen=True)
class Situation:
    """In what a run differs from the one before."""

    title: str
    ds: bool = False
    file: bool = False


SITUATIONS = (
    Situation("unchanged"),
    Situation("another ds", ds=True),
    Situation("one file changed", file=True),
)


class OnCluster:
    """Runs a generated project as DbtRuns."""

    def __init__(self, models: int) -> None:
        """Build it once."""
        self._models = models
        start()
        self._case: Case = next(case for case in cases(models) if case.name == "generated")
        print(f"{models} models: building them once", flush=True)
        prepare(self._case)
        write_source(models, "--packages")

    def measure(self, ds: str, change: str, *, cached: bool) -> Figures:
        """Run the steps once."""
        write_source(self._models, "--packages", change=change)
        name = f"{self._case.name}-{uuid.uuid4().hex[:6]}"
        manifest = run(self._case, name, STEPS)
        manifest["spec"]["vars"] = {"ds": ds}
        if not cached:
            manifest["spec"]["env"] = [{"name": f"NO_CACHE_{uuid.uuid4().hex[:6]}", "value": "1"}]
        whole = timed(lambda: apply(manifest), "dbtrun", name, "Succeeded")
        where = get("dbtrun", name, NAMESPACE)["status"]["resolved"]["location"]
        parse = json.loads(product.objects(where)["result.json"])["parse"]
        return Figures(parse["seconds"], whole)


class Here:
    """Runs a generated project in this machine's own file system."""

    def __init__(self, models: int, root: Path) -> None:
        """Generate it."""
        pods.may_start_dbt = True
        self._files = add_packages(files(models))
        self._model = min(name for name in self._files if name.startswith("models/core/core"))
        self._root = root
        self._kept: Path | None = None
        self._count = 0

    def measure(self, ds: str, change: str, *, cached: bool) -> Figures:
        """Run the steps once."""
        self._count += 1
        text = pods.profile(self._root / "warehouse.duckdb").replace("shop:", "bench:", 1)
        changed = {**self._files, self._model: self._files[self._model] + change}
        pod = pods.Pod(self._root / str(self._count), changed, text)
        for folder in (pod.layout.cache, pod.layout.new_cache):
            folder.mkdir()
        if cached and self._kept is not None:
            shutil.copyfile(self._kept, cache_files.restored(pod.layout))
        cache_files.announce(pod.layout)
        words = ("--vars", json.dumps({"ds": ds}))
        build = [pods.step(name, *words, "--select", SEED) for name in ("build", "docs")]
        steps = [*(pods.step(name, *words) for name in ("seed", "sourceFreshness")), *build]
        ended = pod.run(*steps, cached=True)
        if ended.code:
            raise SystemExit(ended.log)
        parses = len(list(pod.layout.parse.iterdir()))
        if parses > 1:
            raise SystemExit(f"the steps were parsed {parses} times\n{ended.log}")
        if cached and cache_files.stored(pod.layout).exists():
            self._kept = cache_files.stored(pod.layout)
        return Figures(ended.result["parse"]["seconds"], 0)


def measure_pairs(
    measure: Callable[..., Figures], situation: Situation, pairs: int
) -> Iterator[tuple[Figures, Figures]]:
    """Runs with the cache and without, in turns."""
    first = "2025-01-01"
    measure(first, CHANGE.format(number=0), cached=True)  # it fills the cache
    for number in range(1, pairs + 1):
        ds = f"2025-02-{number:02d}" if situation.ds else first
        change = CHANGE.format(number=number if situation.file else 0)
        pair = (measure(ds, change, cached=True), measure(ds, change, cached=False))
        print(
            f"  {situation.title}, pair {number}: parse {pair[0].parse:.2f} s with, "
            f"{pair[1].parse:.2f} s without",
            flush=True,
        )
        yield pair


def print_figures(pairs: list[tuple[Figures, Figures]], what: str) -> None:
    """Print the smallest, the median and the largest."""
    ours = [getattr(with_it, what) for with_it, _ in pairs]
    theirs = [getattr(without, what) for _, without in pairs]
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    for title, figures in (
        ("with the cache, s", ours),
        ("without, s", theirs),
        ("ratio", ratios),
    ):
        print(
            f"  {what:6} {title:18} {min(figures):6.2f} / {statistics.median(figures):6.2f} / "
            f"{max(figures):6.2f}"
        )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--only", help="one situation, by a part of its title")
    parser.add_argument("--here", action="store_true", help="without a cluster")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        place = Here(options.models, Path(root)) if options.here else OnCluster(options.models)
        for situation in SITUATIONS:
            if options.only and options.only not in situation.title:
                continue
            pairs = list(measure_pairs(place.measure, situation, options.pairs))
            print(f"\n{situation.title}: {options.models} models, min / median / max")
            print_figures(pairs, "parse")
            if not options.here:
                print_figures(pairs, "whole")
        pods.end_nursery()


if __name__ == "__main__":
    main()
