"""Runs dbt's commands."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dbt.cli.main import dbtRunner

from dbt_runner.worker.dbt_api import Done, Invocation
from dbt_runner.worker.invocation.absent_state import assuming_changes
from dbt_runner.worker.invocation.batches_done import leaving_out_batches
from dbt_runner.worker.invocation.driver_errors import watching
from dbt_runner.worker.invocation.emptiness import allowing_emptiness
from dbt_runner.worker.invocation.events import Events, make_end, write_to
from dbt_runner.worker.invocation.hook_errors import telling_of_hooks
from dbt_runner.worker.invocation.selecting import counting_left_out, expecting, leaving_out
from dbt_runner.worker_messages import DbtEnd


def run_command(
    invocation: Invocation,
    manifest: Any,
    done: Done = Done(),  # noqa: B008 -- it cannot change
    on_node: Callable[..., None] = lambda **_: None,
) -> DbtEnd:
    """Run a dbt command, as :class:`dbt_runner.worker.dbt_api.DbtApi` says."""

    def adopt(invocation_id: str) -> None:
        on_node(invocation_id=invocation_id)
        if manifest is not None:
            manifest.metadata.invocation_id = invocation_id

    write_to(invocation.folder)
    events = Events(invocation, adopt, on_node)
    known = events.driver_errors.know
    with ExitStack() as stack:
        stack.enter_context(allowing_emptiness(events.note_emptiness))
        stack.enter_context(assuming_changes(allowed=invocation.may_lack_state))
        stack.enter_context(leaving_out(done.nodes))
        stack.enter_context(leaving_out_batches(done.batches))
        counts = stack.enter_context(counting_left_out())
        stack.enter_context(expecting(events.expect, known))
        stack.enter_context(watching(events.driver_errors))
        stack.enter_context(telling_of_hooks(events.take_hook_error))
        result = dbtRunner(manifest=manifest, callbacks=[events]).invoke(invocation.argv)
    return make_end(result, events, left_out=counts[0] if counts else None)


def write_manifest(manifest: Any, path: Path) -> None:
    """Write manifest.json as it is before anything has run; complete or not at all."""
    partial = path.with_name(path.name + ".partial")
    manifest.write(str(partial))
    partial.replace(path)
