from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiosmtplib.errors import SMTPAuthenticationError

from dbt_notifier.kinds import mail
from dbt_notifier.kinds.configuring import ChannelError
from dbt_notifier.kinds.mail import Mail
from dbt_notifier.messages import Answer, Message, Outcome
from dbt_notifier.secret_files import SecretError
from tests.support.certificates import Tls, tls
from tests.support.free_ports import find_free_port
from tests.support.notifier_messages import HOSTILE, MODEL_ERROR
from tests.support.notifier_secrets import write_secret
from tests.support.notifier_sends import run
from tests.support.notifier_servers import (
    HOST,
    PASSWORD,
    USER,
    MailRules,
    SmtpServer,
    serve_smtp,
)

ENTRY = {
    "kind": "mail",
    "host": HOST,
    "from": "dbt <dbt@example.com>",
    "to": ["data@example.com", "On call <oncall@example.com>"],
}
BOTH = pytest.mark.parametrize("security", ["starttls", "tls"])


@pytest.fixture(scope="module")
def certificate() -> Tls:
    return tls(HOST)


@dataclass
class Sender:
    """A channel, and its Secret."""

    channel: Mail
    folder: Path
    server: SmtpServer

    def send(self, message: Message = MODEL_ERROR, **keys: str) -> Answer:
        secrets = write_secret(self.folder, **keys)
        return run(self.channel.send(message, secrets))


@contextmanager
def make_sender(
    folder: Path,
    certificate: Tls | None,
    security: str = "starttls",
    rules: MailRules | None = None,
) -> Iterator[Sender]:
    """A channel whose Secret is as it is to be."""
    with serve_smtp(certificate, security, rules) as server:
        channel = Mail.parse("post", {**ENTRY, "port": server.port, "security": security})
        authority = certificate.ca if certificate else ""
        write_secret(folder, username=USER, password=PASSWORD, ca__crt=authority)
        yield Sender(channel, folder, server)


@BOTH
@pytest.mark.parametrize("message", [MODEL_ERROR, HOSTILE])
def test_a_mail_arrives(tmp_path: Path, certificate: Tls, security: str, message: Any) -> None:
    with make_sender(tmp_path, certificate, security) as sender:
        assert sender.send(message) == Answer(Outcome.SENT)
        (got,) = sender.server.got
        assert sender.server.recipients == [["data@example.com", "oncall@example.com"]]
    read = email.message_from_bytes(got, policy=email.policy.default)
    assert read["From"] == "dbt <dbt@example.com>"
    assert read["To"] == "data@example.com, On call <oncall@example.com>"
    assert str(read["Subject"]).startswith(("dbt failed: ", "dbt backfill failed: "))
    assert read["Auto-Submitted"] == "auto-generated"


@BOTH
def test_nothing_is_said_to_a_server_whose_certificate_is_not_trusted(
    tmp_path: Path, certificate: Tls, security: str
) -> None:
    with make_sender(tmp_path, certificate, security) as sender:
        for authority in ("", tls(HOST).ca):
            answer = sender.send(ca__crt=authority)
            assert answer.outcome is Outcome.MISCONFIGURED
            assert answer.text.startswith("the certificate is not valid: ")
        assert sender.server.got == []
        expect_nothing_said(sender.server)


def test_the_certificate_of_another_host_is_refused(tmp_path: Path) -> None:
    with make_sender(tmp_path, tls("other.example.com"), "tls") as sender:
        assert sender.send().outcome is Outcome.MISCONFIGURED
        expect_nothing_said(sender.server)


def test_nothing_is_sent_in_plain_text(tmp_path: Path) -> None:
    with make_sender(tmp_path, None) as sender:
        answer = sender.send()
        assert answer.outcome is Outcome.MISCONFIGURED
        assert "STARTTLS" in answer.text
        assert sender.server.got == []
        expect_nothing_said(sender.server)


