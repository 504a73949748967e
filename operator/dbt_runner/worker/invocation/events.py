"""Where dbt writes, what it tells while a command runs, and what is known of its end."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from dbt_protocol.flag_variables import overrule
from dbt_runner.worker.dbt_api import Invocation
from dbt_runner.worker.failure import CannotRunError
from dbt_runner.worker.invocation.driver_errors import DriverErrors
from dbt_runner.worker.unreadable import name_unreadable_file
from dbt_runner.worker_messages import DbtEnd

_SHOWN_ERRORS = 20
_MAY_BE_LACKING = {"runtime error", "error", "partial success", "fail"}
_RAISED = ("CatchableExceptionOnRun", "InternalErrorOnRun", "GenericExceptionOnRun")


class Events:
    """Takes dbt's events: keeps the few facts the verdict needs and writes events.jsonl, info and
    above only.
    """

    def __init__(
        self,
        invocation: Invocation,
        on_first: Callable[[str], None] = lambda _: None,
        on_node: Callable[..., None] = lambda **_: None,
    ) -> None:
        invocation.folder.mkdir(parents=True, exist_ok=True)
        path = invocation.folder / "events.jsonl"
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._redactor = invocation.redactor
        self._on_first = on_first
        self._on_node = on_node
        self.invocation_id = ""
        self.expected: list[str] | None = None
        self.empty = False
        self.errors: list[str] = []
        self.raised: list[dict[str, str]] = []
        self.driver_errors = DriverErrors(invocation.redactor)
        self._said: dict[int, str] = {}  # by thread: what it has raised last
        self._batches: dict[str, list[str]] = {}  # by model: its batches that have failed

    def __call__(self, event: Any) -> None:
        """Called by dbt, in whichever of its threads, for every event including debug ones: cheap
        for those.
        """
        info = event.info
        if not self.invocation_id:
            self.invocation_id = info.invocation_id
            self._on_first(info.invocation_id)
        name = info.name
        if name in ("NodeStart", "NodeFinished"):
            self._node(name, event.data)
        elif name in _RAISED:
            self._said[threading.get_ident()] = event.data.exc
        elif name == "LogBatchResult" and event.data.status == "error":
            said = self._said.pop(threading.get_ident(), "")
            batches = self._batches.setdefault(event.data.node_info.unique_id, [])
            batches.append(f"{event.data.description}: {said}")
        if info.level not in ("debug", "test"):
            self._keep(event)

    def expect(self, nodes: Collection[str], hooks: Collection[str]) -> None:
        """Learn what is to have a result, before the first of it runs."""
        self.expected = sorted({*nodes, *hooks})
        self._on_node(total=len(nodes))

    def take_hook_error(self, hook: str, message: str) -> None:
        """Learn of a hook of which dbt leaves no result."""
        row = {"unique_id": hook, "status": "error", "message": self._redactor.text(message)}
        self.raised.append(row)

    def note_emptiness(self) -> None:
        """Learn that there is nothing to do."""
        self.empty = True

    def _node(self, name: str, data: Any) -> None:
        node = data.node_info.unique_id
        # Ephemeral models are among dbt's nodes here, but neither among those it announces nor
        # among its results.
        counts = data.node_info.materialized != "ephemeral"
        if name == "NodeStart":
            if counts:
                self._on_node(started=node)
            return
        result = data.run_result
        if counts:
            self._on_node(ended=node, status=result.status)
        # sources.json leaves out whose freshness query failed. With --fail-fast dbt may stop before
        # it has taken in the very result that it stops for, and then run_results.json has that node
        # as skipped, or does not exist.
        if result.status in _MAY_BE_LACKING and len(self.raised) < _SHOWN_ERRORS:
            batches = self._batches.get(node, [])
            message = self._redactor.text(": ".join([result.message, *batches[:1]]))
            self.raised.append({"unique_id": node, "status": result.status, "message": message})

    def _keep(self, event: Any) -> None:
        info = event.info
        message = self._redactor.text(info.msg)
        if info.level == "error" and message.strip() and len(self.errors) < _SHOWN_ERRORS:
            self.errors.append(message)
        line = {
            "ts": info.ts.ToJsonString(),
            "level": info.level,
            "name": info.name,
            "msg": message,
        }
        node = getattr(event.data, "node_info", None)
        if node is not None and node.unique_id:
            line.update(node=node.unique_id, status=node.node_status)
            if codes := self.driver_errors.find_codes(node.unique_id):
                line["codes"] = codes
        self._file.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n")


def raise_failure(result: Any, events: Events | None) -> None:
    """Check what dbt has answered.

    Raises:
        CannotRunError: it has failed.
    """
    if not result.success:
        raise CannotRunError(make_end(result, events))


def make_end(result: Any, events: Events | None, left_out: int | None = None) -> DbtEnd:
    """Make the exit code as dbt's command line does around dbtRunner: 2 if it raised, else 1."""
    error = result.exception
    if events is not None and error is not None:
        events.driver_errors.take(error, "")
    classes = [] if error is None else type(error).__mro__
    ended = DbtEnd(
        message="" if error is None else str(error),
        exit_code=0 if result.success else 2 if error else 1,
        exception=[cls.__name__ for cls in classes if cls is not object],
        left_out=left_out,
    )
    if events is None:
        return name_unreadable_file(ended)
    return name_unreadable_file(
        replace(
            ended,
            invocation_id=events.invocation_id,
            expected=events.expected,
            empty=events.empty,
            errors=events.errors,
            raised=events.raised,
            causes=events.driver_errors.list_rows(),
            logged_in=events.driver_errors.logged_in,
        )
    )


def write_to(folder: Path) -> None:
    """Make this folder dbt's target and log path: an environment variable holds for every dbt
    command.
    """
    folder.mkdir(parents=True, exist_ok=True)
    overrule(os.environ, DBT_TARGET_PATH=str(folder), DBT_LOG_PATH=str(folder))
