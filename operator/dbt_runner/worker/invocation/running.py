"""Runs dbt's commands."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from dbt.cli.main import dbtRunner

from dbt_runner.worker.dbt_api import Invocation
from dbt_runner.worker.invocation.driver_errors import watching
from dbt_runner.worker.invocation.events import Events, make_end, write_to
from dbt_runner.worker.invocation.selecting import counting_left_out, expecting, leaving_out
from dbt_runner.worker_messages import DbtEnd


def run_command(
    invocation: Invocation,
    manifest: Any,
    done: Collection[str] = (),
    on_node: Callable[..., None] = lambda **_: None,
) -> DbtEnd:
    """Run a dbt command, as :class:`dbt_runner.worker.dbt_api.DbtApi` says."""

    def adopt(invocation_id: str) -> None:
        on_node(invocation_id=invocation_id)
        if manifest is not None:
            manifest.metadata.invocation_id = invocation_id

    write_to(invocation.folder)
    events = Events(invocation, adopt, on_node)
    watched, known = watching(events.driver_errors), events.driver_errors.know
    with leaving_out(done), counting_left_out() as counts, expecting(events.expect, known), watched:
        result = dbtRunner(manifest=manifest, callbacks=[events]).invoke(invocation.argv)
    return make_end(result, events, left_out=counts[0] if counts else None)


def write_manifest(manifest: Any, path: Path) -> None:
    """Write manifest.json as it is before anything has run; complete or not at all."""
    partial = path.with_name(path.name + ".partial")
    manifest.write(str(partial))
    partial.replace(path)
