"""Reading lines that arrive in pieces."""

from __future__ import annotations


class LineBuffer:
    """Puts lines together. A piece is copied once, however long its line is and in however many
    pieces it comes.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of a line that has not got its end yet

    def add(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, without their ends."""
        first, *others = data.split(b"\n")
        self._pieces.append(first)
        if not others:
            return []
        lines = [b"".join(self._pieces), *others[:-1]]
        self._pieces = [others[-1]]
        return lines
