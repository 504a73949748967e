"""Sends something, and leaves no connection open behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run something in a loop of its own, until all its connections are closed: those with TLS take
    leave of each other after the call that closes them, for which the notifier's own loop is there.
    """
    return asyncio.run(_run(work))


async def _run(work: Coroutine[Any, Any, Result]) -> Result:
    try:
        return await work
    finally:
        # One is the loop's own, which wakes it up.
        selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]  # noqa: SLF001 -- nobody else knows
        while len(selector.get_map()) > 1:  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0.01)
        await asyncio.sleep(0)
