"""Prints what dbt prints, and keeps the last of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, MutableSequence

from dbt_runner.worker.command.node_events import NodeEvents

_TIME = re.compile(r"^\d\d:\d\d:\d\d(\.\d+)?\s+")


class Printer:
    """Takes dbt's output."""

    def __init__(
        self, lines: MutableSequence[str], events: NodeEvents | None, *, hides_answers: bool
    ) -> None:
        """Begin.

        Args:
            lines: where they are kept, without the time.
            events: reads a log that is JSON; None: it is text.
            hides_answers: what is asked for is kept, and not printed.
        """
        self._lines = lines
        self._events = events
        self._hides_answers = hides_answers
        self.count = 0  # of the lines that have come

    def pass_on(self, output: Iterable[bytes]) -> None:
        """Print it up to its end."""
        for data in output:
            self._pass_on_line(data)
            self.count += 1

    def _pass_on_line(self, data: bytes) -> None:
        if self._events is None:
            text = _TIME.sub("", data.decode(errors="replace").rstrip())
            self._lines.append(text)
            if not (self._hides_answers and text.startswith("{")):
                _print(data)
            return
        told = self._events.take(data)
        # One message of the log may be several lines.
        self._lines.extend(told.text.splitlines())
        if told.text and not (self._hides_answers and told.level != "error"):
            _print(f"{told.text}\n".encode(errors="replace"))


def _print(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
