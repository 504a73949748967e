"""What becomes of a selection that names nothing: no error of dbt's, whatever a project or a run
says of warnings.

dbt warns of it in three ways, and ``--warn-error`` makes an error of the first of them. But whether
it is a failure is a matter of onEmptySelection, so dbt comes to its end and the verdict is drawn
from what it has selected. Only where a criterion names nothing and others do is it an error as any
other warning is: then something would be built, and not what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

_OF_CRITERION = "NoNodesForSelectionCriteria"
_OF_SELECTION = ("NothingToDo", "NoNodesSelected")
_MODULES = ("dbt.graph.selector", "dbt.task.list", "dbt.task.runnable")
# dbt 1.12 calls the second of them for what others call the first for.
_FUNCTIONS = ("warn_or_error", "fire_event")


@contextmanager
def allowing_emptiness(note: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Have dbt come to its end where a selection is empty.

    Args:
        note: called when dbt finds that there is nothing to do, also where it would not say so.
    """
    from dbt.graph.selector import NodeSelector

    held: list[Exception] = []  # what dbt would have raised of criteria
    original = NodeSelector.get_selected
    depth = 0

    def get_selected(self: Any, *args: Any, **kwargs: Any) -> set[str]:
        # From 1.12 on the method selector: selects within a selection.
        nonlocal depth
        depth += 1
        try:
            selected = set(original(self, *args, **kwargs))
        finally:
            depth -= 1
        if not depth and held and selected:
            raise held[0]
        return selected

    def watch(function: Any) -> Any:
        def fire(event: Any, *args: Any, **kwargs: Any) -> None:
            name = type(event).__name__
            if name not in (_OF_CRITERION, *_OF_SELECTION):
                function(event, *args, **kwargs)
                return
            if name in _OF_SELECTION:
                note()
            error = _fire(function, event, *args, **kwargs)
            if error is not None and name == _OF_CRITERION:
                held.append(error)

        return fire

    with _functions_replaced(watch):
        NodeSelector.get_selected = get_selected
        try:
            yield
        finally:
            NodeSelector.get_selected = original


def _fire(function: Any, event: Any, *args: Any, **kwargs: Any) -> Exception | None:
    """Have dbt tell of an event; what it would have raised instead, and then it is told as well."""
    from dbt_common.events.base_types import EventLevel
    from dbt_common.events.functions import fire_event
    from dbt_common.exceptions import CompilationError

    try:
        function(event, *args, **kwargs)
    except CompilationError as error:
        fire_event(event, level=EventLevel.INFO)  # a warning could be an error again
        raised: Exception = error
        return raised
    return None


@contextmanager
def _functions_replaced(make: Callable[[Any], Any]) -> Iterator[None]:
    """Replace the functions by which dbt tells of an empty selection, where it does."""
    replaced = [
        (module, name, getattr(module, name))
        for module in map(import_module, _MODULES)
        for name in _FUNCTIONS
        if hasattr(module, name)
    ]
    for module, name, function in replaced:
        setattr(module, name, make(function))
    try:
        yield
    finally:
        for module, name, function in replaced:
            setattr(module, name, function)
