"""The supervisor's handle on the process that runs dbt: how it is started, heard and ended.

That is one of :mod:`dbt_runner.worker.zygote`, or of :mod:`dbt_runner.worker.command` where dbt is
no Python program.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import dbt_runner
from dbt_runner.layout import Layout

# Where this package was imported from: the zipapp, or a folder while it is being tested.
_HOME = str(Path(dbt_runner.__file__).parent.parent)
# sys.path[0] is the current folder, hence the project, whose queue.py would hide the standard
# library's.
_START = (
    "import sys; sys.path[0] = sys.argv.pop(1); from dbt_runner.__main__ import main; "
    "sys.exit(main())"
)

Event = dict[str, Any]


class InterpreterError(Exception):
    """There is no Python with dbt to be found; the message says what to do."""


class NoPythonError(InterpreterError):
    """The ``dbt`` command is no Python program."""


def entry_point(path: str | None, isolation: str) -> tuple[str, str]:
    """The Python to start, and what of this package to run in it: ``zygote``, or ``command`` for a
    dbt without Python.

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
    with Path(command).open("rb") as file:
        lines = file.read(4096).decode(errors="replace").splitlines()[:2]
    words = shlex.split(lines[0][2:]) if lines and lines[0].startswith("#!") else []
    if words and words[0].endswith("/sh") and len(lines) > 1 and lines[1].startswith("'''exec'"):
        words = shlex.split(
            lines[1].replace("'''exec'", "", 1)
        )  # how pip writes a shebang that would be too long
    if words and Path(words[0]).name == "env":
        words = [
            shutil.which(word, path=path) or word for word in words[1:] if not word.startswith("-")
        ]
    if not words or "python" not in Path(words[0]).name:
        raise NoPythonError(
            f"{command} is no Python program, such as dbt Fusion: isolation must be Auto or Command"
        )
    return words[0]


class Child:
    """A zygote, or the process of a single step, in a process group of its own."""

    def __init__(
        self, interpreter: str, arguments: Sequence[str], env: Mapping[str, str], folder: str
    ) -> None:
        """Start it.

        Raises:
            InterpreterError: the interpreter or the project's folder does not exist.
        """
        commands, self._commands = os.pipe()
        self.events, events = os.pipe()
        self.output, output = os.pipe()
        for end in (self.events, self.output):
            os.set_blocking(end, False)
        argv = [
            interpreter,
            "-c",
            _START,
            _HOME,
            *arguments,
            f"--commands={commands}",
            f"--events={events}",
        ]
        try:
            # An argv list, and the interpreter that the image chose.
            process = subprocess.Popen(  # noqa: S603
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(commands, events),
                start_new_session=True,
                env=dict(env),
                cwd=folder,
            )
        except OSError as error:
            raise InterpreterError(
                f"dbt cannot be started: {error.strerror}: {error.filename}"
            ) from error
        finally:
            for end in (commands, events, output):
                os.close(end)
        self.pid = process.pid
        process.returncode = (
            0  # the supervisor reaps all its children itself; Popen need not look after this one
        )
        self.status: int | None = None  # wait status, once it is over
        self.received: deque[Event] = deque()
        self._rest = b""

    def ask(self, step: int) -> None:
        """Tell a zygote to run a step. One that is gone shows by its status, not here."""
        with suppress(BrokenPipeError):
            os.write(self._commands, (json.dumps({"run": step}) + "\n").encode())

    def begin(self, window: int, **plan: object) -> None:
        """Tell a zygote that the window before is over, to get this one ready, and what has changed
        in the plan.
        """
        with suppress(BrokenPipeError):
            lines = ({"end": True}, {"window": window, "plan": plan})
            os.write(self._commands, "".join(json.dumps(line) + "\n" for line in lines).encode())

    def finish(self) -> None:
        """Tell a zygote that there is nothing more to do: it ends when it reads the end of the
        pipe.
        """
        if self._commands >= 0:
            os.close(self._commands)
            self._commands = -1

    def read_events(self) -> bool:
        """Take in what has arrived; False at the end."""
        data = _read(self.events)
        *lines, self._rest = (self._rest + (data or b"")).split(b"\n")
        self.received.extend(json.loads(line) for line in lines)
        return data is not None

    def read_output(self) -> bytes | None:
        """What has been printed since; None at the end."""
        return _read(self.output)

    def signal(self, number: int) -> None:
        """Send a signal to it and all its children."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def close(self) -> None:
        """Make an end of what is left of the group, and close the pipes."""
        self.signal(signal.SIGKILL)
        self.finish()
        os.close(self.events)
        os.close(self.output)


def _read(descriptor: int) -> bytes | None:
    """All there is now; None if there is nothing and will be nothing."""
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(descriptor, 65536)
        except BlockingIOError:
            return b"".join(parts)
        if not part:
            return b"".join(parts) if parts else None
        parts.append(part)


def exit_code(event: Event) -> int | None:
    """dbt's, or 128 and the signal, as a shell has it."""
    status = event.get("status")
    if status is not None and os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    if "exit_code" in event:
        return int(event["exit_code"])
    return os.WEXITSTATUS(status) if status is not None else None


def oom_kills(layout: Layout) -> int:
    """How often the OOM killer has taken a process of this container; 0 where the kernel does not
    tell.
    """
    for name in ("memory.events", "memory/memory.oom_control"):  # cgroup v2, v1
        try:
            lines = (
                (Path(layout.root) / "sys/fs/cgroup" / name)
                .read_text(encoding="ascii")
                .splitlines()
            )
        except OSError:
            continue
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return 0
