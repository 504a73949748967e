from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dbt_notifier.kinds.configuring import ChannelError
from dbt_notifier.kinds.pagerduty import ENDPOINT, PagerDuty
from dbt_notifier.messages import Event, Message, Outcome
from dbt_notifier.secret_files import SecretError
from tests.support import notifier_messages as messages
from tests.support.notifier_messages import FAILED_TESTS, MODEL_ERROR
from tests.support.notifier_messages import MESSAGES as ALL
from tests.support.notifier_secrets import write_secret
from tests.support.notifier_sends import run
from tests.support.notifier_servers import Answer, serve_http

KEY = "canary0123456789canary0123456789"


def render(message: Message) -> tuple[str, str, str]:
    body = PagerDuty().render(message, KEY)
    return body["event_action"], body["payload"]["severity"], body["dedup_key"]


def test_what_is_rendered_is_what_arrives(tmp_path: Path) -> None:
    with serve_http(Answer(202, body='{"status": "success"}')) as server:
        channel = PagerDuty.parse(
            "pager", {"kind": "pagerduty", "endpoint": f"{server.url}/v2/enqueue"}
        )
        secrets = write_secret(tmp_path, routingKey=f"{KEY}\n")
        assert run(channel.send(MODEL_ERROR, secrets)).outcome is Outcome.SENT
        (got,) = server.got
    assert (got.path, got.headers["Content-Type"]) == ("/v2/enqueue", "application/json")
    assert json.loads(got.body) == channel.render(MODEL_ERROR, KEY)


def test_what_becomes_of_each_event() -> None:
    series = MODEL_ERROR.series
    found = {
        message.event: render(message)
        for message in (MODEL_ERROR, messages.LATE, messages.MISSED, messages.RECOVERED)
    }
    assert found == {
        Event.FAILED: ("trigger", "error", series),
        Event.LATE: ("trigger", "error", series),
        Event.MISSED: ("trigger", "warning", series),
        Event.RECOVERED: ("resolve", "info", series),
    }
    assert render(messages.SUCCEEDED) == ("resolve", "info", series)
    assert render(messages.WARNED) == ("trigger", "warning", messages.WARNED.key)
    assert render(messages.TEST) == ("trigger", "info", messages.TEST.key)
    assert {message.event for message in ALL.values()} == set(Event)


def test_a_failure_that_goes_on_is_one_incident() -> None:
    assert render(MODEL_ERROR) == render(FAILED_TESTS)


def test_a_key_is_no_longer_than_it_may_be() -> None:
    *_, first = render(replace(MODEL_ERROR, series="a" * 300))
    *_, second = render(replace(MODEL_ERROR, series="a" * 299 + "b"))
    assert (len(first), len(second)) == (64, 64)
    assert first != second
    assert render(replace(MODEL_ERROR, series="a" * 255))[2] == "a" * 255


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(200), Outcome.SENT),
        (Answer(202), Outcome.SENT),
        (Answer(400, body='{"errors": ["\'summary\' is missing"]}'), Outcome.REFUSED),
        (Answer(400, body=f"Invalid routing key {KEY}"), Outcome.MISCONFIGURED),
        (Answer(400, body="'routing_key' is invalid"), Outcome.MISCONFIGURED),
        (Answer(403, body=KEY), Outcome.MISCONFIGURED),
        (Answer(429, {"Retry-After": "60"}, body=KEY), Outcome.UNAVAILABLE),
        (Answer(500, body=KEY), Outcome.UNAVAILABLE),
    ],
)
def test_what_pagerduty_says(tmp_path: Path, answer: Answer, outcome: Outcome) -> None:
    with serve_http(answer) as server:
        secrets = write_secret(tmp_path, routingKey=KEY)
        found = run(PagerDuty(server.url).send(MODEL_ERROR, secrets))
    assert found.outcome is outcome
    assert "canary" not in found.text
    assert found.retry_after == (60.0 if answer.status == 429 else None)


def test_a_channel_without_a_key_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="no key routingKey: add it"):
        run(PagerDuty().send(MODEL_ERROR, write_secret(tmp_path)))


def test_the_endpoint_has_a_default() -> None:
    assert PagerDuty.parse("pager", {"kind": "pagerduty"}).endpoint == ENDPOINT
    europe = "https://events.eu.pagerduty.com/v2/enqueue"
    assert PagerDuty.parse("pager", {"kind": "pagerduty", "endpoint": europe}).endpoint == europe


@pytest.mark.parametrize("endpoint", ["events.pagerduty.com", "https://", "ftp://x", "", 3])
def test_an_endpoint_is_a_url(endpoint: object) -> None:
    with pytest.raises(ChannelError, match=r"pager\.endpoint: must be a "):
        PagerDuty.parse("pager", {"kind": "pagerduty", "endpoint": endpoint})