def test_neither_is_to_a_server_that_speaks_no_tls_at_all(tmp_path: Path) -> None:
    with make_sender(tmp_path, None) as sender:
        sender.channel = replace(sender.channel, security="tls")
        answer = sender.send()
        assert answer.outcome is Outcome.MISCONFIGURED
        assert "set security" in answer.text
        expect_nothing_said(sender.server)


def expect_nothing_said(server: SmtpServer) -> None:
    lowered = bytes(server.read).lower()
    assert not any(word in lowered for word in (b"auth", b"mail from", b"rcpt", b"data\r\n"))
    assert PASSWORD.encode() not in lowered


@BOTH
def test_a_wrong_password_is_somebodys_to_mend(
    tmp_path: Path, certificate: Tls, security: str
) -> None:
    with make_sender(tmp_path, certificate, security) as sender:
        answer = sender.send(password="canary-wrong")  # noqa: S106
        assert answer.outcome is Outcome.MISCONFIGURED
        # Nothing of what the server says: it may repeat the password, in base64.
        assert answer.text == "it answers 535: the login is refused"
        assert sender.send(password=PASSWORD).outcome is Outcome.SENT


@pytest.mark.parametrize("missing", ["username", "password"])
def test_half_a_login_is_somebodys_to_mend(tmp_path: Path, certificate: Tls, missing: str) -> None:
    with make_sender(tmp_path, certificate) as sender:
        answer = sender.send(MODEL_ERROR, **{missing: ""})
        assert answer.outcome is Outcome.MISCONFIGURED
        assert "both username and password" in answer.text
        assert sender.server.read == b""


def test_a_server_may_ask_for_no_login(tmp_path: Path, certificate: Tls) -> None:
    with make_sender(tmp_path, certificate, rules=MailRules(login=False)) as sender:
        assert sender.send(username="", password="").outcome is Outcome.SENT
        assert b"AUTH" not in sender.server.read


def test_a_server_that_asks_for_a_login_which_there_is_not(
    tmp_path: Path, certificate: Tls
) -> None:
    with make_sender(tmp_path, certificate) as sender:
        answer = sender.send(username="", password="")
    assert answer.outcome is Outcome.MISCONFIGURED
    assert answer.text.startswith("it answers 530")


def test_one_of_two_recipients_is_enough(tmp_path: Path, certificate: Tls) -> None:
    rules = MailRules(refused=("oncall@example.com",))
    with make_sender(tmp_path, certificate, rules=rules) as sender:
        answer = sender.send()
        assert sender.server.recipients == [["data@example.com"]]
    assert answer == Answer(Outcome.SENT, "it was refused for oncall@example.com")


@pytest.mark.parametrize(
    ("said", "outcome"),
    [("550 no such user", Outcome.MISCONFIGURED), ("451 come back later", Outcome.UNAVAILABLE)],
)
def test_nobody_is_taken(tmp_path: Path, certificate: Tls, said: str, outcome: Outcome) -> None:
    rules = MailRules(refused=("data@example.com", "oncall@example.com"), recipient_answer=said)
    with make_sender(tmp_path, certificate, rules=rules) as sender:
        answer = sender.send()
    assert answer.outcome is outcome
    assert answer.text == "no recipient was taken: data@example.com: {}: {}".format(
        *said.split(" ", 1)
    )


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("451 greylisted", Outcome.UNAVAILABLE),
        ("554 it looks like spam", Outcome.REFUSED),
        ("552 too large", Outcome.REFUSED),
    ],
)
def test_what_is_said_of_the_mail_itself(
    tmp_path: Path, certificate: Tls, said: str, outcome: Outcome
) -> None:
    with make_sender(tmp_path, certificate, rules=MailRules(data_answer=said)) as sender:
        answer = sender.send()
    code, _, text = said.partition(" ")
    assert answer == Answer(outcome, f"it answers {code}: {text}")


def test_nobody_there(tmp_path: Path, certificate: Tls) -> None:
    with make_sender(tmp_path, certificate) as sender:
        sender.channel = replace(sender.channel, port=find_free_port())
        answer = sender.send()
    assert answer.outcome is Outcome.UNAVAILABLE
    assert answer.text.startswith("it cannot be reached: ")


