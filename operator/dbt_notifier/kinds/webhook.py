"""Any receiver of CloudEvents 1.0 by HTTP, in the structured mode.

Requests are signed as Standard Webhooks has it (https://www.standardwebhooks.com), if the Secret
has a key for that.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

from dbt_notifier.kinds.configuring import refuse_unknown
from dbt_notifier.messages import Answer, Message, encode
from dbt_notifier.posting import Request, post
from dbt_notifier.secret_files import SecretError, SecretFiles
from dbt_notifier.texts import cut

KIND = "webhook"
_PREFIX = "whsec_"
_TYPE = "application/cloudevents+json"
_LARGEST = 40_000  # bytes of a body


class _Bounds(NamedTuple):
    characters: int  # of a text
    entries: int  # of a list


# The first ones under which a message is not too large. Names of objects have 253 characters.
_BOUNDS = (
    _Bounds(1000, 20),
    _Bounds(300, 20),
    _Bounds(253, 5),
    _Bounds(253, 1),
    _Bounds(100, 1),
)


@dataclass(frozen=True)
class Webhook:
    """A receiver of somebody's own."""

    @classmethod
    def parse(cls, name: str, entry: Mapping[str, Any]) -> Webhook:
        """Read an entry of channels.json.

        Raises:
            ChannelError: it is wrong.
        """
        refuse_unknown(name, entry)
        return cls()

    def render(self, message: Message, now: datetime) -> dict[str, Any]:
        """The event."""
        about = message.about
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": message.key,
            "source": f"/dbt-operator/namespaces/{about.namespace}",
            "type": f"dev.dbt-operator.{about.kind.lower()}.{message.event.lower()}",
            "subject": about.name,
            "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "datacontenttype": "application/json",
        }
        data = encode(message)
        for bounds in _BOUNDS:
            event["data"] = _convert(data, bounds)
            if len(_write(event)) <= _LARGEST:
                break
        return event

    async def send(self, message: Message, secrets: SecretFiles) -> Answer:
        """Try once."""
        url, key = secrets.read("url"), secrets.find("hmacKey")
        now = datetime.now(UTC)
        body = _write(self.render(message, now))
        headers = {"Content-Type": _TYPE, "Idempotency-Key": message.key}
        if key is not None:
            headers |= sign(key, message.key, int(now.timestamp()), body)
        return await post(Request(url, body, headers, secrets=(url, key or "")), secrets)


def sign(key: str, identity: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that prove who sent a request: HMAC-SHA256 over its ID, its time and its body.

    Raises:
        SecretError: the key begins as those of Standard Webhooks do, and goes on otherwise.
    """
    signed = f"{identity}.{timestamp}.".encode() + body
    digest = hmac.digest(_read_key(key), signed, sha256)
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _read_key(key: str) -> bytes:
    """The bytes of a key: those of Standard Webhooks are written in base64 behind a prefix."""
    if not key.startswith(_PREFIX):
        return key.encode()
    try:
        return base64.b64decode(key.removeprefix(_PREFIX), validate=True)
    except ValueError:
        raise SecretError(f"key hmacKey goes on after {_PREFIX} with what is no base64") from None


def _write(event: Mapping[str, Any]) -> bytes:
    """As JSON in ASCII, so that nothing in it is of another direction, or not seen, for whoever
    looks at it.
    """
    return json.dumps(event).encode()


def _convert(found: Any, bounds: _Bounds) -> Any:
    """The same with the names that the API of Kubernetes would give, and no longer than it may be.
    What UTF-8 cannot say is left out; else texts are as they came, as programs read them.
    """
    if isinstance(found, Mapping):
        return {_name(key): _convert(value, bounds) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_convert(each, bounds) for each in found[: bounds.entries]]
    if isinstance(found, str):
        return cut(found, bounds.characters).encode(errors="replace").decode()
    return found


def _name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)
