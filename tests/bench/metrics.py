"""`python -m tests.bench.metrics`: what 10,000 runs over 500 schedules come to as metrics.

Nothing but a store and the metrics: how many series there are, and how long one page takes. It
ends with 1 where a bound is not kept.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from dbt_operator.api.status import Phase, Reason
from tests.support.builders import project, run, stamp, target
from tests.support.metrics_pages import Shown
from tests.support.schedule_world import schedule

MOST_SERIES = 20  # of a schedule
MOST_MILLISECONDS = 100.0  # for a page
UNFINISHED = 20  # of the runs; the others have ended
REASONS = [Reason.MODEL_ERROR, Reason.TEST_FAILED, Reason.TIMEOUT, Reason.OOM_KILLED]
HISTORY = 20
ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"  # Prometheus's

Manifest = dict[str, Any]


def make_named(made: Manifest, name: str) -> Manifest:
    """An object of another name."""
    made["metadata"] |= {"name": name, "uid": f"uid-of-{made['kind']}-{name}"}
    return made


def make_refs(number: int, targets: int) -> Manifest:
    """What a schedule works with: projects have two targets each."""
    place = number % targets
    return {"projectRef": {"name": f"p{place // 2}"}, "targetRef": {"name": f"t{place}"}}


def make_schedule(number: int, targets: int) -> Manifest:
    """A schedule with all that it may tell of."""
    made = make_named(schedule(run=make_refs(number, targets)), f"schedule-{number}")
    past = {
        "run": "x",
        "phase": "Failed",
        "reason": "ModelError",
        "message": "m" * 200,
        "finishedAt": stamp(),
        "duration": "10m",
    }
    made["status"] = {
        "nextRunTimes": [stamp(600)] * 5,
        "lastSuccessTime": stamp(-9000),
        "lastSuccessOccurrence": stamp(-9000),
        "late": {"occurrence": stamp(-900), "since": stamp(-300)},
        "history": [{**past, "occurrence": stamp(-60 * each)} for each in range(HISTORY)],
    }
    return made


def make_run(number: int, schedules: int, targets: int) -> Manifest:
    """A run of a schedule, at work or ended in one of several ways."""
    of, turn = number % schedules, number // schedules
    made = make_named(run(**make_refs(of, targets)), f"run-{number}")
    name = f"schedule-{of}"
    owner = {"kind": "DbtSchedule", "name": name, "uid": f"uid-of-DbtSchedule-{name}"}
    made["metadata"]["ownerReferences"] = [{**owner, "controller": True}]
    if number % UNFINISHED == 0:
        made["status"] = {"phase": "Queued", "queue": {"since": stamp(-60)}}
        return made
    made["status"] = {
        "phase": str(Phase.SUCCEEDED),
        "observedGeneration": 1,
        "startedAt": stamp(),
        "finishedAt": stamp(number % 9000),
        "queuedSeconds": number % 900,
        "nodes": {"total": 40, "success": 30, "pass": 10, "done": "40/40"},
    }
    if turn % 3 == 0:
        reason = str(REASONS[turn // 3 % len(REASONS)])
        made["status"] |= {"phase": str(Phase.FAILED), "reason": reason}
    elif turn % 7 == 0:
        made["status"] |= {"phase": str(Phase.CANCELLED), "reason": str(Reason.CANCELLED)}
    return made


def make_world(runs: int, schedules: int, targets: int) -> Iterator[Manifest]:
    """All objects."""
    for number in range((targets + 1) // 2):
        yield make_named(project(), f"p{number}")
    for number in range(targets):
        yield make_named(target(), f"t{number}")
    for number in range(schedules):
        yield make_schedule(number, targets)
    for number in range(runs):
        yield make_run(number, schedules, targets)


def fill(options: argparse.Namespace) -> Shown:
    """An operator that has seen them all, and all of those end that have ended."""
    shown = Shown(channels=["data-team", "on-call"])
    for manifest in make_world(options.runs, options.schedules, options.targets):
        shown.store.put(manifest["kind"], manifest)
        if "finishedAt" in (manifest.get("status") or {}):
            shown.metrics.count_end(manifest["kind"], copy.deepcopy(manifest))
    return shown


def measure(shown: Shown, times: int) -> list[float]:
    """How many milliseconds each of some pages takes."""
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        shown.metrics.render(ACCEPT)
        found.append((time.perf_counter() - begin) * 1000)
    return found


def main() -> int:
    """Measure, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--schedules", type=int, default=500)
    parser.add_argument("--targets", type=int, default=50)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    shown = fill(options)
    took = measure(shown, options.times)
    _, page = shown.metrics.render("")
    families = list(text_string_to_metric_families(page.decode()))
    samples = [sample for family in families for sample in family.samples]
    by_schedule = Counter(each.labels["schedule"] for each in samples if "schedule" in each.labels)
    figures = {
        "runs": options.runs,
        "schedules": options.schedules,
        "targets": options.targets,
        "series": len(samples),
        "series_of_a_schedule_at_most": max(by_schedule.values()),
        "series_for_each_schedule_in_all": round(len(samples) / options.schedules, 1),
        "bytes": len(page),
        "page_ms_median": round(statistics.median(took), 1),
        "page_ms_worst": round(max(took), 1),
    }
    print(json.dumps(figures, indent=2))
    keeps = (
        figures["series_of_a_schedule_at_most"] <= MOST_SERIES
        and figures["series_for_each_schedule_in_all"] <= MOST_SERIES
        and statistics.median(took) < MOST_MILLISECONDS
    )
    return 0 if keeps else 1


if __name__ == "__main__":
    sys.exit(main())