def test_a_host_without_an_address_is_tried_again(tmp_path: Path, certificate: Tls) -> None:
    with make_sender(tmp_path, certificate) as sender:
        sender.channel = replace(sender.channel, host="nowhere.invalid")
        assert sender.send().outcome is Outcome.UNAVAILABLE


@BOTH
def test_a_server_that_says_nothing_is_tried_again(
    tmp_path: Path, certificate: Tls, security: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "PATIENCE", 0.5)
    with make_sender(tmp_path, certificate, security, MailRules(hang=True)) as sender:
        assert sender.send().outcome is Outcome.UNAVAILABLE


def test_all_steps_together_have_an_end(
    tmp_path: Path, certificate: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "_WHOLE_PATIENCE", 0.5)
    with make_sender(tmp_path, certificate, rules=MailRules(hang=True)) as sender:
        assert sender.send().outcome is Outcome.UNAVAILABLE


def test_a_mail_that_is_taken_is_sent_however_the_server_says_goodbye(
    tmp_path: Path, certificate: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "_FAREWELL", 0.2)
    with make_sender(tmp_path, certificate, rules=MailRules(hang_at_quit=True)) as sender:
        assert sender.send() == Answer(Outcome.SENT)
        assert len(sender.server.got) == 1


def test_an_authority_that_is_none_is_somebodys_to_mend(tmp_path: Path, certificate: Tls) -> None:
    with (
        make_sender(tmp_path, certificate) as sender,
        pytest.raises(SecretError, match=r"ca\.crt"),
    ):
        sender.send(ca__crt="no certificate")


def test_what_is_not_said_has_a_default() -> None:
    channel = Mail.parse("post", ENTRY)
    assert (channel.port, channel.security) == (587, "starttls")
    assert Mail.parse("post", {**ENTRY, "security": "tls"}).port == 465


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"host": ""}, "post.host: must be a text"),
        ({"host": None}, "post.host: must be a text"),
        ({"port": "587"}, "post.port: must be a number"),
        ({"port": True}, "post.port: must be a number"),
        ({"port": 0}, "post.port: must be a number"),
        ({"port": 65536}, "post.port: must be a number"),
        ({"security": "none"}, "post.security: must be starttls or tls"),
        ({"security": 1}, "post.security: must be"),
        ({"from": ""}, "post.from: must be a text"),
        ({"from": "dbt"}, "post.from: 'dbt' is no e-mail address"),
        ({"from": "dbt <dbt@>"}, "post.from: 'dbt <dbt@>' is no e-mail address"),
        ({"from": "a@b\r\nBcc: c@d"}, "post.from: "),
        ({"from": "x\r\nBcc: c@d <a@b>"}, "post.from: "),
        ({"to": []}, "post.to: must name at least one address"),
        ({"to": "data@example.com"}, "post.to: must be a list of texts"),
        ({"to": ["data@example.com", 1]}, "post.to: must be a list of texts"),
        ({"to": ["a@b, c@d"]}, "post.to: 'a@b, c@d' is no e-mail address"),
        ({"to": ["@example.com"]}, "post.to: '@example.com' is no e-mail address"),
        ({"password": "x"}, "post.password: kind mail knows from, host, port, security, to"),
    ],
)
def test_a_wrong_field_is_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ChannelError) as error:
        Mail.parse("post", {**ENTRY, **wrong})
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    ("code", "outcome"), [(454, Outcome.UNAVAILABLE), (535, Outcome.MISCONFIGURED)]
)
def test_what_a_server_says_of_a_login_is_shown_to_nobody(code: int, outcome: Outcome) -> None:
    error = SMTPAuthenticationError(code, "AUTH PLAIN Y2FuYXJ5 is not accepted")
    assert mail._judge(error, ()) == Answer(outcome, f"it answers {code}: the login is refused")
