from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from dbt_notifier import posting
from dbt_notifier.messages import Answer as Told
from dbt_notifier.messages import Outcome
from dbt_notifier.posting import Request, hide, post, read_retry_after
from dbt_notifier.secret_files import SecretError
from tests.support.certificates import tls
from tests.support.free_ports import find_free_port
from tests.support.notifier_secrets import write_secret
from tests.support.notifier_sends import run
from tests.support.notifier_servers import HOST, Answer, serve_http

PLACE = "/services/T0CANARY/B0CANARY/canary-token?key=canary-key"


def send(url: str, folder: Path, authority: str = "") -> Told:
    secrets = write_secret(folder / "channel", ca__crt=authority)
    return run(post(Request(url, b"{}", {"X-A": "b"}, secrets=(url,)), secrets))


def answer_with(answer: Answer, folder: Path) -> Told:
    with serve_http(answer) as server:
        return send(server.url + PLACE, folder)


def test_a_request_arrives_as_it_is(tmp_path: Path) -> None:
    with serve_http() as server:
        assert send(server.url + PLACE, tmp_path) == Told(Outcome.SENT)
        (got,) = server.got
    assert (got.path, got.headers["X-A"], got.body) == (PLACE, "b", b"{}")


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_what_is_taken_is_sent(tmp_path: Path, status: int) -> None:
    assert answer_with(Answer(status, body=""), tmp_path).outcome is Outcome.SENT


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (301, Outcome.MISCONFIGURED),
        (400, Outcome.REFUSED),
        (401, Outcome.MISCONFIGURED),
        (403, Outcome.MISCONFIGURED),
        (404, Outcome.MISCONFIGURED),
        (408, Outcome.UNAVAILABLE),
        (410, Outcome.MISCONFIGURED),
        (413, Outcome.REFUSED),
        (422, Outcome.REFUSED),
        (425, Outcome.UNAVAILABLE),
        (429, Outcome.UNAVAILABLE),
        (500, Outcome.UNAVAILABLE),
        (503, Outcome.UNAVAILABLE),
    ],
)
def test_what_a_status_means(tmp_path: Path, status: int, outcome: Outcome) -> None:
    told = answer_with(Answer(status, body="why it is so"), tmp_path)
    assert told.outcome is outcome
    assert told.text.startswith(f"it answers {status}: why it is so")


def test_a_receiver_names_a_time_in_seconds_or_as_a_date(tmp_path: Path) -> None:
    told = answer_with(Answer(429, {"Retry-After": "120"}), tmp_path)
    assert told.retry_after == 120
    later = format_datetime(datetime.now(UTC) + timedelta(hours=12), usegmt=True)
    told = answer_with(Answer(503, {"Retry-After": later}), tmp_path)
    assert told.retry_after == 3600


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        (" 7 ", 7.0),
        ("\u0667", None),
        ("9" * 400, 3600.0),
        ("Wed, 01 Jan 2025 00:02:00 GMT", 120.0),
        ("Wed, 01 Jan 2025 00:02:00 -0000", 120.0),
        ("Tue, 31 Dec 2024 00:00:00 GMT", 0.0),
        ("Wed, 01 Jan 0000 00:00:00 GMT", 0.0),
        ("Wed, 99 Jan 2025 00:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 3600.0),
    ],
)
def test_how_long_a_receiver_wants_to_be_left_alone(
    text: str | None, seconds: float | None
) -> None:
    assert read_retry_after(text, datetime(2025, 1, 1, tzinfo=UTC)) == seconds


def test_nothing_follows_a_redirect(tmp_path: Path) -> None:
    with serve_http() as other, serve_http() as server:
        server.answers.append(Answer(301, {"Location": other.url + PLACE}))
        told = send(server.url + PLACE, tmp_path)
        assert (len(server.got), other.got) == (1, [])
    assert told.outcome is Outcome.MISCONFIGURED
    assert "redirects are not followed" in told.text


@pytest.mark.parametrize("status", [400, 404, 500])
def test_an_answer_tells_nothing_of_the_secret_in_a_url(tmp_path: Path, status: int) -> None:
    told = answer_with(Answer(status, echo=True), tmp_path)
    assert "canary" not in told.text.lower()
    assert "***" in told.text


