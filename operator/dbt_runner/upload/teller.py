"""Prints how far the run is, where the operator can read it: the last line of the sidecar's log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dbt_protocol.summaries import Progress
from dbt_runner.deadline import Deadline
from dbt_runner.volume import Volume

LINE_SECONDS = 2.0
_FILE_BYTES = 1 << 20


class Teller:
    """The sidecar's side: prints the count when it has changed."""

    def __init__(
        self, path: Path, seconds: float = LINE_SECONDS, say: Callable[[str], None] | None = None
    ) -> None:
        self._path = path
        self._volume = Volume(path.parent)
        self._seconds = seconds
        self._say = say or _print
        self._told = Progress()
        self._due = Deadline(0)

    def look(self) -> None:
        """Print the count if it is another one, and some time has passed since the last line."""
        if not self._due.passed:
            return
        try:
            found = Progress.from_json(self._volume.read(self._path, _FILE_BYTES).decode())
        except (OSError, ValueError):  # ProtocolError and UnicodeDecodeError are ValueErrors
            return
        if found != self._told:
            self._told = found
            self._due = Deadline(self._seconds)
            self._say(found.to_line())


def _print(line: str) -> None:
    print(line, flush=True)
