"""All that the rest of the worker asks of dbt: :class:`dbt_runner.worker.dbt_api.DbtApi`.

It is imported by :mod:`dbt_runner.worker.main` after everything that does not need dbt is done,
because this import takes most of a small run's time.
"""

from __future__ import annotations

from dbt_runner.worker.invocation.flag_files import check_flag_files, overrule_flags
from dbt_runner.worker.invocation.loading import find_asked, load_project
from dbt_runner.worker.invocation.running import run_command, write_manifest
from dbt_runner.worker.invocation.selecting import select_nodes
from dbt_runner.worker.invocation.sources import list_files

__all__ = [
    "check_flag_files",
    "find_asked",
    "list_files",
    "load_project",
    "overrule_flags",
    "run_command",
    "select_nodes",
    "write_manifest",
]
