"""Loads a project as a command would, and nothing more."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import click
from dbt.cli import requires
from dbt.cli.main import cli, dbtRunner

from dbt_runner.worker.dbt_api import Asked, Invocation, KeptParse, Loaded
from dbt_runner.worker.invocation.command_values import find_flags, find_values
from dbt_runner.worker.invocation.events import Events, raise_failure, write_to
from dbt_runner.worker.invocation.partial_parsing import Beginning, choosing
from dbt_runner.worker.invocation.read_recorder import recording

_RESTORED = "restored.msgpack"  # in dbt's target path


def find_asked(argv: list[str]) -> Asked:
    """What a dbt command line asks of a parse.

    Raises:
        CannotRunError: dbt does not understand the command line.
    """
    found: list[Asked] = []

    def look(ctx: click.Context, **_: object) -> tuple[None, bool]:
        found.append(Asked(find_flags(ctx), find_values(ctx)))
        return None, True

    with _bodies_replaced(look):
        raise_failure(dbtRunner().invoke(argv), None)
    return found[0]


def load_project(
    invocation: Invocation, flags: dict[str, str], kept: Sequence[KeptParse] = ()
) -> Loaded:
    """Parse the project as this command line would, as
    :class:`dbt_runner.worker.dbt_api.DbtApi` says.
    """
    loaded: list[dict[str, Any]] = []

    def keep(ctx: click.Context, **_: object) -> tuple[None, bool]:
        obj = ctx.obj
        if getattr(obj["flags"], "USE_V2_PARSER", False):
            recorder.note("another parser, which nobody watches,")
        loaded.append(
            {
                "manifest": obj["manifest"],
                "target": obj["profile"].target_name,
                "store_failures": bool(getattr(obj["flags"], "STORE_FAILURES", False)),
                "exports": bool(getattr(obj["flags"], "EXPORT_SAVED_QUERIES", False)),
            }
        )
        return None, True

    write_to(invocation.folder)
    events = Events(invocation)
    path = invocation.folder / _RESTORED
    path.touch()  # dbt wants a file there, also if it is gone when it is looked for
    with ExitStack() as stack:
        stack.enter_context(_bodies_replaced(_decorate(keep)))
        stack.enter_context(_variable("DBT_PARTIAL_PARSE_FILE_PATH", str(path)))
        recorder = stack.enter_context(recording())
        beginning = Beginning(flags, kept, path, recorder)
        stack.enter_context(choosing(beginning))
        raise_failure(dbtRunner(callbacks=[events]).invoke(invocation.argv), events)
    manifest = loaded[0]["manifest"]
    # Of this run, not of the one that a cached manifest was parsed in.
    manifest.metadata.env = type(manifest.metadata)().env
    return Loaded(
        **loaded[0],
        values=beginning.values,
        record=beginning.make_record(manifest),
        begun_with=beginning.begun_with,
    )


def _decorate(body: Callable[..., Any]) -> Any:
    """Have a command load what it would before it does its work."""
    body = requires.manifest(write=False)(body)
    body = requires.runtime_config(body)
    if hasattr(requires, "catalogs"):  # up to 1.11; then the manifest's decorator loads them
        body = requires.catalogs(body)
    for decorate in (requires.project, requires.profile, requires.preflight, requires.postflight):
        body = decorate(body)
    return body


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment for a while."""
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


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
