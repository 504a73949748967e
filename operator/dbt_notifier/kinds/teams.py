"""Microsoft Teams, by the URL of a workflow that posts a card when it gets a request.

Texts are runs of rich text blocks, as Teams looks for Markdown in its plain text blocks. Mentions
work nowhere but there, so they have a text block of their own, in which nothing stands but what the
channel's map says. Teams takes ``<at>`` for a mention only where the card says whom it means.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from dbt_notifier.kinds.configuring import ChannelError, read_map, refuse_unknown
from dbt_notifier.messages import Answer, Event, Message
from dbt_notifier.posting import Request, post
from dbt_notifier.secret_files import SecretFiles
from dbt_notifier.wording import Entry, Section, Wording, fit, put_into_words

KIND = "teams"
_TYPE = "application/json"
_CARD = "application/vnd.microsoft.card.adaptive"
_LARGEST = 27_000  # bytes of a body; Teams takes 28 KB
_MENTIONS = 10
_LONGEST_NAME = 80  # characters
_COLOURS = {
    Event.FAILED: "Attention",
    Event.RECOVERED: "Good",
    Event.SUCCEEDED: "Good",
    Event.WARNED: "Warning",
    Event.LATE: "Warning",
    Event.MISSED: "Warning",
    Event.TEST: "Accent",
}

Element = dict[str, Any]


@dataclass(frozen=True)
class Mention:
    """A person who is called."""

    name: str
    identity: str  # the user principal name, or the object's ID in Entra

    @property
    def text(self) -> str:
        """What stands for it in a text."""
        return f"<at>{self.name}</at>"


@dataclass(frozen=True)
class Teams:
    """A channel or a chat of Teams."""

    mentions: Mapping[str, Mention] = field(default_factory=dict)  # by owner

    @classmethod
    def parse(cls, name: str, entry: Mapping[str, Any]) -> Teams:
        """Read an entry of channels.json.

        Raises:
            ChannelError: it is wrong.
        """
        refuse_unknown(name, entry, "mentions")
        mentions = read_map(name, entry, "mentions")
        return cls({owner: _parse_mention(name, owner, each) for owner, each in mentions.items()})

    def render(self, message: Message) -> dict[str, Any]:
        """The body of the request."""
        words = fit(
            put_into_words(message),
            lambda found: len(_write(self._make_body(message, found))),
            _LARGEST,
        )
        return self._make_body(message, words)

    async def send(self, message: Message, secrets: SecretFiles) -> Answer:
        """Try once."""
        url = secrets.read("url")
        body = _write(self.render(message))
        return await post(Request(url, body, {"Content-Type": _TYPE}, secrets=(url,)), secrets)

    def _make_body(self, message: Message, words: Wording) -> dict[str, Any]:
        called = [self.mentions[owner] for owner in words.owners if owner in self.mentions]
        called = list(dict.fromkeys(called))[:_MENTIONS]
        card: Element = {
            "type": "AdaptiveCard",
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "version": "1.4",
            "msteams": {"width": "Full", "entities": [_make_entity(each) for each in called]},
            "body": list(_list_blocks(message, words, called)),
        }
        attachment = {"contentType": _CARD, "contentUrl": None, "content": card}
        return {"type": "message", "attachments": [attachment]}


def _parse_mention(name: str, owner: str, handle: object) -> Mention:
    """A mention of one person: Teams has others too, of a channel and of a team, which call
    everybody.
    """
    text = handle if isinstance(handle, str) else ""
    shown, _, rest = text.strip().partition(" <")
    identity = rest.removesuffix(">")
    if rest.endswith(">") and _is_name(shown) and (_is_user(identity) or _is_uuid(identity)):
        return Mention(shown, identity)
    raise ChannelError(
        f"{name}.mentions[{owner}]: must be a person such as Ada Lovelace <ada@example.com>, with"
        " the user principal name or the object ID in Entra"
    )


def _is_name(text: str) -> bool:
    """Whether it is a name in which Teams sees no Markdown."""
    return 0 < len(text) <= _LONGEST_NAME and all(each.isalnum() or each in " .-'" for each in text)


def _is_user(text: str) -> bool:
    name, found, domain = text.partition("@")
    return bool(found) and all(
        part and part.isascii() and all(each.isalnum() or each in "._-+#" for each in part)
        for part in (name, domain)
    )


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def _make_entity(mention: Mention) -> Element:
    return {
        "type": "mention",
        "text": mention.text,
        "mentioned": {"id": mention.identity, "name": mention.name},
    }


def _list_blocks(message: Message, words: Wording, called: list[Mention]) -> Iterable[Element]:
    headline = _run(words.headline, size="Large", weight="Bolder", color=_COLOURS[message.event])
    yield _block(headline)
    if words.reason:
        yield _block(_run(words.reason, weight="Bolder"))
    if words.first is not None:
        yield _block(*_list_runs(words.first))
    yield _block(_run(words.command, fontType="Monospace"))
    if called:
        text = " ".join(each.text for each in called)
        yield {"type": "TextBlock", "text": text, "wrap": True}
    for section in words.sections:
        yield from _list_entries(section)
    for number, fact in enumerate(words.facts):
        yield _block(_run(fact, isSubtle=True), spacing="None" if number else "Default")


def _list_entries(section: Section) -> Iterable[Element]:
    yield _block(_run(section.title, weight="Bolder"))
    for entry in section.entries:
        yield _block(_run("- "), *_list_runs(entry), spacing="None")


def _list_runs(entry: Entry) -> Iterable[Element]:
    yield _run(entry.name, fontType="Monospace")
    if entry.text:
        yield _run(f" {entry.text}")


def _block(*runs: Element, spacing: str = "Default") -> Element:
    block: Element = {"type": "RichTextBlock", "inlines": list(runs)}
    return block if spacing == "Default" else block | {"spacing": spacing}


def _run(text: str, **style: object) -> Element:
    return {"type": "TextRun", "text": text or " ", **style}


def _write(body: Element) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
