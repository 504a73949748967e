"""`make bench-parse`: what dbt's parse takes in the second run of an unchanged project, with the
cache and without.

The two take turns on one node. The runs without find no cache because a variable of a new name is
part of what a cache is kept by; nothing else differs. Figures are of the parse in the dbt
container, as result.json tells it, and of the whole run from creation to its end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import uuid
from dataclasses import dataclass

from tests.bench.run import NAMESPACE, Case, cases, prepare, run, start, timed
from tests.support import product
from tests.support.kube import Manifest, apply, get

STEP: Manifest = {"build": {"select": ["resource_type:seed"]}}


@dataclass(frozen=True)
class Figures:
    """One run."""

    cached: bool
    parse: float  # seconds
    whole: float  # seconds


def measure(case: Case, *, cached: bool) -> Figures:
    """Run it once."""
    name = f"{case.name}-{uuid.uuid4().hex[:6]}"
    manifest = run(case, name, [STEP])
    if not cached:
        manifest["spec"]["env"] = [{"name": f"NO_CACHE_{uuid.uuid4().hex[:6]}", "value": "1"}]
    whole = timed(lambda: apply(manifest), "dbtrun", name, "Succeeded")
    where = get("dbtrun", name, NAMESPACE)["status"]["resolved"]["location"]
    parse = json.loads(product.objects(where)["result.json"])["parse"]
    if parse["cached"] is not cached:
        raise SystemExit(f"{name}: the cache was {'' if parse['cached'] else 'not '}used")
    return Figures(cached, parse["seconds"], whole)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--models", type=int, default=500)
    options = parser.parse_args()
    start()
    case = next(case for case in cases(options.models) if case.name == "generated")
    print(f"{options.models} models: building them once", flush=True)
    prepare(case)
    first = f"first-{uuid.uuid4().hex[:6]}"
    # It fills the cache.
    timed(lambda: apply(run(case, first, [STEP])), "dbtrun", first, "Succeeded")
    pairs = []
    for number in range(1, options.pairs + 1):
        pair = (measure(case, cached=True), measure(case, cached=False))
        print(
            f"  pair {number}: parse {pair[0].parse:.2f} s with, {pair[1].parse:.2f} s without",
            flush=True,
        )
        pairs.append(pair)
    print(f"\n{options.models} models, {options.pairs} pairs: min / median / max")
    for what in ("parse", "whole"):
        for title, figures in (
            ("with the cache, s", [getattr(with_it, what) for with_it, _ in pairs]),
            ("without, s", [getattr(without, what) for _, without in pairs]),
            (
                "ratio",
                [getattr(with_it, what) / getattr(without, what) for with_it, without in pairs],
            ),
        ):
            print(
                f"  {what:6} {title:18} {min(figures):6.2f} / {statistics.median(figures):6.2f} / "
                f"{max(figures):6.2f}"
            )


if __name__ == "__main__":
    main()
