from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dbt_notifier.kinds.configuring import ChannelError
from dbt_notifier.kinds.webhook import Webhook, sign
from dbt_notifier.messages import Outcome
from dbt_notifier.secret_files import SecretError
from tests.support.notifier_messages import HOSTILE, LATE, MODEL_ERROR
from tests.support.notifier_secrets import write_secret
from tests.support.notifier_sends import run
from tests.support.notifier_servers import Answer, Got, serve_http

KEY = "canary-signing-key"


def send(folder: Path, answer: Answer | None = None, **keys: str) -> tuple[Outcome, str, Got]:
    with serve_http(*([answer] if answer else [])) as server:
        secrets = write_secret(folder, url=f"{server.url}/canary-hook?a=b", **keys)
        found = run(Webhook().send(MODEL_ERROR, secrets))
        (got,) = server.got
    return found.outcome, found.text, got


def test_the_signature_can_be_checked(tmp_path: Path) -> None:
    outcome, _, got = send(tmp_path, hmacKey=f"{KEY}\n")
    headers = got.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + got.body
    digest = hmac.new(KEY.encode(), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert headers["webhook-id"] == headers["Idempotency-Key"] == MODEL_ERROR.key
    assert headers["webhook-timestamp"].isdigit()
    assert outcome is Outcome.SENT


def test_without_a_key_nothing_is_signed(tmp_path: Path) -> None:
    outcome, _, got = send(tmp_path)
    assert outcome is Outcome.SENT
    assert not any(name.lower().startswith("webhook") for name in got.headers)


def test_it_is_a_cloud_event(tmp_path: Path) -> None:
    *_, got = send(tmp_path)
    assert got.headers["Content-Type"] == "application/cloudevents+json"
    event = json.loads(got.body)
    assert {key: event[key] for key in ("specversion", "id", "source", "type", "subject")} == {
        "specversion": "1.0",
        "id": MODEL_ERROR.key,
        "source": "/dbt-operator/namespaces/analytics",
        "type": "dev.dbt-operator.dbtrun.failed",
        "subject": "nightly-29341860",
    }
    assert datetime.fromisoformat(event["time"]).tzinfo is not None
    assert event["data"]["nodes"]["failures"][0]["uniqueId"] == "model.shop.orders"


def test_an_event_of_a_schedule_has_a_type_of_its_own() -> None:
    event = Webhook().render(LATE, datetime(2025, 1, 1, tzinfo=UTC))
    assert event["type"] == "dev.dbt-operator.dbtschedule.late"


def test_texts_of_a_project_are_data(tmp_path: Path) -> None:
    with serve_http() as server:
        secrets = write_secret(tmp_path, url=server.url, hmacKey=KEY)
        assert run(Webhook().send(HOSTILE, secrets)).outcome is Outcome.SENT
        (got,) = server.got
    assert got.body.isascii()
    found = json.loads(got.body)["data"]["nodes"]["failures"][0]["uniqueId"]
    assert found.startswith("<!channel> @here")


@pytest.mark.parametrize("status", [400, 404, 500])
def test_neither_url_nor_key_are_told(tmp_path: Path, status: int) -> None:
    for answer in (Answer(status, echo=True), Answer(status, body=f"your key is {KEY}")):
        outcome, text, _ = send(tmp_path, answer, hmacKey=KEY)
        assert outcome is not Outcome.SENT
        assert "canary" not in text


def test_a_receiver_without_a_url_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="no key url"):
        run(Webhook().send(MODEL_ERROR, write_secret(tmp_path, hmacKey=KEY)))


def test_fields_that_it_does_not_know_are_refused() -> None:
    with pytest.raises(ChannelError, match=r"hook\.mentions: kind webhook knows no more fields"):
        Webhook.parse("hook", {"kind": "webhook", "mentions": {}})


def test_a_key_as_standard_webhooks_writes_them_is_read_as_their_libraries_do() -> None:
    key = bytes(range(24))
    written = f"whsec_{base64.b64encode(key).decode()}"
    headers = sign(written, "msg_1", 1700000000, b"{}")
    digest = hmac.new(key, b"msg_1.1700000000.{}", hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_a_key_that_only_begins_so_is_somebodys_to_mend() -> None:
    with pytest.raises(SecretError, match="hmacKey"):
        sign("whsec_no base64", "msg_1", 1700000000, b"{}")
