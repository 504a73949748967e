"""PagerDuty, by its Events API v2 (https://developer.pagerduty.com/docs/send-alert-event).

What becomes of an event, for whoever is on call:

- Failed and Late trigger an incident with severity error, Missed one with severity warning. All
  that concerns one schedule has the same key, so it stays one incident, however often it fails. A
  message about many runs has the key of the first one.
- Recovered and Succeeded resolve it. PagerDuty takes no notice of that where there is none.
- Warned and Test trigger incidents of their own, with severity warning and info, which a person
  closes: a run that only warns must not hide the next failure, or keep an incident open. Nobody
  gets these who does not ask for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

from dbt_notifier.kinds.configuring import ChannelError, read_text, refuse_unknown
from dbt_notifier.messages import Answer, Event, Message, Outcome
from dbt_notifier.posting import Request, is_url, post
from dbt_notifier.secret_files import SecretFiles
from dbt_notifier.texts import defuse
from dbt_notifier.wording import Wording, fit, join, put_into_words

KIND = "pagerduty"
ENDPOINT: Final = "https://events.pagerduty.com/v2/enqueue"
_TYPE = "application/json"
_LARGEST = 38_000  # bytes of a body
_LONGEST_KEY = 255  # characters
_PLACE, _SOURCE = 40, 130  # characters
_SEVERITIES = {
    Event.FAILED: "error",
    Event.LATE: "error",
    Event.MISSED: "warning",
    Event.WARNED: "warning",
    Event.TEST: "info",
    Event.RECOVERED: "info",
    Event.SUCCEEDED: "info",
}
_RESOLVES = frozenset({Event.RECOVERED, Event.SUCCEEDED})
_ALONE = frozenset({Event.WARNED, Event.TEST})


@dataclass(frozen=True)
class PagerDuty:
    """A service of PagerDuty."""

    endpoint: str = ENDPOINT

    @classmethod
    def parse(cls, name: str, entry: Mapping[str, Any]) -> PagerDuty:
        """Read an entry of channels.json.

        Raises:
            ChannelError: it is wrong.
        """
        refuse_unknown(name, entry, "endpoint")
        endpoint = read_text(name, entry, "endpoint", ENDPOINT)
        # Plain HTTP is for a proxy of one's own: the key of the service is in the body.
        if not is_url(endpoint):
            raise ChannelError(f"{name}.endpoint: must be a URL such as {ENDPOINT}")
        return cls(endpoint)

    def render(self, message: Message, routing_key: str) -> dict[str, Any]:
        """The body of the request."""
        words = fit(
            put_into_words(message),
            lambda found: len(_write(_make_body(message, found, routing_key))),
            _LARGEST,
        )
        return _make_body(message, words, routing_key)

    async def send(self, message: Message, secrets: SecretFiles) -> Answer:
        """Try once."""
        key = secrets.read("routingKey")
        body = _write(self.render(message, key))
        request = Request(self.endpoint, body, {"Content-Type": _TYPE}, secrets=(key,))
        answer = await post(request, secrets)
        # It answers 400 to a wrong key as well as to a wrong event.
        if answer.outcome is Outcome.REFUSED and "rout" in answer.text.lower():
            return replace(answer, outcome=Outcome.MISCONFIGURED)
        return answer


def _make_body(message: Message, words: Wording, routing_key: str) -> dict[str, Any]:
    about = message.about
    payload = {
        "summary": words.subject,
        "source": defuse(f"{about.namespace}/{about.name}", _SOURCE),
        "severity": _SEVERITIES[message.event],
        "custom_details": _list_details(words),
    }
    for name, value in (("component", about.project), ("group", about.target)):
        if value:
            payload[name] = defuse(value, _PLACE)
    if words.code:
        payload["class"] = words.code
    return {
        "routing_key": routing_key,
        "event_action": "resolve" if message.event in _RESOLVES else "trigger",
        "dedup_key": _make_key(message),
        "client": "dbt-operator",
        "payload": payload,
    }


def _make_key(message: Message) -> str:
    """What is the same for all events of one incident."""
    if message.event in _ALONE:
        return message.key
    series = message.series
    return series if len(series) <= _LONGEST_KEY else sha256(series.encode()).hexdigest()


def _list_details(words: Wording) -> dict[str, Any]:
    """What is read first, first: PagerDuty shows it as a table, in this order."""
    found: dict[str, Any] = {}
    if words.reason:
        found["reason"] = words.reason
    if words.first is not None:
        found["first"] = join(words.first)
    found["command"] = words.command
    for section in words.sections:
        found[section.title] = [join(entry) for entry in section.entries]
    found["facts"] = list(words.facts)
    return found


def _write(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()
