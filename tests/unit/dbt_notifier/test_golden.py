"""What people and programs get, byte for byte, and what holds for all of it. The golden files are
written anew with WRITE_GOLDEN=1.
"""

from __future__ import annotations

import email
import email.policy
import json
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from dbt_notifier.kinds.mail import Mail
from dbt_notifier.kinds.pagerduty import PagerDuty
from dbt_notifier.kinds.slack import Slack
from dbt_notifier.kinds.teams import Teams
from dbt_notifier.kinds.webhook import Webhook
from dbt_notifier.messages import (
    Event,
    Exposure,
    FailedNode,
    Message,
    Nodes,
    Times,
    Windows,
)
from dbt_notifier.wording import put_into_words
from tests.support.notifier_messages import MESSAGES, RUN, make_message
from tests.support.notifier_pages import Page

GOLDEN = Path(__file__).parent / "golden"
NOW = datetime(2025, 10, 14, 3, 12, 41, tzinfo=UTC)
MAIL = Mail(
    "smtp.example.com",
    587,
    "starttls",
    Address("dbt", addr_spec="dbt@example.com"),
    (Address(addr_spec="data@example.com"), Address("On call", addr_spec="oncall@example.com")),
)
SLACK_MENTIONS = {"finance": "<@U0FINANCE>", "ingestion": "<!subteam^S0INGEST>"}
SLACK = Slack.parse("team", {"kind": "slack", "mentions": SLACK_MENTIONS})
TEAMS_MENTIONS = {
    "finance": "Finance O'Neil <finance@example.com>",
    "ingestion": "Ada Lovelace <00000000-0000-4000-8000-000000000001>",
}
TEAMS = Teams.parse("team", {"kind": "teams", "mentions": TEAMS_MENTIONS})
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
LARGEST = 40_000  # bytes
BEGINNING = 600  # characters
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
TAGS = {"html", "head", "meta", "body", "div", "h1", "p", "b", "span", "br", "ul", "li"}
HEADERS = {
    "Subject",
    "From",
    "To",
    "Date",
    "Message-ID",
    "References",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
}

each_message = pytest.mark.parametrize("name", MESSAGES)


