"""The only module that uses dbt's Python API: load a project, ask for a selection, run a command.

It is imported by :mod:`dbt_runner.worker.main` after everything that does not need dbt is done,
because this import takes most of a small run's time. Beside the public ``dbtRunner`` it uses a few
things inside dbt, in one function each:

* :func:`load_project` replaces the body of dbt's commands by one that keeps what the command's
  decorators have loaded. So a manifest is parsed under the flags, vars and name of the very command
  that will use it, which ``dbt parse`` could not. Meanwhile it watches which values of the
  invocation the project's Jinja asks for: they are baked into the manifest.
* :func:`select_nodes` stops a command between its selection and its first statement. So it is dbt's
  own selection that is validated, not a second implementation of it.
* :func:`run_command` gives a shared manifest the ID of the invocation that uses it, takes nodes
  that are done out of the command's selection, and learns what is left of it, since that has to
  have results. dbt's own ``retry`` would forget ``--warn-error`` and what was absent from the
  results. Of a build it counts what the project keeps out of what the command line asks for.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
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
from dbt_runner.worker.failure import CannotRunError
from dbt_runner.worker_messages import DbtEnd

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
# Within Jinja's delimiters: in prose and as a column the word is common.
_LOOKS_AT_FLAGS = re.compile(
    r"\{[{%](?:(?!\}\}|%\}).)*?\b(flags|invocation_args_dict)\b", re.DOTALL
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
_SHOWN_ERRORS = 20
_MAY_BE_LACKING = {"runtime error", "error", "partial success", "fail"}


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

    def __call__(self, event: Any) -> None:
        """Called by dbt, in whichever of its threads, for every event including debug ones: cheap
        for those.
        """
        info = event.info
        if not self.invocation_id:
            self.invocation_id = info.invocation_id
            self._on_first(info.invocation_id)
        name = info.name
        if name in ("NothingToDo", "NoNodesSelected"):
            self.empty = True
        elif name in ("NodeStart", "NodeFinished"):
            self._node(name, event.data)
        if info.level not in ("debug", "test"):
            self._keep(event)

    def expect(self, nodes: Collection[str], hooks: Collection[str]) -> None:
        """Learn what is to have a result, before the first of it runs."""
        self.expected = sorted({*nodes, *hooks})
        self._on_node(total=len(nodes))

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
            message = self._redactor.text(result.message)
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
        self._file.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n")


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
        _raise_failure(dbtRunner().invoke(argv), None)
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
    _write_to(invocation.folder)
    events = Events(invocation)
    restored = _variable("DBT_PARTIAL_PARSE_FILE_PATH", str(cache) if cache else None)
    with _bodies_replaced(body), restored, _watching(asked):
        _raise_failure(dbtRunner(callbacks=[events]).invoke(invocation.argv), events)
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


def looks_at_flags(manifest: Any, project: Path) -> bool:
    """Whether the project's own code asks for the command's flags, so that another command could
    parse differently.

    dbt's and the adapter's own macros do so only while a node runs.
    """
    texts = [
        macro.macro_sql
        for macro in manifest.macros.values()
        if macro.package_name not in _built_in()
    ]
    # A flag may be why a node is disabled.
    disabled = [node for nodes in manifest.disabled.values() for node in nodes]
    texts += [getattr(node, "raw_code", "") for node in [*manifest.nodes.values(), *disabled]]
    if any(_LOOKS_AT_FLAGS.search(text or "") for text in texts):
        return True
    files = (path for pattern in ("*.yml", "*.yaml") for path in project.rglob(pattern))
    return any(
        _LOOKS_AT_FLAGS.search(path.read_text(encoding="utf-8", errors="replace")) for path in files
    )


def list_files(manifest: Any, *, built_in: bool = False) -> Iterator[Path]:
    """The files that the project and its packages were parsed from; dbt's own and the adapter's
    only if asked for.
    """
    for file in manifest.files.values():
        if built_in or file.project_name not in _built_in():
            yield Path(file.path.absolute_path)


def _built_in() -> set[str]:
    from dbt.adapters.factory import FACTORY

    return set(FACTORY.packages)


class _Selected(BaseException):
    """Carries a selection past all of dbt's handlers of Exception."""

    def __init__(self, unique_ids: frozenset[str]) -> None:
        super().__init__()
        self.unique_ids = unique_ids


def select_nodes(argv: list[str], manifest: Any, folder: Path) -> list[str]:
    """The unique IDs that this command line selects. No connection is opened.

    Raises:
        CannotRunError: dbt cannot tell, for example because a selector does not exist.
    """
    from dbt.task.runnable import GraphRunnableTask

    def stop(_: object, selected_uids: frozenset[str]) -> None:
        raise _Selected(selected_uids)

    _write_to(folder)
    original = GraphRunnableTask.execute_with_hooks
    GraphRunnableTask.execute_with_hooks = stop
    try:
        result = dbtRunner(manifest=manifest).invoke([*argv, "--quiet"])
    finally:
        GraphRunnableTask.execute_with_hooks = original
    if isinstance(result.exception, _Selected):
        return sorted(result.exception.unique_ids)
    _raise_failure(result, None)
    return []


