"""The notifier as a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dbt_notifier.messages import Answer, Outcome, encode
from dbt_notifier.settings import Settings
from dbt_operator.reconcile.notifier import Notifier
from tests.support import notifier_servers as servers
from tests.support.notifier_messages import MODEL_ERROR
from tests.support.notifier_secrets import write_secret
from tests.support.notifier_servers import serve_http
from tests.support.notifier_sockets import make_socket_path
from tests.support.places import OPERATOR
from tests.support.waiting import eventually

CHANNELS = {"team": {"kind": "slack", "namespaces": ["analytics"]}}
PATIENCE = 120  # seconds


@contextmanager
def start(folder: Path, socket_path: Path, channels: Any) -> Iterator[subprocess.Popen[str]]:
    """The process; it is killed if it has not ended."""
    (folder / "channels.json").write_text(json.dumps({"channels": channels}))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(OPERATOR),
        "DBT_NOTIFIER_SOCKET": str(socket_path),
        "DBT_NOTIFIER_CHANNELS": str(folder / "channels.json"),
        "DBT_NOTIFIER_SECRETS": str(folder / "secrets"),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "dbt_notifier"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_it_serves(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["event"] == "serving"


def end(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Have it end; the rest of its log."""
    process.send_signal(signal.SIGTERM)
    log, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")
    return [json.loads(line) for line in log.splitlines()]


def test_it_sends_and_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    with serve_http() as receiver, make_socket_path() as path:
        write_secret(tmp_path / "secrets" / "team", url=f"{receiver.url}/canary-token")
        with start(tmp_path, path, CHANNELS) as process:
            wait_until_it_serves(process)
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            assert Notifier(str(path)).send("team", MODEL_ERROR) == Answer(Outcome.SENT)
            log = end(process)
        assert len(receiver.got) == 1
    assert [each["event"] for each in log] == ["tried", "stopped"]
    assert (log[0]["channel"], log[0]["key"], log[0]["outcome"]) == (
        "team",
        MODEL_ERROR.key,
        "Sent",
    )
    assert "canary" not in json.dumps(log)


def test_what_is_being_sent_is_waited_for(tmp_path: Path) -> None:
    # The receiver answers only after the process has been asked to end.
    with serve_http(servers.Answer(hang=True)) as receiver, make_socket_path() as path:
        write_secret(tmp_path / "secrets" / "team", url=receiver.url)
        with start(tmp_path, path, CHANNELS) as process:
            wait_until_it_serves(process)
            asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with asking:
                asking.connect(str(path))
                ask(asking)
                eventually(lambda: receiver.got)
                process.send_signal(signal.SIGTERM)
                receiver.release()
                asking.settimeout(PATIENCE)
                with asking.makefile("rb") as file:
                    answer = file.read()
            log, _ = process.communicate(timeout=PATIENCE)
    assert b'"outcome": "Sent"' in answer
    assert process.returncode == 0
    assert '"tried"' in log


def ask(asking: socket.socket) -> None:
    body = json.dumps({"channel": "team", "message": encode(MODEL_ERROR)}).encode()
    head = f"POST /send HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    asking.sendall(head.encode() + body)


def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    with make_socket_path() as path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
            left.bind(str(path))
        with start(tmp_path, path, CHANNELS) as process:
            wait_until_it_serves(process)
            answer = Notifier(str(path)).send("team", MODEL_ERROR)
            assert answer.outcome is Outcome.MISCONFIGURED
            assert "has no key url" in answer.text
            end(process)


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        ({"team": {"kind": "slack", "url": "x"}}, "team.url: kind slack knows mentions"),
        ({"team": {"kind": "x"}}, "team.kind: must be one of "),
    ],
)
def test_a_wrong_channel_is_named(tmp_path: Path, channels: Any, said: str) -> None:
    with make_socket_path() as path, start(tmp_path, path, channels) as process:
        log, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, log) == (1, "")
    assert errors.startswith(f"dbt-notifier: {said}")
    assert len(errors.splitlines()) == 1


def test_settings_have_defaults() -> None:
    assert Settings.from_environment({}) == Settings()
    assert Settings.from_environment({"DBT_NOTIFIER_LOG_LEVEL": "debug"}).log_level == "DEBUG"
