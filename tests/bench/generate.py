"""Write a dbt project of any size, to measure with: python -m tests.bench.generate --models
500 OUTDIR.

It is shaped like real ones: a source, staging views, then layers of models that read one to three
others, mostly views, some tables, a few incremental; all with descriptions, every fifth with tests.
It builds green on PostgreSQL and DuckDB, its profile is called ``bench``, and the same number of
models always gives the same files. Run ``dbt seed`` before ``dbt source freshness``.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tests.bench.packages import add_packages

ROWS = 200
# The layers, and how much of the project each is.
LAYERS = {
    "staging": 0.10,
    "base": 0.15,
    "intermediate": 0.25,
    "core": 0.25,
    "marts": 0.15,
    "reports": 0.10,
}
# A view on views on views is expanded by the warehouse; past this many relations people make it a
# table.
MOST_SCANS_OF_A_VIEW = 8
TABLES, INCREMENTALS = 0.15, 0.04


@dataclass(frozen=True)
class Shape:
    """What of a project is told by no number of models."""

    tested: int = 5  # every fifth model has two tests
    columns: int = 0  # that each model's documentation has besides those that it selects


PROJECT = """\
name: bench
version: "1.0.0"
config-version: 2
profile: bench

seeds:
  bench:
    +schema: raw
    +post-hook: "{{ stamp_loaded_at() }}"

models:
  bench:
