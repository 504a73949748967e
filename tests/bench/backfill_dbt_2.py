"""`make bench-backfill-dbt-2`: a DbtBackfill with dbt 2 against a bare Job for each window, and
against xargs.

The same windows as in `make bench-backfill`, two at a time, of the same shop, which is in a
ConfigMap here, as its image has another dbt: by a DbtBackfill; by Jobs that are created, awaited
and of the same image; and by `xargs -P 2` outside Kubernetes, where dbt 2 starts within a fraction
of a second, so that what counts is what comes on top of it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.backfill import (
    AT_A_TIME,
    AUTO,
    SELECT,
    XARGS,
    Figures,
    Spent,
    Way,
    backfill,
    batches,
    days,
    lay_project,
    report,
    xargs,
)
from tests.bench.run import Case, bare_job, make_project, prepare, put_source, start, timed
from tests.support import product
from tests.support.dbt_2 import find_dbt_2, find_driver_place
from tests.support.kube import apply

JOBS = "a Job a window"


def run_jobs(case: Case, which: Sequence[str]) -> tuple[float, Spent]:
    """Seconds of as many Jobs as there are windows."""
    batch = uuid.uuid4().hex[:6]

    def run_one(day: str) -> None:
        command = f'build --select {" ".join(SELECT)} --vars \'{{"ds": "{day}"}}\''
        name = f"bare-{batch}-{day}"
        timed(lambda: apply(bare_job(case, name, [command])), "job", name, "Complete")

    begin = time.monotonic()
    with ThreadPoolExecutor(AT_A_TIME) as at_a_time:
        list(at_a_time.map(run_one, which))
    return time.monotonic() - begin, {}


def lay_driver(folder: Path) -> Mapping[str, str]:
    """Put the warehouse's driver where dbt 2 looks for it; returns the environment for that."""
    driver = folder / "cache" / find_driver_place()
    driver.parent.mkdir(parents=True)
    driver.symlink_to(next(find_dbt_2().rglob("libadbc_driver_postgresql.so")))
    return {
        "XDG_CACHE_HOME": str(folder / "cache"),
        "DBT_ALLOW_EXPERIMENTAL_ADAPTERS": "true",
    }


def compare(count: int, found: Mapping[str, Figures]) -> None:
    """Print the ratios to Jobs, and the seconds that come on top of xargs, batch by batch."""
    report(count, found, against=JOBS)
    pairs = zip(found[AUTO].seconds, found[XARGS].seconds, strict=True)
    above = [ours - theirs for ours, theirs in pairs]
    shown = f"{min(above):.2f} / {statistics.median(above):.2f} / {max(above):.2f}"
    print(f"  {AUTO} takes {shown} s more than {XARGS}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=5, help="of seven windows")
    parser.add_argument("--long-batches", type=int, default=2, help="of sixty windows")
    options = parser.parse_args()
    start()
    print("building the shop once", flush=True)
    images = product.references()
    # By dbt 1: with dbt 2 one of the shop's tests fails, so it would not build.
    prepare(Case("shop", "shop", images["shop"], {"image": {"path": "/project"}}, "/project"))
    put_source("shop", product.EXAMPLES / "shop")
    source = {"configMap": {"name": "shop"}}
    case = Case("shop", "shop", images["dbt-2.0"], source, "/tmp/project")  # noqa: S108
    apply(make_project(case))
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        lay_project(case, folder)
        dbt, env = find_dbt_2() / "bin/dbt", lay_driver(folder)
        ways: dict[str, Way] = {
            AUTO: lambda which: backfill(case, which, None),
            XARGS: lambda which: xargs(folder, which, dbt, env),
            JOBS: lambda which: run_jobs(case, which),
        }
        # What it takes to read dbt from the disk is not measured.
        xargs(folder, days(1), dbt, env)
        compare(7, batches(ways, days(7), options.batches))
        compare(60, batches(ways, days(60), options.long_batches))


if __name__ == "__main__":
    main()
