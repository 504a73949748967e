from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from dbt_operator.api.parts.steps import MOST_LEVELS, FreeForm

ADAPTER: TypeAdapter[dict[str, Any]] = TypeAdapter(FreeForm)


def nest(levels: int, innermost: Any = 1) -> Any:
    """Maps and lists within each other, by turns; the outermost is a map if there is an odd number
    of them.
    """
    value = innermost
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize("value", [{}, {"a": []}, {"a": {"b": [{"c": None}]}, "d": [[], {}]}])
def test_what_is_nested_as_usual_stays_as_it_is(value: dict[str, Any]) -> None:
    assert ADAPTER.validate_python(value) == value


def test_as_many_levels_as_there_may_be_are_taken() -> None:
    value = nest(MOST_LEVELS - 1)
    assert ADAPTER.validate_python(value) == value
    beside: dict[str, Any] = {str(number): nest(MOST_LEVELS - 1) for number in range(100)}
    assert ADAPTER.validate_python(beside) == beside


@pytest.mark.parametrize("levels", [MOST_LEVELS + 1, 10_001])
def test_one_level_more_is_refused_without_a_walk_that_fails(levels: int) -> None:
    with pytest.raises(ValidationError, match=f"nested more than {MOST_LEVELS} levels deep"):
        ADAPTER.validate_python({"beside": 1, **nest(levels)})
