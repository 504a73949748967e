"""Reads a manifest.json entry by entry.

That of a large project takes ten times its size once it is parsed, and the sidecar has little
memory. So no more than one node is held at a time, with a part of the file.
"""

from __future__ import annotations

import codecs
import json
import time
from collections.abc import Collection, Iterator
from typing import Any, BinaryIO

_CHUNK = 1 << 20  # bytes
# Characters. A node holds its own code, compiled and not.
_LONGEST_ENTRY = 4 << 20
_BLANKS = " \t\r\n"
_DECODER = json.JSONDecoder()


def scan_sections(
    file: BinaryIO, sections: Collection[str], deadline: float
) -> Iterator[tuple[str, str, Any]]:
    """The entries of the named sections, each with its section and its key.

    Args:
        file: a JSON object of objects.
        sections: names of those that are wanted; the others are read and passed over.
        deadline: on the monotonic clock, in seconds.

    Raises:
        ValueError: it is no such file, an entry is too long, or the time is over.
        OSError: it cannot be read.
    """
    text = _Text(file, deadline)
    for section in text.walk_keys():
        if text.peek() != "{":
            text.value()
            continue
        for key in text.walk_keys():
            value = text.value()
            if section in sections:
                yield section, key, value


class _Text:
    """The part of the file that is looked at."""

    def __init__(self, file: BinaryIO, deadline: float) -> None:
        self._file = file
        self._deadline = deadline
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._held = ""
        self._at = 0
        self._is_whole = False  # nothing more comes

    def walk_keys(self) -> Iterator[str]:
        """The keys of the object that begins here; after each, its value is to be read."""
        self._take("{")
        if self.peek() == "}":
            self._take("}")
            return
        while True:
            key = self.value()
            if not isinstance(key, str):
                raise ValueError("a key is no text")  # noqa: TRY004 - of a file, not of a caller
            self._take(":")
            yield key
            if self.peek() == "}":
                break
            self._take(",")
        self._take("}")

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            while self._at < len(self._held) and self._held[self._at] in _BLANKS:
                self._at += 1
            if self._at < len(self._held):
                return self._held[self._at]
            if not self._read_on(_CHUNK):
                return ""

    def value(self) -> Any:
        """Whatever begins here, parsed."""
        self.peek()
        more = _CHUNK
        while True:
            try:
                found, end = _DECODER.raw_decode(self._held, self._at)
            except RecursionError:
                raise ValueError("it is nested too deeply") from None
            except ValueError:
                if not self._read_on(more):
                    raise
            else:
                # A number may go on beyond what is held.
                if end < len(self._held) or not self._read_on(more):
                    self._at = end
                    return found
            more *= 2

    def _take(self, character: str) -> None:
        if self.peek() != character:
            raise ValueError(f"there is no {character!r} where one has to be")
        self._at += 1

    def _read_on(self, size: int) -> bool:
        """Hold more of the file, and no more than is needed; whether there is more."""
        if time.monotonic() > self._deadline:
            raise ValueError("there was no time to read all of it")
        data = b"" if self._is_whole else self._file.read(size)
        if not data:
            self._is_whole = True
            return False
        self._held = self._held[self._at :] + self._decode(data)
        self._at = 0
        if len(self._held) > _LONGEST_ENTRY + _CHUNK:
            raise ValueError(f"an entry has more than {_LONGEST_ENTRY} characters")
        return True
