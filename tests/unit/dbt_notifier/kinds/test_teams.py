from __future__ import annotations

import json
from pathlib import Path

import pytest

from dbt_notifier.kinds.configuring import ChannelError
from dbt_notifier.kinds.teams import Teams
from dbt_notifier.messages import Message, Outcome
from dbt_notifier.secret_files import SecretError
from tests.support.notifier_messages import HOSTILE, MANY_FAILURES, MODEL_ERROR
from tests.support.notifier_secrets import write_secret
from tests.support.notifier_sends import run
from tests.support.notifier_servers import Answer, serve_http

PLACE = "/workflows/canary-id/triggers/manual/paths/invoke?api-version=1&sig=canary-sig"
IDENTITY = "0f8fad5b-d9cb-469f-a165-70867728950e"


def parse(**mentions: object) -> Teams:
    return Teams.parse("team", {"kind": "teams", "mentions": mentions})


@pytest.mark.parametrize("message", [MODEL_ERROR, HOSTILE, MANY_FAILURES])
def test_what_is_rendered_is_what_arrives(tmp_path: Path, message: Message) -> None:
    with serve_http(Answer(202, body="")) as server:
        secrets = write_secret(tmp_path, url=server.url + PLACE)
        assert run(parse().send(message, secrets)).outcome is Outcome.SENT
        (got,) = server.got
    assert (got.path, got.headers["Content-Type"]) == (PLACE, "application/json")
    assert json.loads(got.body) == parse().render(message)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, Outcome.REFUSED),
        (401, Outcome.MISCONFIGURED),
        (404, Outcome.MISCONFIGURED),
        (413, Outcome.REFUSED),
        (429, Outcome.UNAVAILABLE),
        (502, Outcome.UNAVAILABLE),
    ],
)
def test_what_teams_says_is_told_without_the_url(
    tmp_path: Path, status: int, outcome: Outcome
) -> None:
    with serve_http(Answer(status, echo=True)) as server:
        secrets = write_secret(tmp_path, url=server.url + PLACE)
        answer = run(parse().send(MODEL_ERROR, secrets))
    assert answer.outcome is outcome
    assert "canary" not in answer.text


def test_a_channel_without_a_url_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="no key url: add it"):
        run(parse().send(MODEL_ERROR, write_secret(tmp_path)))


def test_a_person_who_is_in_the_map_is_called() -> None:
    teams = parse(finance=f"Ada O'Neil-Łoś <{IDENTITY}>", ingestion="Bob <bob@example.com>")
    card = teams.render(MODEL_ERROR)["attachments"][0]["content"]
    assert card["msteams"]["entities"] == [
        {
            "type": "mention",
            "text": "<at>Ada O'Neil-Łoś</at>",
            "mentioned": {"id": IDENTITY, "name": "Ada O'Neil-Łoś"},
        }
    ]
    blocks = [block for block in card["body"] if block["type"] == "TextBlock"]
    assert [block["text"] for block in blocks] == ["<at>Ada O'Neil-Łoś</at>"]


@pytest.mark.parametrize(
    "handle",
    [
        "Ada", "ada@example.com", "<ada@example.com>", " <ada@example.com>", "Ada <>", "Ada <ada>",
        "Ada <@example.com>", "Ada <ada@>", "Ada <a b@example.com>", "Ada <a@b@c>", "Ada <a@b",
        "*Ada* <ada@example.com>", "[Ada](x) <ada@example.com>", "A</at> <ada@example.com>",
        "<at>everyone</at>", "Everyone <19:abc@thread.tacv2>", "Ada <a@b> <c@d>",
        "A" * 81 + " <a@b>",
        "Ada <0f8fad5bd9cb469fa16570867728950e>", "", None, 3, ["Ada <ada@example.com>"],
    ],
)  # fmt: skip
def test_nobody_else_can_be_called(handle: object) -> None:
    with pytest.raises(ChannelError, match=r"team\.mentions\[ada\]: must be a person such as"):
        parse(ada=handle)


def test_mentions_are_a_map() -> None:
    with pytest.raises(ChannelError, match=r"team\.mentions: must say who stands for which owner"):
        Teams.parse("team", {"kind": "teams", "mentions": ["x"]})