def run_command(
    invocation: Invocation,
    manifest: Any,
    done: Collection[str] = (),
    on_node: Callable[..., None] = lambda **_: None,
) -> DbtEnd:
    """Run a dbt command.

    Args:
        invocation: the command.
        manifest: a parsed one, or None to let dbt parse.
        done: unique IDs of nodes that are left out although they are selected.
        on_node: told the ``invocation_id``, how many nodes there are (``total``) and of each that
            has ``started`` or ``ended``, by any thread.
    """

    def adopt(invocation_id: str) -> None:
        on_node(invocation_id=invocation_id)
        if manifest is not None:
            manifest.metadata.invocation_id = invocation_id

    _write_to(invocation.folder)
    events = Events(invocation, adopt, on_node)
    with _left_out(done), _narrowing() as counts, _expecting(events.expect):
        result = dbtRunner(manifest=manifest, callbacks=[events]).invoke(invocation.argv)
    return _ended(result, events, left_out=counts[0] if counts else None)


@contextmanager
def _left_out(done: Collection[str]) -> Iterator[None]:
    """Take nodes out of what dbt selects.

    Only at last: from 1.12 on the method ``selector:`` selects within a selection, whose result may
    be expanded.
    """
    from dbt.graph.selector import NodeSelector

    original = NodeSelector.get_selected
    within = False

    def get_selected(self: Any, *args: Any, **kwargs: Any) -> set[str]:
        nonlocal within
        if within:
            return set(original(self, *args, **kwargs))
        within = True
        try:
            return set(original(self, *args, **kwargs)).difference(done)
        finally:
            within = False

    NodeSelector.get_selected = get_selected
    try:
        yield
    finally:
        NodeSelector.get_selected = original


@contextmanager
def _narrowing() -> Iterator[list[int]]:
    """Count the nodes that a build leaves out although its command line asks for them.

    A selector with ``default: true`` in selectors.yml narrows a build that selects nothing. No
    indirect selection does: everything, and ``state:modified+``, has the tests in it by themselves.
    The list stays empty where ``--selector`` says what is selected.
    """
    from dbt.graph import parse_difference
    from dbt.task.build import BuildTask

    counts: list[int] = []
    original = BuildTask.get_graph_queue

    def left_out(task: Any, queue: Any) -> int:
        if not task.config.get_default_selector_name():
            return 0
        spec = parse_difference(task.selection_arg, task.exclusion_arg)
        asked_for = task.get_node_selector().get_selected(spec, warn_on_no_nodes=False)
        return len(set(asked_for).difference(queue.get_selected_nodes(), task.selected_unit_tests))

    def get_graph_queue(task: Any) -> Any:
        queue = original(task)
        if not task.args.SELECTOR:
            counts.append(left_out(task, queue))
        return queue

    BuildTask.get_graph_queue = get_graph_queue
    try:
        yield counts
    finally:
        BuildTask.get_graph_queue = original


@contextmanager
def _expecting(tell: Callable[[Collection[str], Collection[str]], None]) -> Iterator[None]:
    """Have it told which nodes and which hooks a command is about to run, and so leaves results of.

    The number that dbt prints would not do: it leaves out the unit tests of a build, and has hooks
    in it for compile and docs, but for no other command.
    """
    from dbt.task.runnable import GraphRunnableTask

    original = GraphRunnableTask.execute_with_hooks

    def execute_with_hooks(self: Any, *args: Any, **kwargs: Any) -> Any:
        nodes = {node.unique_id for node in self._flattened_nodes if not node.is_ephemeral_model}
        tell(nodes | set(getattr(self, "selected_unit_tests", ())), _hooks(self))
        return original(self, *args, **kwargs)

    GraphRunnableTask.execute_with_hooks = execute_with_hooks
    try:
        yield
    finally:
        GraphRunnableTask.execute_with_hooks = original


def _hooks(task: Any) -> set[str]:
    """The hooks that a command runs and leaves results of: sources.json has none."""
    from dbt.node_types import RunHookType
    from dbt.task.freshness import FreshnessTask
    from dbt.task.run import RunTask

    if not isinstance(task, RunTask) or isinstance(task, FreshnessTask):
        return set()
    return {hook.unique_id for when in RunHookType for hook in task.get_hooks_by_type(when)}


def write_manifest(manifest: Any, path: Path) -> None:
    """Write manifest.json as it is before anything has run; complete or not at all."""
    partial = path.with_name(path.name + ".partial")
    manifest.write(str(partial))
    partial.replace(path)


def _write_to(folder: Path) -> None:
    """Make this folder dbt's target and log path: an environment variable holds for every dbt
    command.
    """
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["DBT_TARGET_PATH"] = os.environ["DBT_LOG_PATH"] = str(folder)


def _raise_failure(result: Any, events: Events | None) -> None:
    if not result.success:
        raise CannotRunError(_ended(result, events))


def _ended(result: Any, events: Events | None, left_out: int | None = None) -> DbtEnd:
    """Make the exit code as dbt's command line does around dbtRunner: 2 if it raised, else 1."""
    error = result.exception
    classes = [] if error is None else type(error).__mro__
    ended = DbtEnd(
        message="" if error is None else str(error),
        exit_code=0 if result.success else 2 if error else 1,
        exception=[cls.__name__ for cls in classes if cls is not object],
        left_out=left_out,
    )
    if events is None:
        return ended
    return replace(
        ended,
        invocation_id=events.invocation_id,
        expected=events.expected,
        empty=events.empty,
        errors=events.errors,
        raised=events.raised,
    )
