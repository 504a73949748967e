"""What the dbt container prints: dbt's lines and the runner's own, all of them without secrets."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from dbt_runner.redact import Known, Redactor

_LINE_LIMIT = 1 << 20  # bytes without a line's end that are passed on nevertheless


class Output:
    """Prints whole lines: a secret that comes in two pieces would not be recognized."""

    def __init__(self, redactor: Redactor) -> None:
        self.redactor = redactor
        self._rest = bytearray()  # of a line that has not got its end yet

    def learn_secrets(self, secrets: Iterable[str]) -> None:
        """Take these secrets, which are exact, in place of those that were scanned for."""
        self.redactor = Redactor(secrets, self.redactor.known)

    def learn_words(self, known: Known) -> None:
        """Take in what the project says, by which its words are told from secrets."""
        self.redactor = self.redactor.knowing(known)

    def pass_on(self, data: bytes | None) -> None:
        """Print those of dbt's lines that are complete; None is the end, and prints the rest."""
        whole, newline, rest = (data or b"").rpartition(b"\n")
        if newline:
            lines, self._rest = bytes(self._rest + whole), bytearray(rest)
        else:
            lines = b""
            self._rest += rest
        if data is None or len(self._rest) > _LINE_LIMIT:
            lines, self._rest = lines + newline + self._rest, bytearray()
            newline = b"\n" if lines and not lines.endswith(b"\n") else b""
        if lines:
            _print(self.redactor.data(lines) + newline)

    def say(self, text: str) -> None:
        """Print a line of the runner's own."""
        _print(f"dbt-operator: {self.redactor.text(text)}\n".encode())


def _print(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
