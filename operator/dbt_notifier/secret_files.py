"""The Secrets of channels, which are files. They are read at each send, so that one that has been
changed counts without a restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_LARGEST = 1024 * 1024  # bytes; a Secret is no larger


class SecretError(Exception):
    """A Secret lacks a key, or has nonsense there; the message says what to do."""


@dataclass(frozen=True)
class SecretFiles:
    """The Secret of one channel."""

    folder: Path

    def read(self, key: str) -> str:
        """A key of it, without the newline that many files end with.

        Raises:
            SecretError: there is none, or it is no text.
        """
        if (found := self.find(key)) is None:
            raise SecretError(f"the Secret of channel {self.folder.name} has no key {key}: add it")
        return found

    def find(self, key: str) -> str | None:
        """The same; None where there is no such key, or nothing in it.

        Raises:
            SecretError: it is no text, or may not be read.
        """
        try:
            with (self.folder / key).open("rb") as file:
                found = file.read(_LARGEST).decode().strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SecretError(f"{self.name(key)} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SecretError(f"{self.name(key)} is no text in UTF-8: write it anew") from None
        return found or None

    def name(self, key: str) -> str:
        """A key as people are told of it."""
        return f"key {key} in the Secret of channel {self.folder.name}"
