"""The operator as a process: who works, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.support.fake_api_server import FakeAPIServer
from tests.support.kube import PATIENCE
from tests.support.waiting import eventually

SHORT = (
    "from dbt_operator.process.assembly import main; from dbt_operator.planning.leadership import "
    "Terms; main(Terms(6, "
    "4, 0.2))"
)
LEASE = {"DBT_OPERATOR_LEASE_NAMESPACE": "ops", "DBT_OPERATOR_LEASE_NAME": "the-operator"}


@pytest.fixture
def server() -> Iterator[FakeAPIServer]:
    with FakeAPIServer().running() as server:
        yield server


class Process:
    """An operator that is known to the API server by its token."""

    def __init__(
        self, server: FakeAPIServer, folder: Path, name: str, port: int, *argv: str, **settings: str
    ) -> None:
        self.name = name
        self._port = port
        environment = os.environ | {
            "KUBECONFIG": str(server.kubeconfig(folder, name)),
            "POD_NAME": name,
            "DBT_OPERATOR_RUNNER_IMAGE": "runner:1",
            "DBT_OPERATOR_NAMESPACES": "a",
            "DBT_OPERATOR_HEALTH_PORT": str(port),
            **settings,
        }
        self.log = folder / f"{name}.log"
        with self.log.open("w") as log:
            argv = argv or ("-m", "dbt_operator")
            self.popen = subprocess.Popen(
                [sys.executable, *argv], env=environment, stdout=log, stderr=log
            )

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=PATIENCE):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False


@contextmanager
def running(process: Process) -> Iterator[Process]:
    try:
        yield process
    except BaseException:
        print(process.log.read_text())
        raise
    finally:
        process.popen.kill()
        process.popen.wait()


@pytest.fixture
def ports() -> list[int]:
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in (first, second)]


def holder(server: FakeAPIServer) -> str:
    lease = server.leases.get("the-operator")
    return str(lease["spec"]["holderIdentity"]).partition("_")[0] if lease else ""


def has_patched(server: FakeAPIServer, run: str) -> bool:
    return (run, "first") in server.patched


def has_lost(process: Process, more_than: int) -> bool:
    """Whether the Lease was lost more often than that; on a busy machine it may be so by itself."""
    return _count_losses(process) > more_than


def _count_losses(process: Process) -> int:
    return process.log.read_text().count("does not hold the Lease")


def test_a_standby_does_nothing_until_the_leader_is_asked_to_end(
    server: FakeAPIServer, tmp_path: Path, ports: list[int]
) -> None:
    with running(Process(server, tmp_path, "first", ports[0], **LEASE)) as first:
        eventually(lambda: holder(server) == "first")
        with running(Process(server, tmp_path, "second", ports[1], **LEASE)) as second:
            eventually(lambda: first.ready() and second.ready())
            server.put("dbtruns", "a", "x")
            eventually(lambda: server.patched)
            assert server.patched == [("x", "first")]
            first.popen.terminate()
            assert first.popen.wait(PATIENCE) == 0
            assert holder(server) != "first", (
                "it has given it back, so that nobody waits until it expires"
            )
            eventually(lambda: holder(server) == "second")
            assert server.leases["the-operator"]["spec"]["leaseTransitions"] == 1
            server.put("dbtruns", "a", "y")
            eventually(lambda: ("y", "second") in server.patched)
            second.popen.terminate()
            assert second.popen.wait(PATIENCE) == 0
    assert server.patched == [("x", "first"), ("y", "second")]
    assert holder(server) == ""


def test_a_leader_that_cannot_renew_ends_and_says_so(
    server: FakeAPIServer, tmp_path: Path, ports: list[int]
) -> None:
    with running(Process(server, tmp_path, "first", ports[0], "-c", SHORT, **LEASE)) as process:
        eventually(lambda: holder(server) == "first" and process.ready())
        server.away = True
        assert process.popen.wait(PATIENCE) == 1
        assert (
            len(
                [
                    line
                    for line in process.log.read_text().splitlines()
                    if "does not hold the Lease" in line
                ]
            )
            == 1
        )
        assert holder(server) == "first", "it expires"


def test_a_leader_that_has_lost_the_lease_begins_anew_in_the_same_process(
    server: FakeAPIServer, tmp_path: Path, ports: list[int]
) -> None:
    code = f"import sys; {SHORT.removesuffix('))')}), sys.orig_argv)"
    with running(Process(server, tmp_path, "first", ports[0], "-c", code, **LEASE)) as process:
        for times in range(1, 3):
            eventually(lambda: holder(server) == "first" and process.ready())
            server.put("dbtruns", "a", f"x{times}")
            eventually(partial(has_patched, server, f"x{times}"))
            before = _count_losses(process)
            server.away = True
            eventually(partial(has_lost, process, before))
            server.away = False
            server.leases.clear()  # nobody waits until it expires
        eventually(lambda: holder(server) == "first" and process.ready())
        assert process.popen.poll() is None
        assert process.log.read_text().count('"starting"') >= 3
        process.popen.terminate()
        assert process.popen.wait(PATIENCE) == 0
        assert holder(server) == ""


def test_without_a_lease_everybody_works_at_once(
    server: FakeAPIServer, tmp_path: Path, ports: list[int]
) -> None:
    server.put("dbtruns", "a", "x")
    with running(Process(server, tmp_path, "first", ports[0])) as process:
        eventually(lambda: server.patched)
        process.popen.terminate()
        assert process.popen.wait(PATIENCE) == 0
    assert not [each for each in server.requests if "leases" in each]


def test_one_that_was_stopped_for_a_while_goes_on(
    server: FakeAPIServer, tmp_path: Path, ports: list[int]
) -> None:
    with running(Process(server, tmp_path, "first", ports[0])) as process:
        eventually(process.ready)
        process.popen.send_signal(signal.SIGSTOP)
        woken = time.monotonic() + 1  # longer than it waits for a signal at a time
        eventually(lambda: time.monotonic() > woken)
        process.popen.send_signal(signal.SIGCONT)
        server.put("dbtruns", "a", "x")
        eventually(lambda: ("x", "first") in server.patched)
        assert process.popen.poll() is None
        assert "stopping" not in process.log.read_text()
