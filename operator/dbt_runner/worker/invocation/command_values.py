"""What a command gives to what is parsed: flags, vars, the target, the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import click
import dbt.flags
from click.core import ParameterSource
from dbt.cli.flags import Flags
from dbt.utils import args_to_dict
from dbt_common.events.functions import get_metadata_vars

from dbt_runner.worker.parse_reads import Values

# Flags that take no part in parsing: what is selected, how it is run, what is shown, where things
# are, of which dbt compares the content. Whether dbt reads a body without rendering it changes
# nothing of what it finds there.
_NOT_PARSED = frozenset(
    {
        "select",
        "exclude",
        "selector",
        "models",
        "resource_types",
        "resource_type",
        "exclude_resource_types",
        "exclude_resource_type",
        "indirect_selection",
        "fail_fast",
        "threads",
        "event_time_start",
        "event_time_end",
        "sample",
        "static",
        "compile",
        "empty_catalog",
        "output",
        "output_keys",
        "show",
        "quiet",
        "print",
        "log_level",
        "log_level_file",
        "log_format",
        "log_format_file",
        "use_colors",
        "state",
        "defer",
        "defer_state",
        "favor_state",
        "macro",
        "args",
        "cache_selected_only",
        "populate_cache",
        "write_json",
        "printer_width",
        "project_dir",
        "profiles_dir",
        "target_path",
        "log_path",
        "partial_parse_file_path",
        "static_parser",
    }
)
_READ = "vars"  # which no parse need have read
_GIVEN = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


def find_flags(ctx: click.Context) -> dict[str, str]:
    """The flags that can change what is parsed and are given, on the command line or in the
    environment.
    """
    found: dict[str, str] = {}
    level: click.Context | None = ctx
    while level:
        for name, value in level.params.items():
            is_given = level.get_parameter_source(name) in _GIVEN
            if is_given and name not in _NOT_PARSED and name != _READ:
                found[name] = repr(value)
        level = level.parent
    return found


def find_values(ctx: click.Context) -> Values | None:
    """The values of a command that has not begun, but for the target; None if dbt cannot tell, of
    which it will complain when it parses.
    """
    before = dbt.flags.get_flags()
    try:
        flags = Flags(ctx)
        dbt.flags.set_flags(flags)
        return make_values(flags, None)
    except Exception:  # noqa: BLE001 - whatever it is, dbt meets it again
        return None
    finally:
        dbt.flags.set_flags(before)


def make_values(flags: Any, target: Mapping[str, Any] | None) -> Values:
    """The values of the command whose flags are dbt's at the moment."""
    roots: dict[str, Mapping[str, Any]] = {
        "dbt_metadata_envs": get_metadata_vars(),
        "env_var": dict(os.environ),
        "flags": vars(dbt.flags.get_flag_obj()),
        "invocation_args_dict": args_to_dict(flags),
        "var": getattr(flags, "VARS", None) or {},
    }
    if target is not None:
        roots["target"] = target
    return Values(roots, getattr(flags, "THREADS", None))
