"""Hooks that raise while dbt renders them, with which it gives up without a result of theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def telling_of_hooks(tell: Callable[[str, str], None]) -> Iterator[None]:
    """Have it told of a hook that raises while it is rendered: its unique ID, and the message.

    One whose statement fails has a result, which says so.
    """
    from dbt.task.run import RunTask

    original = RunTask.get_hook_sql

    def get_hook_sql(self: Any, adapter: Any, hook: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, adapter, hook, *args, **kwargs)
        except Exception as error:
            tell(hook.unique_id, str(error))
            raise

    RunTask.get_hook_sql = get_hook_sql
    try:
        yield
    finally:
        RunTask.get_hook_sql = original
