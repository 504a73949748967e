"""Operators by the dozen: forked from a process that has imported everything, which takes a second
of a processor.

Where an operator is started once, :mod:`operators` starts it as a cluster would.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import kubernetes

from tests.support.operators import settings


class Forked:
    """An operator that is no child of this process. The part of subprocess.Popen that tests use."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._process = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """None while it lives; how it has ended is not known."""
        return 0 if self._ended(0) else None

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended(timeout):
            raise subprocess.TimeoutExpired("dbt_operator", timeout or 0.0)
        return 0

    def send_signal(self, number: int) -> None:
        if not self._ended(0):
            signal.pidfd_send_signal(self._process, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        os.close(self._process)

    def _ended(self, timeout: float | None) -> bool:
        return bool(select.select([self._process], [], [], timeout)[0])


class Nursery:
    """Use :func:`nursery`."""

    def __init__(self, parent: subprocess.Popen[str]) -> None:
        self._parent = parent
        self._lock = threading.Lock()

    @contextmanager
    def operator(self, namespace: str, log: str, **environment: str) -> Iterator[Forked]:
        """As :func:`operators.operator`."""
        order = {"log": str(log), "environment": settings(namespace) | environment}
        with self._lock:
            assert self._parent.stdin is not None
            assert self._parent.stdout is not None
            print(json.dumps(order), file=self._parent.stdin, flush=True)
            process = Forked(int(self._parent.stdout.readline()))
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            process.close()


@contextmanager
def nursery() -> Iterator[Nursery]:
    """A parent for operators."""
    argv = [sys.executable, "-m", "tests.support.nursery"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        yield Nursery(parent)  # it ends when it is asked for nothing any more


def _serve() -> None:
    # Who only asks for operators does without.
    from dbt_operator.process.assembly import main  # noqa: PLC0415 -- as said above

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here waits for those that have ended
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become_operator(main, order["log"], order["environment"])
        print(pid, flush=True)


def _become_operator(main: Callable[[], object], log: str, environment: dict[str, str]) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.update(environment)
    # Read from the environment when the module is imported.
    kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION = os.environ["KUBECONFIG"]
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        main()
    except BaseException:  # noqa: BLE001 -- nothing of the parent may go on in here
        traceback.print_exc()
    os._exit(1)  # it has ended itself before


if __name__ == "__main__":
    _serve()
