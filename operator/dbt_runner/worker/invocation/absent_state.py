"""What is selected by a comparison with a state that is not there.

Without a state everything is still to be built. So what selects changes selects everything then,
and what selects the rest selects nothing; dbt itself puts that together with the rest of a
selector, which may intersect and exclude. The operator does the same with what stands in a spec,
but does not see selectors.yml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

_UNCHANGED = ("old", "unmodified")
_CHANGED = ("new", "modified")  # and modified.body and the like
_DONE = ("success", "pass", "no-op", "reused")  # results of what need not be done again
_FRESHER = "fresher"  # the only status of sources that dbt knows


@contextmanager
def assuming_changes(*, allowed: bool, foreseeing: bool = False) -> Iterator[None]:
    """Have dbt take everything for changed where it lacks the state.

    Args:
        allowed: otherwise dbt fails, as it does by itself.
        foreseeing: how old the sources are is not known yet, so all of them may be fresher.
    """
    from dbt.graph import selector_methods as methods

    state, result = methods.StateSelectorMethod, methods.ResultSelectorMethod
    originals = {
        method: method.search for method in (state, result, methods.SourceStatusSelectorMethod)
    }
    compare = originals[state]
    assumptions = {
        state: _Assumption("manifest", lambda *args: _find_changed(compare, *args), allowed),
        result: _Assumption("results", _find_undone, allowed),
        methods.SourceStatusSelectorMethod: _Assumption(
            "sources", _find_fresher, allowed, always=foreseeing
        ),
    }
    for method, assumption in assumptions.items():
        method.search = assumption.replace(originals[method])
    try:
        yield
    finally:
        for method, original in originals.items():
            method.search = original


@dataclass(frozen=True)
class _Assumption:
    """What a method of dbt's finds where the part of the state is lacking that it compares with."""

    part: str
    find: Callable[[Any, set[str], str], Iterable[str]]
    allowed: bool
    always: bool = False

    def replace(self, original: Any) -> Any:
        """The method's search, with the assumption."""

        def search(method: Any, nodes: set[str], value: str) -> Iterator[str]:
            find = self.find if self._holds(method.previous_state) else original
            yield from find(method, nodes, value)

        return search

    def _holds(self, state: Any) -> bool:
        if state is None and not self.allowed:
            raise _make_refusal()
        is_lacking = getattr(state, self.part, None) is None
        return self.always or (self.allowed and is_lacking)


def _find_changed(compare: Any, method: Any, nodes: set[str], value: str) -> Iterable[str]:
    method.previous_state = SimpleNamespace(manifest=_make_empty_manifest())
    found = set(compare(method, nodes, value))  # refuses what is no value
    if value.partition(".")[0] in _CHANGED:
        return _list_all(method, nodes)
    return () if value in _UNCHANGED else found


def _find_undone(method: Any, nodes: set[str], value: str) -> Iterable[str]:
    return () if value in _DONE else _list_all(method, nodes)


def _find_fresher(method: Any, nodes: set[str], value: str) -> Iterable[str]:
    return _list_all(method, nodes) if value == _FRESHER else ()


def _list_all(method: Any, nodes: set[str]) -> set[str]:
    return {unique_id for unique_id, _ in method.all_nodes(nodes)}


def _make_empty_manifest() -> Any:
    from dbt.contracts.graph.manifest import Manifest

    return Manifest()


def _make_refusal() -> Exception:
    from dbt_common.exceptions import DbtRuntimeError

    refusal: Exception = DbtRuntimeError(
        "the selection compares with a state, and the run has none"
    )
    return refusal
