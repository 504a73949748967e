"""What a command selects: found without running it, narrowed, and told before it runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dbt.cli.main import dbtRunner

from dbt_runner.worker.invocation.absent_state import assuming_changes
from dbt_runner.worker.invocation.emptiness import allowing_emptiness
from dbt_runner.worker.invocation.events import raise_failure, write_to

_SLIM = ("state:modified+",)


class _Selected(BaseException):
    """Carries a selection past all of dbt's handlers of Exception."""

    def __init__(self, unique_ids: frozenset[str]) -> None:
        super().__init__()
        self.unique_ids = unique_ids


def select_nodes(
    argv: list[str], manifest: Any, folder: Path, *, may_lack_state: bool = False
) -> list[str]:
    """The unique IDs that this command line selects. No connection is opened.

    Args:
        argv: the command line.
        manifest: the parsed one.
        folder: where dbt writes meanwhile.
        may_lack_state: everything is taken for changed where there is no state.

    Raises:
        CannotRunError: dbt cannot tell, for example because a selector does not exist.
    """
    from dbt.task.runnable import GraphRunnableTask

    def stop(_: object, selected_uids: frozenset[str]) -> None:
        raise _Selected(selected_uids)

    write_to(folder)
    original = GraphRunnableTask.execute_with_hooks
    GraphRunnableTask.execute_with_hooks = stop
    try:
        known = assuming_changes(allowed=may_lack_state, foreseeing=True)
        with allowing_emptiness(), known:
            result = dbtRunner(manifest=manifest).invoke([*argv, "--quiet"])
    finally:
        GraphRunnableTask.execute_with_hooks = original
    if isinstance(result.exception, _Selected):
        return sorted(result.exception.unique_ids)
    raise_failure(result, None)
    return []


@contextmanager
def leaving_out(done: Collection[str]) -> Iterator[None]:
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
def counting_left_out() -> Iterator[list[int]]:
    """Count the nodes that a build leaves out although its command line asks for them.

    A selector with ``default: true`` in selectors.yml narrows a build that selects nothing. No
    indirect selection does: everything, and ``state:modified+``, has the tests in it by themselves.
    Where ``--selector`` says what is selected, the list stays empty unless that has everything in
    it, or all that has changed since the state.
    """
    from dbt.graph import parse_difference
    from dbt.task.build import BuildTask

    counts: list[int] = []
    original = BuildTask.get_graph_queue

    def left_out(task: Any, queue: Any) -> int:
        is_named = bool(task.args.SELECTOR)
        if not is_named and not task.config.get_default_selector_name():
            return 0
        is_compared = is_named and getattr(task.previous_state, "manifest", None) is not None
        selection = _SLIM if is_compared else task.selection_arg
        spec = parse_difference(selection, task.exclusion_arg)
        asked_for = task.get_node_selector().get_selected(spec, warn_on_no_nodes=False)
        return len(set(asked_for).difference(queue.get_selected_nodes(), task.selected_unit_tests))

    def get_graph_queue(task: Any) -> Any:
        queue = original(task)
        count = left_out(task, queue)
        if not task.args.SELECTOR or not count:
            counts.append(count)
        return queue

    BuildTask.get_graph_queue = get_graph_queue
    try:
        yield counts
    finally:
        BuildTask.get_graph_queue = original


@contextmanager
def expecting(
    tell: Callable[[Collection[str], Collection[str]], None],
    know: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> Iterator[None]:
    """Have it told which nodes and which hooks a command is about to run, and so leaves results of.

    The number that dbt prints would not do: it leaves out the unit tests of a build, and has hooks
    in it for compile and docs, but for no other command.
    """
    from dbt.task.runnable import GraphRunnableTask

    original = GraphRunnableTask.execute_with_hooks

    def execute_with_hooks(self: Any, *args: Any, **kwargs: Any) -> Any:
        nodes = {node.unique_id for node in self._flattened_nodes if not node.is_ephemeral_model}
        know(self.manifest.nodes)
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
