"""The supervisor's handle on the process that runs dbt: how it is started, heard and ended.

That is one of :mod:`dbt_runner.worker.zygote`, or of :mod:`dbt_runner.worker.command` where dbt is
no Python program.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import dbt_runner
from dbt_protocol.line_input import LineBuffer
from dbt_runner.layout import Layout
from dbt_runner.supervise.interpreter import InterpreterError
from dbt_runner.worker_messages import (
    BeginWindow,
    EndWindow,
    Failed,
    Message,
    MessageError,
    RunStep,
    decode,
    encode,
)

# Where this package was imported from: the zipapp, or a folder while it is being tested.
_HOME = str(Path(dbt_runner.__file__).parent.parent)
# sys.path[0] is the current folder, hence the project, whose queue.py would hide the standard
# library's.
_START = (
    "import sys; sys.path[0] = sys.argv.pop(1); from dbt_runner.__main__ import main; "
    "sys.exit(main())"
)


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
        # The supervisor reaps all its children itself; Popen need not look after this one.
        process.returncode = 0
        self.status: int | None = None  # wait status, once it is over
        self.received: deque[Message] = deque()
        # What stands for a line that is no message: nothing that it says is believed after that.
        self.refusal: Failed | None = None
        self._lines = LineBuffer()

    def run_step(self, step: int) -> None:
        """Tell a zygote to run a step."""
        self._send(RunStep(step))

    def begin_window(self, window: BeginWindow) -> None:
        """Tell a zygote that the window before is over, and to get this one ready."""
        self._send(EndWindow(), window)

    def _send(self, *messages: Message) -> None:
        """Send to one that may be gone, which shows by its status, not here."""
        with suppress(BrokenPipeError):
            os.write(self._commands, b"".join(map(encode, messages)))

    def finish(self) -> None:
        """Tell a zygote that there is nothing more to do: it ends when it reads the end of the
        pipe.
        """
        if self._commands >= 0:
            os.close(self._commands)
            self._commands = -1

    def read_messages(self) -> bool:
        """Take in what has arrived; False at the end.

        The whole group ends when a line is no message: whoever wrote it, what it says of the step
        is not to be relied on.
        """
        data = _read_all(self.events)
        if self.refusal is None:
            try:
                self._decode(data or b"")
            except MessageError as error:
                self.refusal = Failed("Unknown", f"what runs dbt was ended, since {error}")
                self.received.append(self.refusal)
                self.send_signal(signal.SIGKILL)
        return data is not None

    def _decode(self, data: bytes) -> None:
        for line in self._lines.add(data):
            self.received.append(decode(line))

    def read_output(self) -> bytes | None:
        """What has been printed since; None at the end."""
        return _read_all(self.output)

    def send_signal(self, number: int) -> None:
        """Send a signal to it and all its children."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def close(self) -> None:
        """Make an end of what is left of the group, and close the pipes."""
        self.send_signal(signal.SIGKILL)
        self.finish()
        os.close(self.events)
        os.close(self.output)


def _read_all(descriptor: int) -> bytes | None:
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


def count_oom_kills(layout: Layout) -> int:
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
