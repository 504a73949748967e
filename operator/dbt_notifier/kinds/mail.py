"""E-mail by SMTP, never without TLS."""

from __future__ import annotations

import asyncio
import html
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from hashlib import sha256
from typing import Any, Literal, cast

import aiosmtplib
from aiosmtplib.errors import (
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from dbt_notifier.kinds.configuring import ChannelError, read_text, read_texts, refuse_unknown
from dbt_notifier.messages import Answer, Message, Outcome
from dbt_notifier.posting import hide, make_context
from dbt_notifier.secret_files import SecretFiles
from dbt_notifier.texts import defuse
from dbt_notifier.wording import Section, Wording, fit, join, put_into_words

KIND = "mail"
PATIENCE = 30.0  # seconds for each step; servers look for spam before they answer
# Seconds for all steps, and to say goodbye: less than the operator waits for the answer.
_WHOLE_PATIENCE, _FAREWELL = 70.0, 5.0
_LAST_PORT = 65_535
_PORTS = {"starttls": 587, "tls": 465}
_LARGEST = 24_000  # bytes of text and HTML, which become more when they are encoded
_SHOWN = 200  # characters of an answer
_TRANSIENT, _PERMANENT = 400, 500
_STYLE = (
    "max-width:640px;margin:0 auto;padding:12px;font:16px/1.5 sans-serif;color:#1b1b1b;"
    "overflow-wrap:anywhere;word-break:break-word"
)
_CODE = "font-family:monospace;font-size:14px;white-space:pre-wrap;overflow-wrap:anywhere"


@dataclass(frozen=True)
class Mail:
    """Mailboxes, and the server that takes mail for them."""

    host: str
    port: int
    security: Literal["starttls", "tls"]
    sender: Address
    recipients: tuple[Address, ...]

    @classmethod
    def parse(cls, name: str, entry: Mapping[str, Any]) -> Mail:
        """Read an entry of channels.json.

        Raises:
            ChannelError: it is wrong.
        """
        refuse_unknown(name, entry, "host", "port", "security", "from", "to")
        security = read_text(name, entry, "security", "starttls")
        if security not in _PORTS:
            raise ChannelError(f"{name}.security: must be starttls or tls")
        port = entry.get("port", _PORTS[security])
        if not isinstance(port, int) or isinstance(port, bool) or not 0 < port <= _LAST_PORT:
            raise ChannelError(f"{name}.port: must be a number from 1 to {_LAST_PORT}")
        recipients = read_texts(name, entry, "to")
        if not recipients:
            raise ChannelError(f"{name}.to: must name at least one address")
        return cls(
            read_text(name, entry, "host"),
            port,
            cast('Literal["starttls", "tls"]', security),
            _parse_address(name, "from", read_text(name, entry, "from")),
            tuple(_parse_address(name, "to", each) for each in recipients),
        )

    def render(self, message: Message, now: datetime) -> EmailMessage:
        """The mail."""
        words = fit(put_into_words(message), _measure, _LARGEST)
        mail = EmailMessage(policy=SMTP)
        mail["Subject"] = words.subject
        mail["From"] = self.sender
        mail["To"] = self.recipients
        mail["Date"] = format_datetime(now)
        mail["Message-ID"] = f"<{message.key}@dbt-operator>"
        # So mail of one series stands together. No such mail was ever sent, which is as it may be.
        series = sha256(message.series.encode()).hexdigest()[:32]
        mail["References"] = f"<{series}@dbt-operator>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(write_text(words))
        mail.add_alternative(write_html(words), subtype="html")
        return mail

    async def send(self, message: Message, secrets: SecretFiles) -> Answer:
        """Try once."""
        username, password = secrets.find("username"), secrets.find("password")
        if (username is None) != (password is None):
            return Answer(
                Outcome.MISCONFIGURED, "the Secret needs both username and password, or neither"
            )
        hidden = (password or "",)
        client = aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            username=username,
            password=password,
            timeout=PATIENCE,
            use_tls=self.security == "tls",
            start_tls=self.security == "starttls",
            tls_context=make_context(secrets),
        )
        try:
            async with asyncio.timeout(_WHOLE_PATIENCE):
                await client.connect()
                refused, _ = await client.send_message(self.render(message, datetime.now(UTC)))
            await _say_goodbye(client)
        except (SMTPException, OSError) as error:
            return _judge(error, hidden)
        finally:
            client.close()
        if not refused:
            return Answer(Outcome.SENT)
        names = ", ".join(sorted(refused))
        return Answer(Outcome.SENT, f"it was refused for {defuse(names, _SHOWN)}")


async def _say_goodbye(client: aiosmtplib.SMTP) -> None:
    """The mail has been taken, whatever comes of this."""
    with suppress(SMTPException, OSError):
        async with asyncio.timeout(_FAREWELL):
            await client.quit()