@pytest.mark.parametrize(
    "text",
    [
        "no https://user:canary-pw@host/services/T0CANARY/canary%2Ftoken?a=canary%2Fkey&b=c here",
        "no /services/T0CANARY/canary%2Ftoken here",
        "no canary/token here",
        "no canary%2Ftoken, canary/key, T0CANARY",
        "canary-pw",
    ],
)
def test_parts_of_a_url_are_hidden_however_they_are_written(text: str) -> None:
    url = "https://user:canary-pw@host/services/T0CANARY/canary%2Ftoken?a=canary%2Fkey&b=c"
    assert "canary" not in hide(text, (url,)).lower()


def test_what_is_no_secret_stays() -> None:
    assert hide("invalid_blocks at host", ("https://host/a/b", "")) == "invalid_blocks at host"


def test_a_receiver_that_hangs_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "PATIENCE", 0.5)
    told = answer_with(Answer(hang=True), tmp_path)
    assert told == Told(Outcome.UNAVAILABLE, "there was no answer within 0.5 s")


def test_an_answer_that_does_not_end_counts_by_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answer_with(Answer(200, trickle=True), tmp_path).outcome is Outcome.SENT
    monkeypatch.setattr(posting, "_BODY_PATIENCE", 0.2)
    told = answer_with(Answer(404, trickle=True), tmp_path)
    assert told == Told(Outcome.MISCONFIGURED, "it answers 404")


def test_an_answer_of_any_size_is_cut(tmp_path: Path) -> None:
    told = answer_with(Answer(500, body="a\x00\u202e" * 500_000), tmp_path)
    assert told.outcome is Outcome.UNAVAILABLE
    assert len(told.text) < 250
    assert told.text.isprintable()


def test_nobody_there(tmp_path: Path) -> None:
    port = find_free_port()
    told, again = (send(f"http://{HOST}:{port}{PLACE}", tmp_path) for _ in range(2))
    assert told.outcome is Outcome.UNAVAILABLE
    assert told.text.startswith(f"it cannot be reached: host {HOST}, port {port}: ")
    assert "canary" not in told.text.lower()
    # It stands in a status, which is not to be written for nothing.
    assert told == again


def test_what_is_sent_goes_through_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_http() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert send("http://receiver.invalid/canary", tmp_path).outcome is Outcome.SENT
        (got,) = proxy.got
    assert (got.path, got.headers["Host"]) == ("/canary", "receiver.invalid")


@pytest.mark.parametrize(
    "url",
    [
        "hooks.example.com/x",
        "//hooks.example.com/canary",
        "http://",
        "http:canary",
        "ftp://a/canary",
        "http://[/",
        "http://a..invalid/canary",
        "http://a.invalid:99999/canary",
        f"http://{'a' * 300}/canary",
    ],
)
def test_what_is_no_url_is_somebodys_to_mend(tmp_path: Path, url: str) -> None:
    told = send(url, tmp_path)
    assert told.outcome is Outcome.MISCONFIGURED
    assert told.text == "key url in the Secret of channel channel is no URL of HTTP: mend it"
    assert "canary" not in told.text


def test_the_certificate_is_checked(tmp_path: Path) -> None:
    right, wrong = tls(HOST), tls(HOST)
    with serve_http(tls=right) as server:
        assert send(server.url + PLACE, tmp_path / "1", right.ca) == Told(Outcome.SENT)
        for number, authority in enumerate(("", wrong.ca)):
            told = send(server.url + PLACE, tmp_path / f"no-{number}", authority)
            assert told.outcome is Outcome.MISCONFIGURED
            assert told.text.startswith("the certificate is not valid")
            assert "canary" not in told.text.lower()
        assert len(server.got) == 1


def test_a_certificate_of_another_host_is_refused(tmp_path: Path) -> None:
    other = tls("other.example.com")
    with serve_http(tls=other) as server:
        told = send(server.url + PLACE, tmp_path, other.ca)
    assert told.outcome is Outcome.MISCONFIGURED


@pytest.mark.parametrize("authority", ["x", "-----BEGIN CERTIFICATE-----\nx\n", "ключ"])
def test_what_is_no_authority_is_somebodys_to_mend(tmp_path: Path, authority: str) -> None:
    with pytest.raises(SecretError, match=r"key ca\.crt in the Secret of channel channel"):
        send(f"http://{HOST}:1/", tmp_path, authority)
