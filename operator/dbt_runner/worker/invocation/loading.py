"""Loads a project as a command would, and nothing more."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from dbt.cli import requires
from dbt.cli.main import cli, dbtRunner
from jinja2 import pass_context
from jinja2.filters import FILTERS
from jinja2.runtime import Context

from dbt_runner.worker.dbt_api import Invocation, Loaded
from dbt_runner.worker.invocation.events import Events, raise_failure, write_to

# Flags that take no part in parsing: what is selected, how it is run, what is shown.
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
    }
)
# What of dbt's context differs from one invocation to the next though vars, profile, files and the
# variables asked for by env_var() are the same, which dbt compares itself; and what such a value
# can be got at by. Flags are looked for in the project's text.
_OF_INVOCATION = frozenset(
    {
        "run_started_at",
        "invocation_id",
        "modules",  # datetime
        "thread_id",
        "dbt_metadata_envs",
        "builtins",
        "context",
        "lipsum",  # Jinja's, and random
    }
)


def find_parse_flags(argv: list[str]) -> dict[str, str]:
    """The flags of a dbt command line that can change what is parsed, by dbt's names for them.

    Raises:
        CannotRunError: dbt does not understand the command line.
    """
    found: dict[str, str] = {}

    def look(ctx: click.Context, **_: object) -> tuple[None, bool]:
        level: click.Context | None = ctx
        while level:
            for name, value in level.params.items():
                if (
                    level.get_parameter_source(name) is ParameterSource.COMMANDLINE
                    and name not in _NOT_PARSED
                ):
                    found[name] = repr(value)
            level = level.parent
        return None, True

    with _bodies_replaced(look):
        raise_failure(dbtRunner().invoke(argv), None)
    return found


def load_project(invocation: Invocation, cache: Path | None = None) -> Loaded:
    """Parse the project as this command line would.

    Args:
        invocation: what dbt can reuse the next time is left in its folder.
        cache: what an earlier parse has left, to begin with.

    Raises:
        CannotRunError: profile, project or the parse failed.
    """
    loaded: list[Loaded] = []
    asked: set[str] = set()

    def keep(ctx: click.Context, **_: object) -> tuple[None, bool]:
        flags = ctx.obj["flags"]
        if getattr(flags, "USE_V2_PARSER", False):
            asked.add("another parser, which nobody watches,")
        loaded.append(
            Loaded(
                manifest=ctx.obj["manifest"],
                target=ctx.obj["profile"].target_name,
                store_failures=bool(getattr(flags, "STORE_FAILURES", False)),
                exports=bool(getattr(flags, "EXPORT_SAVED_QUERIES", False)),
                asked=asked,
            )
        )
        return None, True

    body: Any = requires.manifest(write=False)(keep)
    body = requires.runtime_config(body)
    if hasattr(requires, "catalogs"):  # up to 1.11; then the manifest's decorator loads them
        body = requires.catalogs(body)
    for decorate in (requires.project, requires.profile, requires.preflight, requires.postflight):
        body = decorate(body)
    write_to(invocation.folder)
    events = Events(invocation)
    restored = _variable("DBT_PARTIAL_PARSE_FILE_PATH", str(cache) if cache else None)
    with _bodies_replaced(body), restored, _watching(asked):
        raise_failure(dbtRunner(callbacks=[events]).invoke(invocation.argv), events)
    metadata = loaded[0].manifest.metadata
    # Of this run, not of the one that a cached manifest was parsed in.
    metadata.env = type(metadata)().env
    return loaded[0]


@contextmanager
def _variable(name: str, value: str | None) -> Iterator[None]:
    """Set a variable of the environment for a while, if there is a value."""
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        if value is not None:
            del os.environ[name]


@contextmanager
def _watching(asked: set[str]) -> Iterator[None]:
    """Note which values of the invocation any Jinja asks for: of models, of macros that they call,
    of YAML.

    A template or macro asks for all its names when it begins, also for those behind an ``if`` that
    does not hold. What a partial parse takes over from a cache is not rendered again, but no parse
    that has asked is ever cached.
    """
    resolve, random = Context.resolve_or_missing, FILTERS["random"]

    def watched_resolve(context: Context, key: str) -> Any:
        if key in _OF_INVOCATION:
            asked.add(key)
        return resolve(context, key)

    @pass_context
    def watched_random(*args: Any) -> Any:
        asked.add("random")
        return random(*args)

    Context.resolve_or_missing = watched_resolve  # type: ignore[assignment,method-assign]
    FILTERS["random"] = watched_random
    try:
        yield
    finally:
        Context.resolve_or_missing = resolve  # type: ignore[method-assign]
        FILTERS["random"] = random


@contextmanager
def _bodies_replaced(body: Callable[..., Any]) -> Iterator[None]:
    """Let every dbt command call ``body`` with its click context, instead of doing its work."""
    commands = list(_commands(cli))
    original = [command.callback for command in commands]
    for command in commands:
        command.callback = click.pass_context(body)
    try:
        yield
    finally:
        for command, callback in zip(commands, original):
            command.callback = callback


def _commands(group: Any) -> Iterator[Any]:
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from _commands(command)
        else:
            yield command