"""

MACROS = {
    "stamp_loaded_at": """\
{# A seed cannot know when it was loaded, and freshness asks for it. #}
{% macro stamp_loaded_at() %}
update {{ this }}
set loaded_at = current_timestamp at time zone 'UTC'
{% endmacro %}
""",
    "money": """\
{% macro money(expression) %}cast({{ expression }} as numeric(18, 2)){% endmacro %}
""",
    "only_new": """\
{# What an incremental model has not seen yet. #}
{% macro only_new(column) %}
{% if is_incremental() %}
where {{ column }} >= (select max(seen.occurred_at) from {{ this }} as seen)
{% endif %}
{% endmacro %}
""",
}

SEEDS = """\
seeds:
  - name: events
    description: What happened in the shop.
    config:
      column_types: {amount: "numeric(18, 2)", occurred_at: timestamp, loaded_at: timestamp}
"""

SOURCES = """\
sources:
  - name: shop
    description: The shop's own database.
    schema: "{{ target.schema }}_raw"
    config:
      loaded_at_field: loaded_at
      freshness:
        warn_after: {count: 12, period: hour}
        error_after: {count: 2, period: day}
    tables:
      - name: events
        description: What happened in the shop.
"""

STAGING = """\
select
    event_id,
    customer_id,
    {{ money('amount') }} as amount,
    occurred_at
from {{ source('shop', 'events') }}
"""


@dataclass(frozen=True)
class Node:
    """A model."""

    name: str
    layer: str
    materialized: str
    parents: tuple[str, ...]
    scans: int  # relations that are read when it is

    @property
    def sql(self) -> str:
        return STAGING + self._share if self.layer == "staging" else self._config + self._join

    @property
    def _share(self) -> str:
        number = int(self.name.rpartition("_")[2])
        return f"where event_id % {2 + number % 3} <> 1\n"

    @property
    def _config(self) -> str:
        if self.materialized == "view":
            return ""
        key = ", unique_key='event_id'" if self.materialized == "incremental" else ""
        return f"{{{{ config(materialized='{self.materialized}'{key}) }}}}\n\n"

    @property
    def _join(self) -> str:
        first, *others = self.parents
        aliases = [f"other_{number}" for number in range(1, len(others) + 1)]
        amounts = ["events.amount", *(f"coalesce({alias}.amount, 0)" for alias in aliases)]
        average = f"({' + '.join(amounts)}) / {len(amounts)}" if others else amounts[0]
        lines = [
            "select",
            "    events.event_id,",
            "    events.customer_id,",
            f"    {{{{ money('{average}') }}}} as amount,",
            "    events.occurred_at",
            f"from {{{{ ref('{first}') }}}} as events",
        ]
        lines += [
            f"left join {{{{ ref('{other}') }}}} as {alias} on {alias}.event_id = events.event_id"
            for alias, other in zip(aliases, others, strict=True)
        ]
        if self.materialized == "incremental":
            lines.append("{{ only_new('events.occurred_at') }}")
        return "\n".join(lines) + "\n"

    def properties(self, columns: int, *, tested: bool) -> str:
        source = " and ".join(self.parents) or "the source"
        tests = "        data_tests: [unique, not_null]\n" if tested else ""
        return (
            f"  - name: {self.name}\n"
            f"    description: Events of the layer {self.layer}, from {source}.\n"
            f"    columns:\n"
            f"      - name: event_id\n"
            f"        description: Key.\n{tests}"
            f"      - name: amount\n"
            f"        description: The average of what it reads, in euros.\n"
            + "".join(map(_document, range(columns)))
        )


def _document(number: int) -> str:
    """A column that is documented, as people go on doing when it is no longer there."""
    return (
        f"      - name: attribute_{number:02d}\n"
        f"        description: What was known of the customer when it happened, part {number}.\n"
    )


def graph(models: int) -> list[Node]:
    """The models, each after those that it reads."""
    chance = random.Random(models)  # noqa: S311 -- the same project every time is the point
    nodes: list[Node] = []
    above: list[Node] = []  # the last layer, which a model reads first
    for layer, size in _sizes(models).items():
        made: list[Node] = []
        for number in range(size):
            name = f"{layer}_{number:03d}"
            made.append(
                _node(name, layer, above, nodes, chance)
                if above
                else Node(name, layer, "view", (), 1)
            )
        nodes += made
        above = made
    return nodes


def _sizes(models: int) -> dict[str, int]:
    """At least one model in every layer; what rounding leaves over is in the middle."""
    sizes = {layer: max(1, int(models * share)) for layer, share in LAYERS.items()}
    sizes["core"] += models - sum(sizes.values())
    return sizes


def _node(
    name: str, layer: str, above: Sequence[Node], all_above: Sequence[Node], chance: random.Random
) -> Node:
    parents = {chance.choice(above).name: None}
    parents |= {chance.choice(all_above).name: None for _ in range(chance.choice((0, 1, 1, 2)))}
    by_name = {node.name: node for node in all_above}
    scans = sum(
        by_name[parent].scans if by_name[parent].materialized == "view" else 1 for parent in parents
    )
    roll = chance.random()
    if roll < INCREMENTALS:
        materialized = "incremental"
    elif roll < INCREMENTALS + TABLES or scans > MOST_SCANS_OF_A_VIEW:
        materialized = "table"
    else:
        materialized = "view"
    return Node(name, layer, materialized, tuple(parents), scans)


def events() -> str:
    """The seed's rows."""
    chance = random.Random(ROWS)  # noqa: S311 -- as above
    lines = ["event_id,customer_id,amount,occurred_at,loaded_at"]
    moment = datetime(2025, 1, 1)  # noqa: DTZ001 -- the column is a timestamp without zone
    for number in range(1, ROWS + 1):
        moment += timedelta(minutes=chance.randint(5, 300))
        lines.append(
            f"{number},{chance.randint(1, 40)},{chance.randint(500, 20000) / 100:.2f},{moment},"
        )
    return "\n".join(lines) + "\n"


def files(models: int, shape: Shape = Shape()) -> dict[str, str]:
    """The project's files by path."""
    nodes = graph(models)
    project = PROJECT + "".join(f"    {layer}:\n      +schema: {layer}\n" for layer in LAYERS)
    found = {
        "dbt_project.yml": project,
        "seeds/_seeds.yml": SEEDS,
        "seeds/events.csv": events(),
        "models/staging/_sources.yml": SOURCES,
    }
    found |= {f"macros/{name}.sql": text for name, text in MACROS.items()}
    found |= {f"models/{node.layer}/{node.name}.sql": node.sql for node in nodes}
    for layer in LAYERS:
        properties = (
            node.properties(shape.columns, tested=number % shape.tested == 0)
            for number, node in enumerate(nodes)
            if node.layer == layer
        )
        found[f"models/{layer}/_{layer}.yml"] = "models:\n" + "\n".join(properties)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument(
        "--models", type=int, default=500, help=f"how many, at least {len(LAYERS)} (default: 500)"
    )
    parser.add_argument(
        "--packages", action="store_true", help="with a package of macros, as real projects have"
    )
    parser.add_argument(
        "--tested", type=int, default=Shape.tested, help="which share of the models has tests"
    )
    parser.add_argument(
        "--columns", type=int, default=Shape.columns, help="documented ones of each model besides"
    )
    parser.add_argument("outdir", type=Path, help="a folder that is empty or does not exist")
    arguments = parser.parse_args()
    if arguments.models < len(LAYERS):
        parser.error(f"--models must be at least {len(LAYERS)}")
    if arguments.outdir.exists() and any(arguments.outdir.iterdir()):
        parser.error(f"{arguments.outdir} is not empty")
    found = files(arguments.models, Shape(arguments.tested, arguments.columns))
    for name, text in (add_packages(found) if arguments.packages else found).items():
        path = arguments.outdir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    kinds = Counter(node.materialized for node in graph(arguments.models))
    print(
        f"{arguments.outdir}: "
        f"{', '.join(f'{count} {kind}s' for kind, count in kinds.most_common())}"
    )


if __name__ == "__main__":
    main()
