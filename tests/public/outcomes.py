"""What became of a project, by dbt alone and by the product, and in what the two differ."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dbt_runner.outcome.classify import NOT_COUNTED
from dbt_runner.outcome.step_outcome import is_hook

_SHOWN = 10  # differences of a kind
_STATUSES = ("success", "error", "skipped", "pass", "warn", "fail", "no-op")  # what we count


@dataclass
class Outcome:
    """How the steps of a project have ended, once."""

    verdict: str = "Succeeded"  # or what it failed for
    seconds: float = 0.0
    nodes: dict[str, dict[str, list[Any]]] = field(default_factory=dict)  # by step
    things: dict[str, int] = field(default_factory=dict)  # of the manifest, by kind
    # What the product says, by dbt's statuses, and the total.
    counts: dict[str, int] = field(default_factory=dict)
    parse: str = ""

    @property
    def succeeded(self) -> bool:
        return self.verdict.startswith("Succeeded")

    def tell_parse(self, parse: Mapping[str, Any]) -> None:
        """Take from result.json what the parse took, and whether an earlier one was of use."""
        cached = "cached" if parse.get("cached") else "not cached"
        self.parse = f"{parse.get('seconds') or 0:.1f} s, {cached}"

    def count(self) -> dict[str, int]:
        """How many nodes have ended how, over all steps."""
        return _count(self.nodes)

    def count_what_counts(self) -> dict[str, int]:
        """The same, as the product counts: no hooks, and no nodes of steps that only show some."""
        return _count(
            {
                step: {name: how for name, how in nodes.items() if not is_hook(name)}
                for step, nodes in self.nodes.items()
                if step not in NOT_COUNTED
            }
        )


def _count(nodes: Mapping[str, Mapping[str, list[Any]]]) -> dict[str, int]:
    found = Counter(status for ended in nodes.values() for status, _ in ended.values())
    return dict(sorted(found.items()))


def read_bare(lines: Iterable[str]) -> Outcome:
    """What :mod:`tests.public.bare_dbt` has printed."""
    outcome = Outcome()
    for line in lines:
        said = json.loads(line)
        outcome.things = said.get("things", outcome.things)
        if "said" in said:
            outcome.verdict = f"Failed: {said['said']}"
        if "step" in said:
            outcome.seconds += said["seconds"]
            if said["step"] != "deps":
                outcome.nodes[said["step"]] = said["nodes"]
    return outcome


def compare(ours: Outcome, bare: Outcome) -> list[str]:
    """In what ours differs from dbt's own; nothing, if all is well."""
    found = []
    if ours.succeeded != bare.succeeded:
        found.append(f"the verdict is {ours.verdict} against {bare.verdict}")
    for step in sorted({*ours.nodes, *bare.nodes}):
        found += _compare_nodes(step, ours.nodes.get(step, {}), bare.nodes.get(step, {}))
    if ours.things != bare.things:
        found.append(f"the manifest has {ours.things} against {bare.things}")
    found += _compare_counts(ours)
    return found


def _compare_nodes(step: str, ours: dict[str, Any], bare: dict[str, Any]) -> Iterator[str]:
    others = [name for name in sorted({*ours, *bare}) if ours.get(name) != bare.get(name)]
    for name in others[:_SHOWN]:
        yield f"{step}: {name} is {ours.get(name)} against {bare.get(name)}"
    if len(others) > _SHOWN:
        yield f"{step}: and {len(others) - _SHOWN} more"


def _compare_counts(ours: Outcome) -> Iterator[str]:
    """What the product says of its nodes is what dbt has written of them."""
    written = ours.count_what_counts()
    for status in _STATUSES:
        if ours.counts.get(status, 0) != written.get(status, 0):
            yield f"{ours.counts.get(status, 0)} are said to be {status}: {written.get(status, 0)}"
    if ours.counts.get("total", 0) != sum(written.values()):
        yield f"{ours.counts.get('total', 0)} nodes are said to be there: {sum(written.values())}"
