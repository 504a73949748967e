"""Slack, by an incoming webhook and Block Kit.

Texts are elements of rich_text blocks, which Slack shows as they are: it looks for neither mrkdwn
nor mentions nor links in them. So nothing has to be escaped there, and a mention is an element that
only the channel's own map makes. The text beside the blocks, which stands in notifications, is
escaped, and mrkdwn is switched off for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dbt_notifier.kinds.configuring import ChannelError, read_map, refuse_unknown
from dbt_notifier.messages import Answer, Event, Message
from dbt_notifier.posting import Request, post
from dbt_notifier.secret_files import SecretFiles
from dbt_notifier.texts import cut
from dbt_notifier.wording import Section, Wording, fit, put_into_words

KIND = "slack"
_TYPE = "application/json"
_USER, _GROUP = "<@", "<!subteam^"
_BLOCK = 2600  # characters of a list's entries; a block has at most 3,000
_BODY = 38_000  # bytes
_PREVIEW = 600  # characters
_MENTIONS = 10
_SIGNS = {
    Event.FAILED: "\N{LARGE RED CIRCLE}",
    Event.RECOVERED: "\N{LARGE GREEN CIRCLE}",
    Event.SUCCEEDED: "\N{LARGE GREEN CIRCLE}",
    Event.WARNED: "\N{LARGE YELLOW CIRCLE}",
    Event.LATE: "\N{LARGE ORANGE CIRCLE}",
    Event.MISSED: "\N{LARGE ORANGE CIRCLE}",
    Event.TEST: "\N{LARGE BLUE CIRCLE}",
}

Element = dict[str, Any]


@dataclass(frozen=True)
class Slack:
    """A channel of Slack."""

    mentions: Mapping[str, Element] = field(default_factory=dict)  # by owner

    @classmethod
    def parse(cls, name: str, entry: Mapping[str, Any]) -> Slack:
        """Read an entry of channels.json.

        Raises:
            ChannelError: it is wrong.
        """
        refuse_unknown(name, entry, "mentions")
        mentions = read_map(name, entry, "mentions")
        return cls({owner: _parse_mention(name, owner, each) for owner, each in mentions.items()})

    def render(self, message: Message) -> dict[str, Any]:
        """The body of the request."""
        words = fit(put_into_words(message), lambda found: len(self._write(message, found)), _BODY)
        return self._make_body(message, words)

    def _write(self, message: Message, words: Wording) -> bytes:
        return json.dumps(self._make_body(message, words), ensure_ascii=False).encode()

    def _make_body(self, message: Message, words: Wording) -> dict[str, Any]:
        headline = f"{_SIGNS[message.event]} {words.headline}"
        sections = [block for section in words.sections for block in _list_entries(section)]
        return {
            "text": _escape(cut(f"{_SIGNS[message.event]} {words.preview}", _PREVIEW)),
            "mrkdwn": False,
            "parse": "none",
            "link_names": False,
            "unfurl_links": False,
            "unfurl_media": False,
            "blocks": [
                {"type": "header", "text": _plain(headline)},
                _rich(self._begin(words)),
                *sections,
                *([_rich([_section([_text("\n".join(words.facts))])])] if words.facts else []),
            ],
        }

    async def send(self, message: Message, secrets: SecretFiles) -> Answer:
        """Try once."""
        url = secrets.read("url")
        body = json.dumps(self.render(message), ensure_ascii=False).encode()
        return await post(Request(url, body, {"Content-Type": _TYPE}, secrets=(url,)), secrets)

    def _begin(self, words: Wording) -> list[Element]:
        """What is read first: the reason, the first node, what to type next, and who is called."""
        lines: list[Element] = []
        if words.reason:
            lines.append(_text(words.reason + "\n", bold=True))
        if words.first is not None:
            lines.append(_text(words.first.name, code=True))
            lines.append(_text(f" {words.first.text}\n"))
        lines.append(_text(words.command, code=True))
        called = [self.mentions[owner] for owner in words.owners if owner in self.mentions]
        for mention in called[:_MENTIONS]:
            lines += [_text(" "), mention]
        return [_section(lines)]


def _parse_mention(name: str, owner: str, handle: object) -> Element:
    """A mention of one person, or of one group: never of all who are there."""
    text = handle if isinstance(handle, str) else ""
    if text.startswith(_USER) and _is_id(text[len(_USER) : -1], "UW") and text.endswith(">"):
        return {"type": "user", "user_id": text[len(_USER) : -1]}
    if text.startswith(_GROUP) and _is_id(text[len(_GROUP) : -1], "S") and text.endswith(">"):
        return {"type": "usergroup", "usergroup_id": text[len(_GROUP) : -1]}
    raise ChannelError(
        f"{name}.mentions[{owner}]: must be a member such as <@U0123456789>, or a group such as"
        " <!subteam^S0123456789>"
    )


def _is_id(text: str, first: str) -> bool:
    return len(text) > 1 and text[0] in first and text.isascii() and text.isalnum()


def _list_entries(section: Section) -> Iterable[Element]:
    """A section: its title, and its entries in as many blocks as they need."""
    begin = [_section([_text(section.title, bold=True)])]
    lines: list[Element] = []
    size = 0
    for entry in section.entries:
        size += len(entry.name) + len(entry.text) + 2
        if size > _BLOCK and lines:
            yield _rich([*begin, _list(lines)])
            begin, lines, size = [], [], 0
        text = [_text(f" {entry.text}")] if entry.text else []
        lines.append(_section([_text(entry.name, code=True), *text]))
    yield _rich([*begin, _list(lines)])


def _list(lines: list[Element]) -> Element:
    return {"type": "rich_text_list", "style": "bullet", "elements": lines}


def _rich(elements: list[Element]) -> Element:
    return {"type": "rich_text", "elements": elements}


def _section(elements: list[Element]) -> Element:
    return {"type": "rich_text_section", "elements": elements}


def _text(text: str, **style: bool) -> Element:
    found: Element = {"type": "text", "text": text or " "}
    return found | {"style": style} if style else found


def _plain(text: str) -> Element:
    return {"type": "plain_text", "text": text, "emoji": False}


def _escape(text: str) -> str:
    """https://api.slack.com/reference/surfaces/formatting#escaping"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
