"""Which of the results of dbt 2 are believed.

Seen of 2.0.0-alpha.4: after a hook has failed, or an interrupt, each node has the result "error",
also one that was built; and a unit test that broke down has none. So a result counts where the log
tells the same of the node's end, and the node was listed before the step. That one has failed is
believed if only the log says so; that one was built is not, and then it lacks a result and the step
does not succeed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from dbt_runner.artifact_files import RUN_RESULTS
from dbt_runner.json_files import read_results, write_json
from dbt_runner.worker.command.node_events import NodeEvents

_BUILT = ("success", "pass", "warn", "no-op", "reused")
_STATEMENT, _STATEMENT_END = "Failed to execute query '", "': "
# Commands that build nothing, whose results are empty: there the log has to do.
_ONLY_LOGGED = ("compile",)


def keep_believed(
    folder: Path, command: str, events: NodeEvents, listed: Collection[str] | None
) -> None:
    """Have dbt's results hold what is believed of them, before anybody reads them.

    Args:
        folder: dbt's target path.
        command: the first word of its command line.
        events: what its log has told.
        listed: what it was to build, by ``dbt list``; None if that was not asked.
    """
    document = read_results(folder / RUN_RESULTS)
    if document is None:
        return
    rows = {str(row["unique_id"]): row for row in document["results"]}
    confirmed = (row for row in _confirm(rows, events) if _may_have(row, listed))
    believed = [*confirmed, *_add(rows, events, command)]
    write_json(folder / RUN_RESULTS, {**document, "results": believed})


def _confirm(
    rows: Mapping[str, Mapping[str, Any]], events: NodeEvents
) -> Iterator[Mapping[str, Any]]:
    """The results that the log confirms."""
    for unique_id, row in rows.items():
        if row.get("status") == events.ended.get(unique_id):
            yield {**row, "message": _clarify(row)}


def _may_have(row: Mapping[str, Any], listed: Collection[str] | None) -> bool:
    """Whether a node can have been built at all: what was not to be is not counted."""
    return listed is None or row["status"] not in _BUILT or row["unique_id"] in listed


def _add(
    rows: Mapping[str, Mapping[str, Any]], events: NodeEvents, command: str
) -> Iterator[Mapping[str, Any]]:
    """What only the log tells. dbt 2 has no results of hooks at all."""
    for unique_id, status in events.ended.items():
        is_enough = status not in _BUILT or command in _ONLY_LOGGED
        is_hook = unique_id.startswith("operation.")
        if unique_id not in rows and (is_enough or is_hook):
            yield {"unique_id": unique_id, "status": status, "message": _explain(unique_id, events)}


def _clarify(row: Mapping[str, Any]) -> str:
    """The message of a result, without the statement that dbt 2 puts before what is wrong with it,
    and of a test more than its status.
    """
    message, failures = str(row.get("message") or ""), row.get("failures")
    if isinstance(failures, int) and row.get("status") in ("fail", "warn"):
        return f"Got {failures} results that the test is not to have"
    before, begin, rest = message.partition(_STATEMENT)
    _, end, wrong = rest.rpartition(_STATEMENT_END)
    return f"{before}{wrong}" if begin and end else message


def _explain(unique_id: str, events: NodeEvents) -> str:
    """What was said of a node; of a hook dbt does not say which one an error is about."""
    return events.said.get(unique_id) or next(iter(events.errors), "")
