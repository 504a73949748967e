"""Runners by the hundred: forked from a process that has imported dbt, which takes two seconds of a
processor.

In a pod the supervisor starts a Python that imports dbt. Here it forks itself, and finds dbt
imported; all else is as there: who is whose parent, sessions, pipes, signals, and the environment
that dbt reads. What dbt reads while it is imported is not, so a test of that starts a fresh runner,
as one does of what a pod's processes begin with.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from unittest import mock

_MOST_BYTES = 1 << 17  # of an order; a socket that keeps messages apart takes no larger one
# What dbt checks by a JSON schema of the class.
_CHECKED = {
    "dbt.adapters.duckdb.credentials": ["DuckDBCredentials"],
    "dbt.contracts.project": ["Project", "ProjectFlags", "PackageConfig", "Configuration"],
    "dbt.contracts.graph.nodes": ["ModelNode", "SeedNode", "GenericTestNode"],
    "dbt.contracts.graph.unparsed": ["UnparsedModelUpdate", "UnparsedSourceDefinition"],
    "dbt.artifacts.resources": ["ModelConfig", "SeedConfig", "TestConfig"],
}


class ForkedRunner:
    """A runner that is no child of this process. The part of subprocess.Popen that tests use."""

    def __init__(self, pid: int, output: int, status: int) -> None:
        self.pid = pid
        self.stdout = os.fdopen(output, encoding="utf-8")
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("dbt_runner", timeout or 0.0)
            self.returncode = int(os.read(self._status, 16) or b"-9")
            os.close(self._status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """Use :func:`nursery`."""

    def __init__(self, parent: subprocess.Popen[bytes], orders: socket.socket) -> None:
        self.pid = parent.pid
        self._orders = orders

    def start(self, arguments: Sequence[str], env: Mapping[str, str]) -> ForkedRunner:
        """Start a runner with these arguments and no other environment than this."""
        output, outputs_end = os.pipe()
        status, status_end = os.pipe()
        order = json.dumps({"arguments": arguments, "env": env}).encode()
        socket.send_fds(self._orders, [order], [outputs_end, status_end])
        os.close(outputs_end)
        os.close(status_end)
        return ForkedRunner(int(self._orders.recv(16)), output, status)


@contextmanager
def nursery(python: str, path: Sequence[str]) -> Iterator[Nursery]:
    """A parent for runners, whose own and all of whose orphans are its children.

    Args:
        python: the interpreter of the dbt that is tested.
        path: where the runner and the tests are imported from.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        parent = subprocess.Popen(
            [python, "-m", "tests.support.runner_nursery"],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(path)},
        )
        theirs.close()
        try:
            yield Nursery(parent, ours)
        finally:
            ours.close()  # then it ends
            parent.wait()


def _serve(orders: socket.socket) -> None:
    """Fork runners until nobody asks for more, and tell how each has ended."""
    _adopt_orphans()
    wakeup, writer = os.pipe()
    os.set_blocking(writer, False)
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    statuses: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([orders, wakeup], [], [])
        if wakeup in ready:
            os.read(wakeup, 512)
            _tell_ends(statuses)
        if orders in ready:
            message, descriptors, _, _ = socket.recv_fds(orders, _MOST_BYTES, 2)
            if not message:
                os._exit(0)  # DuckDB complains when the interpreter is taken apart
            output, status = descriptors
            order = json.loads(message)
            pid = _fork(partial(_become_runner, order["arguments"], order["env"], output))
            statuses[pid] = status
            os.close(output)
            orders.send(str(pid).encode())


def _adopt_orphans() -> None:
    """Be the one to whom those go whose parent has ended, so that they can be found."""
    import ctypes  # noqa: PLC0415

    set_child_subreaper = 36
    if ctypes.CDLL(None, use_errno=True).prctl(set_child_subreaper, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _tell_ends(statuses: dict[int, int]) -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            if pid in statuses:
                descriptor = statuses.pop(pid)
                with suppress(BrokenPipeError):
                    os.write(descriptor, str(os.waitstatus_to_exitcode(status)).encode())
                os.close(descriptor)


def _fork(become: Callable[[], NoReturn]) -> int:
    """Fork a child that is as if it had just been started; its pid.

    No signal is taken before it is ready for it.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        become()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def _become_runner(arguments: list[str], env: dict[str, str], output: int) -> NoReturn:
    from dbt_runner.supervise import child  # noqa: PLC0415

    forking = SimpleNamespace(Popen=_start_worker, DEVNULL=subprocess.DEVNULL)
    with mock.patch.object(child, "subprocess", forking):
        _run_main(arguments, env, output, keep=())


def _start_worker(argv: Sequence[str], **options: Any) -> object:
    """What stands for Popen in the supervisor."""
    python, _, _, _, *arguments = argv
    if not (arguments[0] == "zygote" and Path(python).samefile(sys.executable)):
        return subprocess.Popen(argv, **options)
    Path(options["cwd"]).stat()  # raises what Popen would

    def become_worker() -> NoReturn:
        os.setsid()
        os.chdir(options["cwd"])
        _run_main(arguments, options["env"], options["stdout"], keep=options["pass_fds"])

    return SimpleNamespace(pid=_fork(become_worker), returncode=None)


def _run_main(
    arguments: Sequence[str], env: Mapping[str, str], output: int, keep: Collection[int]
) -> NoReturn:
    """Run the package as a process of its own would."""
    code = 1
    try:
        gc.enable()
        os.environ.clear()
        os.environ.update(env)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for descriptor in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
            if descriptor > 2 and descriptor not in keep:
                with suppress(OSError):  # that of the folder itself
                    os.close(descriptor)
        from dbt_runner.__main__ import main  # noqa: PLC0415

        sys.argv = ["runner", *arguments]
        code = main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 2
    except KeyboardInterrupt:
        code = 130
    except BaseException:  # noqa: BLE001 -- nothing of the parent may go on in here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _import_dbt() -> None:
    """Import it, and have it make what it makes of its own classes whatever the project is, which
    takes another second.
    """
    gc.disable()  # it has nothing to find among modules, and would look often
    import_module("dbt_runner.worker.invocation.python_api")
    for module, names in _CHECKED.items():
        imported = import_module(module)
        for name in names:
            getattr(imported, name).json_schema()
    gc.freeze()


if __name__ == "__main__":
    _import_dbt()
    _serve(socket.socket(fileno=0))
