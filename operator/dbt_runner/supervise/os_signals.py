"""Signals and deadlines of the supervisor, turned into things that can be waited for.

As PID 1 the supervisor gets no default actions: a signal without a handler is ignored. Handlers
here do nothing but note the signal; Python writes its number into a pipe (``set_wakeup_fd``), which
the supervisor waits on together with dbt's output. So nothing is polled and nothing runs inside a
handler.
"""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType
from typing import Any, final

_STOP = (signal.SIGTERM, signal.SIGINT)


@final
class Signals:
    """Notes SIGTERM, SIGINT and SIGCHLD while it is entered; ``descriptor`` gets readable with each
    of them.
    """

    def __init__(self) -> None:
        self.descriptor, self._writer = os.pipe()
        for end in (self.descriptor, self._writer):
            os.set_blocking(end, False)
        self.stop = False  # SIGTERM or SIGINT has come
        self._before: dict[int, Any] = {}
        self._wakeup_before = -1

    def __enter__(self) -> Signals:
        self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (*_STOP, signal.SIGCHLD):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self.descriptor)
        os.close(self._writer)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.stop = self.stop or number in _STOP

    def drain(self) -> None:
        """Empty the pipe."""
        try:
            while os.read(self.descriptor, 512):
                pass
        except BlockingIOError:
            pass


def reap() -> dict[int, int]:
    """Collect all children that have ended, by process ID, with their wait status.

    As PID 1 the supervisor also inherits the children of processes that ended before them;
    unreaped, they would stay as zombies until the pod is gone.
    """
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status
