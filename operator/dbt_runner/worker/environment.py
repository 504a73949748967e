"""Environment validation: is the run about to write where its DbtTarget allows?

It runs in the zygote after parsing and before the first statement is sent. Checked are the schema
and database of every selected node *that writes*: models except ephemeral ones, seeds, snapshots,
functions, tests that store their failures and saved queries' exports. Every other test has a schema
too (``*_dbt_test__audit``), but writes nothing; sources are only read. What hooks and
``run-operation`` do is SQL of the project's own: it is not checked here and bounded by the
warehouse's grants only.

The functions take dbt's manifest and nodes, of which they read a few long-standing attributes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# dbt's name of the command; the others create no relations of nodes.
WRITING_COMMANDS = frozenset({"build", "run", "seed", "snapshot", "test", "clone", "retry"})

_RELATIONS = {"model", "seed", "snapshot", "function"}


class PatternError(ValueError):
    """A pattern of the DbtTarget is no regular expression."""


@dataclass(frozen=True)
class Written:
    """Where a node would be written to."""

    unique_id: str
    database: str | None
    schema: str | None


@dataclass(frozen=True)
class Allowed:
    """The DbtTarget's patterns. Each has to match from start to end, in any case, because
    warehouses fold names.
    """

    schema: re.Pattern[str] | None
    database: re.Pattern[str] | None

    @classmethod
    def of(cls, schema: str | None, database: str | None) -> Allowed:
        """Compile the patterns.

        Raises:
            PatternError: one is no regular expression.
        """
        return cls(_compile("schemaPattern", schema), _compile("databasePattern", database))

    def objection(self, written: Written) -> str:
        """What is wrong with the place, or an empty string. A warehouse without databases has no
        wrong one.
        """
        if self.schema and not self.schema.fullmatch(written.schema or ""):
            return f'schema "{written.schema}" does not match schemaPattern "{self.schema.pattern}"'
        if (
            self.database
            and written.database is not None
            and not self.database.fullmatch(written.database)
        ):
            return (
                f'database "{written.database}" does not match databasePattern '
                f'"{self.database.pattern}"'
            )
        return ""


def _compile(name: str, pattern: str | None) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern, re.IGNORECASE) if pattern else None
    except re.error as error:
        raise PatternError(
            f"the DbtTarget's {name} {pattern!r} is no regular expression: {error}"
        ) from error


def written(manifest: Any, *, store_failures: bool, exports: bool) -> Iterator[Written]:
    """Where the manifest's nodes write to.

    Args:
        manifest: dbt's.
        store_failures: ``--store-failures`` is given, which counts for tests that say nothing
            themselves.
        exports: ``--export-saved-queries`` is given.
    """
    for node in [*manifest.nodes.values(), *getattr(manifest, "functions", {}).values()]:
        if _writes(node, store_failures=store_failures):
            yield Written(node.unique_id, node.database, node.schema)
    for query in manifest.saved_queries.values() if exports else ():
        for export in query.exports:
            yield Written(
                query.unique_id, getattr(export.config, "database", None), export.config.schema_name
            )


def _writes(node: Any, *, store_failures: bool) -> bool:
    kind = str(getattr(node.resource_type, "value", node.resource_type))
    if kind == "test":
        if str(getattr(node.config, "store_failures_as", None) or "") == "ephemeral":
            return False
        own = getattr(node.config, "store_failures", None)
        return store_failures if own is None else bool(own)
    return kind in _RELATIONS and getattr(node.config, "materialized", None) != "ephemeral"


def offenders(places: Iterator[Written], allowed: Allowed) -> list[tuple[Written, str]]:
    """The nodes that would be written where they must not, each with the objection to it."""
    return [
        (place, objection)
        for place in places
        for objection in [allowed.objection(place)]
        if objection
    ]


def complaint(found: Sequence[tuple[Written, str]], selected: Collection[str]) -> str:
    """The message about those of the offenders that are selected; empty if none is."""
    wrong = [(place, objection) for place, objection in found if place.unique_id in selected]
    if not wrong:
        return ""
    named = "; ".join(f"{place.unique_id}: {objection}" for place, objection in wrong[:3])
    more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return (
        f"nothing was sent to the warehouse: {len(wrong)} selected node(s) would be written "
        f"elsewhere: {named}{more}"
    )


def wrong_target(resolved: str, wanted: str) -> str:
    """The message about a step that would run against another target of the profile; empty if it is
    the right one.
    """
    if resolved == wanted:
        return ""
    return (
        f'the profile resolves to the target "{resolved}", but the DbtTarget allows only "{wanted}"'
    )
