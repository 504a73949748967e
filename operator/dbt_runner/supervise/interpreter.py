"""Which Python runs dbt, and what of this package is to be run in it."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


class InterpreterError(Exception):
    """There is no Python with dbt to be found; the message says what to do."""


class NoPythonError(InterpreterError):
    """The ``dbt`` command is no Python program."""


def find_entry_point(path: str | None, isolation: str) -> tuple[str, str]:
    """The Python to start, and what of this package to run in it: ``zygote``, or ``command`` for a
    dbt without Python.

    That is no more than whom to ask: where the Python of a zygote has no dbt, it goes on as a
    command.

    Raises:
        InterpreterError: dbt is no Python program, and the isolation asks for one.
    """
    if isolation != "Command":
        try:
            return find_interpreter(path), "zygote"
        except NoPythonError:
            if isolation != "Auto":
                raise
    return sys.executable, "command"


def find_interpreter(path: str | None) -> str:
    """The Python that the ``dbt`` command on this PATH is written for; without such a command, this
    one.

    The shebang counts, since images put dbt into a virtual environment, next to a system Python
    that has no dbt.

    Raises:
        NoPythonError: the command is no Python program.
    """
    command = shutil.which("dbt", path=path)
    if command is None:
        return sys.executable
    words = _read_shebang(Path(command))
    if words and Path(words[0]).name == "env":
        words = [
            shutil.which(word, path=path) or word for word in words[1:] if not word.startswith("-")
        ]
    if not words or "python" not in Path(words[0]).name:
        raise NoPythonError(
            f"{command} is no Python program, such as dbt Fusion: isolation must be Auto or Command"
        )
    return words[0]


def _read_shebang(command: Path) -> list[str]:
    """The words of a script's first line; empty if it is no script."""
    with command.open("rb") as file:
        lines = file.read(4096).decode(errors="replace").splitlines()[:2]
    if not lines or not lines[0].startswith("#!"):
        return []
    words = shlex.split(lines[0][2:])
    # How pip writes a shebang that would be too long.
    if words and words[0].endswith("/sh") and len(lines) > 1 and lines[1].startswith("'''exec'"):
        return shlex.split(lines[1].replace("'''exec'", "", 1))
    return words
