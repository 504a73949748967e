"""The notifier's server, asked by the operator's own client: both sides are tested against each
other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dbt_notifier.channels import Channel
from dbt_notifier.kinds.slack import Slack
from dbt_notifier.kinds.webhook import Webhook
from dbt_notifier.messages import Answer, Message, Outcome, encode
from dbt_notifier.secret_files import SecretFiles
from dbt_operator.reconcile.notifier import Notifier
from tests.support import notifier_servers as servers
from tests.support.notifier_messages import HOSTILE, MESSAGES, MODEL_ERROR
from tests.support.notifier_secrets import write_secret
from tests.support.notifier_servers import HttpServer, serve_http
from tests.support.notifier_sockets import make_socket_path, request, serve_sending


class Broken:
    """A channel with an error of ours."""

    async def send(self, _: Message, __: SecretFiles) -> Answer:
        raise RuntimeError("canary")


CHANNELS: dict[str, Channel] = {
    "team": Slack(),
    "hook": Webhook(),
    "unset": Webhook(),
    "broken": Broken(),
}


@pytest.fixture
def receiver() -> Iterator[HttpServer]:
    with serve_http() as found:
        yield found


@pytest.fixture
def path(tmp_path: Path, receiver: HttpServer) -> Iterator[Path]:
    for name in ("team", "hook"):
        write_secret(tmp_path / name, url=f"{receiver.url}/{name}")
    with serve_sending(CHANNELS, tmp_path) as found:
        yield found


@pytest.mark.parametrize("name", MESSAGES)
def test_the_operator_has_a_message_sent(path: Path, receiver: HttpServer, name: str) -> None:
    notifier = Notifier(str(path))
    assert notifier.send("team", MESSAGES[name]) == Answer(Outcome.SENT)
    assert json.loads(receiver.got[0].body) == Slack().render(MESSAGES[name])


def test_the_operator_is_told_what_became_of_it(path: Path, receiver: HttpServer) -> None:
    notifier = Notifier(str(path))
    receiver.answers += [
        servers.Answer(429, {"Retry-After": "30"}, "slow down"),
        servers.Answer(400, body="invalid"),
        servers.Answer(404, body=""),
    ]
    assert [notifier.send("hook", MODEL_ERROR) for _ in range(4)] == [
        Answer(Outcome.UNAVAILABLE, "it answers 429: slow down", 30.0),
        Answer(Outcome.REFUSED, "it answers 400: invalid"),
        Answer(Outcome.MISCONFIGURED, "it answers 404"),
        Answer(Outcome.SENT),
    ]


def test_a_channel_that_is_not_declared(path: Path) -> None:
    answer = Notifier(str(path)).send("../team", MODEL_ERROR)
    assert answer == Answer(Outcome.MISCONFIGURED, "the notifier knows no channel ../team")


def test_a_channel_without_a_secret(path: Path) -> None:
    answer = Notifier(str(path)).send("unset", MODEL_ERROR)
    assert answer.outcome is Outcome.MISCONFIGURED
    assert answer.text == "the Secret of channel unset has no key url: add it"


def test_an_error_of_ours_is_no_error_of_the_next_message(path: Path) -> None:
    notifier = Notifier(str(path))
    answer = notifier.send("broken", HOSTILE)
    assert answer == Answer(Outcome.UNAVAILABLE, "an error of the notifier: RuntimeError")
    assert notifier.send("team", MODEL_ERROR).outcome is Outcome.SENT


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"1",
        b"{}",
        b"[" * 100_000,
        json.dumps({"channel": "team"}).encode(),
        json.dumps({"channel": "team", "message": {}}).encode(),
        json.dumps({"channel": "team", "message": "x"}).encode(),
        json.dumps({"channel": "team", "message": [1]}).encode(),
        json.dumps({"message": encode(MODEL_ERROR)}).encode(),
        json.dumps({"channel": "team", "message": {**encode(MODEL_ERROR), "event": "x"}}).encode(),
    ],
)
def test_what_is_no_message_is_refused(path: Path, receiver: HttpServer, body: bytes) -> None:
    status, text = request(path, "POST", "/send", body)
    assert (status, text[:12]) == (400, b"no message: ")
    assert receiver.got == []


def test_what_is_too_large_is_refused(path: Path) -> None:
    assert request(path, "POST", "/send", b" " * 5_000_000)[0] == 413


def test_it_says_that_it_is_well(path: Path) -> None:
    assert request(path, "GET", "/healthz") == (200, b"well")


@pytest.mark.parametrize("wrong", [{"summary": 3}, {"nodes": {"failures": [{}]}}])
def test_a_message_that_cannot_be_put_into_words_is_answered(
    path: Path, wrong: dict[str, Any]
) -> None:
    body = json.dumps({"channel": "team", "message": {**encode(MODEL_ERROR), **wrong}}).encode()
    status, _ = request(path, "POST", "/send", body)
    assert status in (200, 400)


def test_the_operator_takes_it_that_nobody_is_there() -> None:
    with make_socket_path() as path:
        answer = Notifier(str(path)).send("team", MODEL_ERROR)
    assert answer.outcome is Outcome.UNAVAILABLE
    assert answer.text.startswith("the notifier does not answer: ")
