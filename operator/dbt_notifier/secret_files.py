"""The Secrets of channels, which are files. They are read at each send, so that one that has been
changed counts without a restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_LARGEST = 1024 * 1024  # bytes; a Secret is no larger


class MissingKeyError(Exception):
    """A Secret has no such key; the message says what to do."""


@dataclass(frozen=True)
class SecretFiles:
    """The Secret of one channel."""

    folder: Path

    def read(self, key: str) -> str:
        """A key of it, without the newline that many files end with.

        Raises:
            MissingKeyError: there is none, or it is no text.
        """
        if (found := self.find(key)) is None:
            raise MissingKeyError(
                f"the Secret of channel {self.folder.name} has no key {key}: add it"
            )
        return found

    def find(self, key: str) -> str | None:
        """The same; None where there is no such key, or nothing in it.

        Raises:
            MissingKeyError: it is no text.
        """
        try:
            with (self.folder / key).open("rb") as file:
                found = file.read(_LARGEST).decode().strip()
        except OSError:
            return None
        except UnicodeDecodeError:
            raise MissingKeyError(
                f"key {key} in the Secret of channel {self.folder.name} is no text in UTF-8"
            ) from None
        return found or None