def _parse_address(name: str, field: str, text: str) -> Address:
    """An address, with or without a name before it."""
    display, _, rest = text.rpartition("<")
    try:
        return Address(display.strip(' "'), addr_spec=rest.removesuffix(">").strip())
    except (ValueError, IndexError, MessageError) as error:
        raise ChannelError(f"{name}.{field}: {text!r} is no e-mail address: {error}") from None


def _judge(error: Exception, hidden: tuple[str, ...]) -> Answer:
    """What an error means. Codes are those of RFC 5321; a certificate that is not valid comes as
    the cause of another error.
    """
    if (found := _find_tls_error(error)) is not None:
        if isinstance(found, ssl.SSLCertVerificationError):
            what = "the certificate is not valid"
            return Answer(Outcome.MISCONFIGURED, _say(what, found, hidden))
        what = "TLS does not begin: set security, or another port"
        return Answer(Outcome.MISCONFIGURED, _say(what, found, hidden))
    if isinstance(error, SMTPNotSupported) or type(error) is SMTPException:
        # Its own class where something in the mail is not supported, else the one of all.
        why = "the server does not do what is asked of it: set security, or another port"
        return Answer(Outcome.MISCONFIGURED, _say(why, error, hidden))
    if isinstance(error, SMTPRecipientsRefused):
        codes = [each.code for each in error.recipients]
        outcome = Outcome.MISCONFIGURED if min(codes) >= _PERMANENT else Outcome.UNAVAILABLE
        first = error.recipients[0]
        what = f"no recipient was taken: {first.recipient}: {first.code}"
        return Answer(outcome, _say(what, first, hidden))
    if not isinstance(error, SMTPResponseException):
        return Answer(Outcome.UNAVAILABLE, _say("it cannot be reached", error, hidden))
    said = _say(f"it answers {error.code}", error, hidden)
    if isinstance(error, SMTPAuthenticationError):
        # Servers may answer with the command, which has the password in it.
        said = f"it answers {error.code}: the login is refused"
    if _TRANSIENT <= error.code < _PERMANENT:
        return Answer(Outcome.UNAVAILABLE, said)
    if isinstance(error, SMTPDataError):
        return Answer(Outcome.REFUSED, said)
    outcome = Outcome.MISCONFIGURED if error.code >= _PERMANENT else Outcome.UNAVAILABLE
    return Answer(outcome, said)


def _find_tls_error(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _say(what: str, error: Exception, hidden: tuple[str, ...]) -> str:
    said = error.message if isinstance(error, SMTPException) else ""
    text = str(said or error) or type(error).__name__
    return f"{what}: {defuse(hide(text, hidden), _SHOWN)}"


# What people read


def _measure(words: Wording) -> int:
    return len(write_text(words).encode()) + len(write_html(words).encode())


def write_text(words: Wording) -> str:
    """The mail for programs that show no HTML."""
    parts = [words.headline, "", words.reason] if words.reason else [words.headline, ""]
    if words.first is not None:
        parts.append(join(words.first))
    parts.append(f"More: {words.command}")
    for section in words.sections:
        parts += ["", f"{section.title}:", *(f"- {join(entry)}" for entry in section.entries)]
    return "\n".join([*parts, "", *words.facts, ""])


def write_html(words: Wording) -> str:
    """The mail as a page that fits every width: nothing in it has a width of its own."""
    begin = f"<h1 style='font-size:20px;margin:0 0 8px'>{html.escape(words.headline)}</h1>"
    if words.reason:
        begin += f"<p style='margin:0 0 8px'><b>{html.escape(words.reason)}</b></p>"
    if words.first is not None:
        name, text = html.escape(words.first.name), html.escape(words.first.text)
        begin += f"<p style='margin:0 0 8px'><span style='{_CODE}'>{name}</span><br>{text}</p>"
    begin += f"<p style='margin:0 0 16px;{_CODE}'>{html.escape(words.command)}</p>"
    sections = "".join(_write_section(section) for section in words.sections)
    facts = "".join(f"<p style='margin:0'>{html.escape(fact)}</p>" for fact in words.facts)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"></head>'
        f"<body style='margin:0'><div style='{_STYLE}'>{begin}{sections}{facts}</div></body></html>"
    )


def _write_section(section: Section) -> str:
    return (
        f"<p style='margin:0'><b>{html.escape(section.title)}</b></p>"
        f"<ul style='margin:0 0 16px;padding-left:20px'>{''.join(_write_entries(section))}</ul>"
    )


def _write_entries(section: Section) -> Iterable[str]:
    for entry in section.entries:
        text = f"<br>{html.escape(entry.text)}" if entry.text else ""
        yield f"<li><span style='{_CODE}'>{html.escape(entry.name)}</span>{text}</li>"
