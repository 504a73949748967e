"""HTTP requests of channels, and what their answers mean."""

from __future__ import annotations

import asyncio
import email.utils
import html
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, unquote, urlsplit

import aiohttp

from dbt_notifier.messages import Answer, Outcome
from dbt_notifier.secret_files import SecretError, SecretFiles
from dbt_notifier.texts import defuse

PATIENCE = 15.0  # seconds for a request, until its answer begins
_BODY_PATIENCE = 5.0  # seconds for the body of an answer
_LONGEST_WAIT = 3600.0  # seconds that a receiver may ask for
_READ = 64 * 1024  # bytes of an answer
_SHOWN = 200  # characters of it
_LATER = frozenset({408, 425, 429})
_REFUSED = frozenset({400, 413, 415, 422})
_HIDDEN = "***"
_SHORTEST = 6  # characters of a part of a URL that is hidden by itself


@dataclass(frozen=True)
class Request:
    """A POST."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()  # what must not be told to anybody


async def post(request: Request, secrets: SecretFiles) -> Answer:
    """Send a request once. Redirects are not followed: what is sent is for one receiver only.

    Raises:
        SecretError: the channel's own authority is no certificate.
    """
    context = make_context(secrets)
    not_a_url = Answer(Outcome.MISCONFIGURED, f"{secrets.name('url')} is no URL of HTTP: mend it")
    if not is_url(request.url):
        return not_a_url
    try:
        async with asyncio.timeout(PATIENCE + _BODY_PATIENCE):
            return await _post(request, context)
    except TimeoutError:
        return Answer(Outcome.UNAVAILABLE, f"there was no answer within {PATIENCE:g} s")
    except aiohttp.ClientConnectorCertificateError as error:
        found = error.certificate_error
        return _fail(Outcome.MISCONFIGURED, "the certificate is not valid", found, request)
    except (aiohttp.InvalidURL, UnicodeError):
        return not_a_url
    except ssl.SSLError as error:
        return _fail(Outcome.MISCONFIGURED, "TLS", error, request)
    except aiohttp.ClientConnectorError as error:
        # Its own text has an address in memory, which is another one at each try.
        what = f"it cannot be reached: host {defuse(error.host, 100)}, port {error.port}"
        return _fail(Outcome.UNAVAILABLE, what, error.os_error, request)
    except (aiohttp.ClientError, OSError) as error:
        return _fail(Outcome.UNAVAILABLE, "it cannot be reached", error, request)


async def _post(request: Request, context: ssl.SSLContext) -> Answer:
    # The whole has its end in post(), so that a slow body leaves the status to be judged.
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with (
        aiohttp.ClientSession(trust_env=True, timeout=timeout) as session,
        session.post(
            request.url,
            data=request.body,
            headers=request.headers,
            ssl=context,
            allow_redirects=False,
        ) as response,
    ):
        if 200 <= response.status < 300:
            # It is taken, whatever else the answer says, and however slowly.
            return Answer(Outcome.SENT)
        text = hide(await _read(response), request.secrets)
        return _judge(response.status, response.headers, text)


async def _read(response: aiohttp.ClientResponse) -> str:
    """The beginning of a body. What has not come in time is not waited for: the status is enough.
    It is read in one piece, as half of a secret would not be found.
    """
    found = b""
    try:
        async with asyncio.timeout(_BODY_PATIENCE):
            async for part in response.content.iter_any():
                found += part
                if len(found) > _READ:
                    break
    except (TimeoutError, aiohttp.ClientError):
        return ""
    return found[:_READ].decode("utf-8", "replace")


def make_context(secrets: SecretFiles) -> ssl.SSLContext:
    """How TLS is checked: by the system's authorities, and the one in the channel's Secret.

    Raises:
        SecretError: what is in the Secret is no certificate.
    """
    context = ssl.create_default_context()
    if authority := secrets.find("ca.crt"):
        try:
            context.load_verify_locations(cadata=authority)
        except (ssl.SSLError, TypeError) as error:
            raise SecretError(
                f"{secrets.name('ca.crt')} is no certificate in PEM: mend it ({error})"
            ) from None
    return context


def is_url(text: str) -> bool:
    """Whether a text is a URL of HTTP, as far as that can be told without a network."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def hide(text: str, secrets: tuple[str, ...]) -> str:
    """A text without what must not be told, and without the parts of it where it is a URL: a server
    tells of the path that it does not know, and the path is what is secret.
    """
    found = {form for secret in secrets for part in _list_parts(secret) for form in _write(part)}
    # The longest first, so that nothing is left of it.
    for secret in sorted(found, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return text


def _list_parts(secret: str) -> Iterable[str]:
    """A secret; of a URL also what follows on its host, and each part of that."""
    if not secret:
        return
    yield secret
    scheme, found, rest = secret.partition("://")
    if not found or not scheme.isalnum():
        return
    login = rest.partition("/")[0].rpartition("@")[0]
    yield from (part for part in (login, *login.split(":")) if part)
    behind = rest.partition("/")[2]
    pieces = behind
    for separator in "?&=#;":
        pieces = pieces.replace(separator, "/")
    yield from (part for part in (behind, *pieces.split("/")) if len(part) >= _SHORTEST)


def _write(secret: str) -> Iterable[str]:
    """The ways in which a server may write it."""
    yield secret
    yield unquote(secret)
    yield quote(secret)
    yield html.escape(secret)


def _judge(status: int, headers: Mapping[str, str], text: str) -> Answer:
    """What a status means."""
    said = defuse(text, _SHOWN)
    answer = f"it answers {status}" + (f": {said}" if said else "")
    if 300 <= status < 400:
        return Answer(Outcome.MISCONFIGURED, f"{answer}; redirects are not followed: mend its url")
    if status in _LATER or status >= 500:
        return Answer(Outcome.UNAVAILABLE, answer, read_retry_after(headers.get("Retry-After")))
    if status in _REFUSED:
        return Answer(Outcome.REFUSED, answer)
    return Answer(Outcome.MISCONFIGURED, answer)


def read_retry_after(text: str | None, now: datetime | None = None) -> float | None:
    """The seconds that a receiver asks for, as a number or a date (RFC 9110, 10.2.3); None if it
    asks for none.
    """
    if not text:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_WAIT)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    left = (moment - (now or datetime.now(UTC))).total_seconds()
    return min(max(left, 0.0), _LONGEST_WAIT)


def _fail(outcome: Outcome, what: str, error: Exception, request: Request) -> Answer:
    said = defuse(hide(str(error), request.secrets), _SHOWN)
    return Answer(outcome, f"{what}: {said}")