def render_mail(name: str) -> tuple[bytes, EmailMessage]:
    """A mail as it is sent, and as whoever gets it reads it."""
    sent = MAIL.render(MESSAGES[name], NOW).as_bytes()
    read = email.message_from_bytes(sent, policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    return sent, read


def read_part(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def render(name: str) -> dict[str, str]:
    """All files of a message."""
    message = MESSAGES[name]
    _, mail = render_mail(name)
    headers = "".join(f"{key}: {mail[key]}\n" for key in ("Subject", "From", "To", "References"))
    return {
        "slack.json": dump(SLACK.render(message)),
        "mail.txt": headers + "\n" + read_part(mail, "plain"),
        "mail.html": read_part(mail, "html"),
        "teams.json": dump(TEAMS.render(message)),
        "pagerduty.json": dump(PagerDuty().render(message, ROUTING_KEY)),
        "webhook.json": json.dumps(Webhook().render(message, NOW), indent=2) + "\n",
    }


def dump(found: Any) -> str:
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


@each_message
def test_a_message_is_what_it_was(name: str) -> None:
    for ending, text in render(name).items():
        path = GOLDEN / f"{name}.{ending}"
        if os.environ.get("WRITE_GOLDEN"):
            path.write_bytes(text.encode())
        assert path.read_bytes().decode() == text


def test_there_are_files_of_these_messages_only() -> None:
    assert {path.name.partition(".")[0] for path in GOLDEN.iterdir()} == MESSAGES.keys()


# What holds for every message


def walk(found: Any) -> Iterator[dict[str, Any]]:
    """All objects in JSON."""
    if isinstance(found, dict):
        yield found
    for each in found.values() if isinstance(found, dict) else found:
        if isinstance(each, dict | list):
            yield from walk(each)


def read_slack(body: dict[str, Any]) -> str:
    """What is seen of the blocks."""
    return "\n".join(
        "".join(part["text"] for part in walk([block]) if isinstance(part.get("text"), str))
        for block in body["blocks"]
    )


def expect_beginning(visible: str, message: Message) -> None:
    words = put_into_words(message)
    begin = visible[:BEGINNING]
    assert words.headline in begin
    assert words.reason in begin
    assert words.command in begin
    if words.first is not None:
        assert words.first.name in begin
        assert words.first.text in begin


def expect_clean(text: str) -> None:
    assert {unicodedata.category(each) for each in text.replace("\n", "")}.isdisjoint(HIDDEN)
    lowered = text.lower()
    assert not any(link in lowered for link in ("http:/", "https:/", "www.e", "mailto:"))


@each_message
def test_slack_takes_it(name: str) -> None:
    body = SLACK.render(MESSAGES[name])
    assert len(json.dumps(body, ensure_ascii=False).encode()) <= LARGEST
    assert len(body["blocks"]) <= 50
    assert {block["type"] for block in body["blocks"]} == {"header", "rich_text"}
    header = body["blocks"][0]
    assert header["type"] == "header"
    assert len(header["text"]["text"].encode("utf-16-le")) // 2 <= 150
    assert len(body["text"]) <= 3000
    for block in body["blocks"]:
        texts = [part["text"] for part in walk([block]) if isinstance(part.get("text"), str)]
        assert all(texts)
        assert len("".join(texts)) <= 3000


@each_message
def test_slack_makes_nothing_of_what_somebody_wrote(name: str) -> None:
    body = SLACK.render(MESSAGES[name])
    assert "<" not in body["text"]
    assert ">" not in body["text"]
    assert (body["mrkdwn"], body["parse"], body["link_names"]) == (False, "none", False)
    types = {part.get("type") for part in walk(body["blocks"])} - {None}
    assert types <= {
        "header", "plain_text", "rich_text", "rich_text_section", "rich_text_list", "text",
        "user", "usergroup",
    }  # fmt: skip
    mentions = [part for part in walk(body["blocks"]) if part.get("type") in ("user", "usergroup")]
    assert all(mention in SLACK.mentions.values() for mention in mentions)
    for part in walk(body):
        if isinstance(part.get("text"), str):
            expect_clean(part["text"])


@each_message
def test_slack_says_first_what_matters(name: str) -> None:
    message = MESSAGES[name]
    body = SLACK.render(message)
    expect_beginning(read_slack(body), message)
    assert message.reason in body["text"]


def test_an_owner_who_is_in_the_map_is_called() -> None:
    def list_mentions(name: str) -> list[dict[str, Any]]:
        blocks = SLACK.render(MESSAGES[name])["blocks"]
        return [part for part in walk(blocks) if part.get("type") in ("user", "usergroup")]

    assert list_mentions("model_error") == [{"type": "user", "user_id": "U0FINANCE"}]
    assert list_mentions("hostile") == [{"type": "user", "user_id": "U0FINANCE"}]
    assert list_mentions("many_failures") == []
    assert list_mentions("recovered") == []


@each_message
def test_a_mail_has_our_headers_only(name: str) -> None:
    sent, mail = render_mail(name)
    assert len(sent) <= LARGEST
    assert max(map(len, sent.split(b"\r\n"))) <= 998
    assert set(mail.keys()) == HEADERS
    assert len(mail.keys()) == len(HEADERS)
    assert [each.addr_spec for each in mail["To"].addresses] == [
        "data@example.com",
        "oncall@example.com",
    ]
    subject = str(mail["Subject"])
    assert "\n" not in subject
    assert len(subject) <= 140  # 120, and more where the reason leaves no room
    assert MESSAGES[name].reason in subject
    expect_clean(subject)
    assert mail.defects == []
    assert [part.get_content_type() for part in mail.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]


@each_message
def test_a_mail_has_our_tags_only(name: str) -> None:
    _, mail = render_mail(name)
    text = read_part(mail, "html")
    page = Page.read(text)
    assert page.tags <= TAGS
    assert page.attributes <= {"lang", "charset", "name", "content", "style"}
    assert page.unclosed == []
    expect_clean(text)
    expect_beginning(page.visible, MESSAGES[name])


@each_message
def test_a_mail_for_programs_without_html_says_the_same(name: str) -> None:
    _, mail = render_mail(name)
    text = read_part(mail, "plain")
    expect_clean(text)
    expect_beginning(text, MESSAGES[name])
    page = Page.read(read_part(mail, "html"))
    for line in text.splitlines():
        for part in line.removeprefix("- ").removeprefix("More: ").split(": "):
            assert part.rstrip(":") in page.visible


def test_mail_of_one_series_stands_together() -> None:
    references = {
        name: render_mail(name)[1]["References"]
        for name in ("model_error", "failed_tests", "recovered", "oom_killed")
    }
    assert references["model_error"] == references["failed_tests"] == references["recovered"]
    identities = {render_mail(name)[1]["Message-ID"] for name in MESSAGES}
    assert len(identities) == len(MESSAGES)


@each_message
def test_teams_takes_it(name: str) -> None:
    body = TEAMS.render(MESSAGES[name])
    assert len(json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()) <= 28_000
    (attachment,) = body["attachments"]
    card = attachment["content"]
    assert (body["type"], card["type"], card["version"]) == ("message", "AdaptiveCard", "1.4")
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert all(part["text"] for part in walk(card) if "text" in part)


@each_message
def test_teams_makes_nothing_of_what_somebody_wrote(name: str) -> None:
    card = TEAMS.render(MESSAGES[name])["attachments"][0]["content"]
    assert {part.get("type") for part in walk(card["body"])} <= {
        "RichTextBlock",
        "TextRun",
        "TextBlock",
    }
    texts = [part["text"] for part in walk(card["body"]) if part.get("type") == "TextBlock"]
    entities = card["msteams"]["entities"]
    assert texts == ([" ".join(each["text"] for each in entities)] if entities else [])
    known = [each.text for each in TEAMS.mentions.values()]
    assert all(each["text"] in known for each in entities)
    for part in walk(card["body"]):
        if "text" in part:
            expect_clean(part["text"])


@each_message
def test_teams_says_first_what_matters(name: str) -> None:
    blocks = TEAMS.render(MESSAGES[name])["attachments"][0]["content"]["body"]
    visible = "\n".join(
        "".join(part["text"] for part in walk([block]) if "text" in part) for block in blocks
    )
    expect_beginning(visible, MESSAGES[name])


@each_message
def test_pagerduty_takes_it(name: str) -> None:
    body = PagerDuty().render(MESSAGES[name], ROUTING_KEY)
    assert len(json.dumps(body, ensure_ascii=False).encode()) <= LARGEST
    assert body["routing_key"] == ROUTING_KEY
    assert 0 < len(body["dedup_key"]) <= 255
    payload = body["payload"]
    assert 0 < len(payload["summary"]) <= 1024
    assert MESSAGES[name].reason in payload["summary"]
    assert payload["severity"] in ("critical", "error", "warning", "info")
    assert payload["source"]
    expect_clean(json.dumps(payload, ensure_ascii=False))
    words = put_into_words(MESSAGES[name])
    details = payload["custom_details"]
    assert details["command"] == words.command
    assert words.reason in details.get("reason", "")


@each_message
def test_a_webhook_gets_data(name: str) -> None:
    event = Webhook().render(MESSAGES[name], NOW)
    assert len(json.dumps(event)) <= LARGEST
    assert event["data"]["event"] == MESSAGES[name].event
    assert event["data"]["about"]["name"] == MESSAGES[name].about.name
    assert all("_" not in key for part in walk(event) for key in part)


def test_there_is_a_message_about_each_event() -> None:
    assert {message.event for message in MESSAGES.values()} == set(Event)


@pytest.mark.parametrize("filler", ['"', "'", "&", "\\", "\x00", "\u4e2d", "\U0001f525", "\ud800"])
def test_nothing_grows_without_a_limit(filler: str) -> None:
    message = fill(filler * 2000)
    assert len(MAIL.render(message, NOW).as_bytes()) <= LARGEST
    assert len(json.dumps(SLACK.render(message), ensure_ascii=False).encode()) <= LARGEST
    assert len(json.dumps(Webhook().render(message, NOW))) <= LARGEST
    for body in (TEAMS.render(message), PagerDuty().render(message, ROUTING_KEY)):
        assert len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()) <= 28_000


def fill(text: str) -> Message:
    """A message with a text wherever one can be."""
    node = FailedNode(text, text, text, 1, text, (text,) * 100, text)
    about = replace(RUN, project=text, target=text, schedule=text, occurrence=text)
    nodes = Nodes(
        total=1000,
        failed=100,
        failures=(node,) * 100,
        warnings=(node,) * 100,
        exposures=(Exposure(text, text, text),) * 100,
        missing=text,
    )
    return replace(
        make_message("filled", Event.FAILED, about, "ModelError", text),
        artifacts=text,
        nodes=nodes,
        windows=Windows(100, 0, 100, (text,) * 100),
        times=Times(text, 1.0, 1.0, text, text),
    )
