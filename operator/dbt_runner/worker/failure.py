"""Why no step can be run, on its way to the supervisor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dbt_runner.worker_messages import DbtEnd, Failed


class CannotRunError(Exception):
    """No step can be run; ``end`` says why, and ``step`` which one that is about, once known."""

    def __init__(self, end: DbtEnd) -> None:
        super().__init__(end.message)
        self.end = end
        self.step: int | None = None

    def make_message(self, parses: int = 0) -> Failed:
        """What the supervisor is told.

        Args:
            parses: how often the project was parsed.
        """
        return Failed(step=self.step or 0, parses=parses, **self.end.list_fields())


@contextmanager
def name_step(number: int) -> Iterator[None]:
    """Have a failure say which step it is about, unless it is about another one."""
    try:
        yield
    except CannotRunError as error:
        if error.step is None:
            error.step = number
        raise
