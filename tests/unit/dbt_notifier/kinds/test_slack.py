from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dbt_notifier.kinds.configuring import ChannelError
from dbt_notifier.kinds.slack import Slack
from dbt_notifier.messages import Outcome
from dbt_notifier.secret_files import SecretError
from tests.support.notifier_messages import HOSTILE, MODEL_ERROR
from tests.support.notifier_secrets import write_secret
from tests.support.notifier_sends import run
from tests.support.notifier_servers import Answer, serve_http


def parse(**mentions: object) -> Slack:
    return Slack.parse("team", {"kind": "slack", "mentions": mentions})


@pytest.mark.parametrize("message", [MODEL_ERROR, HOSTILE])
def test_what_is_rendered_is_what_arrives(tmp_path: Path, message: Any) -> None:
    with serve_http() as server:
        secrets = write_secret(tmp_path, url=f"{server.url}/services/T/B/x\n")
        answer = run(parse().send(message, secrets))
        (got,) = server.got
    assert answer.outcome is Outcome.SENT
    assert (got.path, got.headers["Content-Type"]) == ("/services/T/B/x", "application/json")
    assert json.loads(got.body) == parse().render(message)


def test_what_slack_says_is_told(tmp_path: Path) -> None:
    with serve_http(Answer(400, body="invalid_blocks"), Answer(404, body="no_service")) as server:
        secrets = write_secret(tmp_path, url=f"{server.url}/services/T0CANARY/B/canary-token")
        first, second = (run(parse().send(MODEL_ERROR, secrets)) for _ in range(2))
    assert (first.outcome, first.text) == (Outcome.REFUSED, "it answers 400: invalid_blocks")
    assert (second.outcome, second.text) == (Outcome.MISCONFIGURED, "it answers 404: no_service")


def test_a_channel_without_a_url_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="no key url: add it"):
        run(parse().send(MODEL_ERROR, write_secret(tmp_path)))


def test_people_and_groups_can_be_called() -> None:
    slack = parse(ada="<@U0123456789>", bob="<@W0123456789>", team="<!subteam^S0123456789>")
    assert slack.mentions == {
        "ada": {"type": "user", "user_id": "U0123456789"},
        "bob": {"type": "user", "user_id": "W0123456789"},
        "team": {"type": "usergroup", "usergroup_id": "S0123456789"},
    }


@pytest.mark.parametrize(
    "handle",
    [
        "@here", "@everyone", "@channel", "<!here>", "<!channel>", "<!everyone>", "<!here|x>",
        "<@here>", "<@U>", "<@>", "<@U0|ada>", "<@U0><!channel>", "<@U0", "U0123456789", "ada",
        "<!subteam^U0123>", "<!subteam^S0|@x>", "<!subteam^>", "<!subteam^S0", "<#C0123>",
        "<@U0\u0661>", "<@U0 >", " <@U0123>", "<!subteam^S0>>", "", None, 3, ["<@U0123>"],
    ],
)  # fmt: skip
def test_nobody_else_can_be_called(handle: object) -> None:
    with pytest.raises(ChannelError, match=r"team\.mentions\[ada\]: must be a member such as"):
        parse(ada=handle)


@pytest.mark.parametrize("mentions", [["<@U0123>"], "<@U0123>", 3])
def test_mentions_are_a_map(mentions: object) -> None:
    with pytest.raises(ChannelError, match=r"team\.mentions: must say who stands for which owner"):
        Slack.parse("team", {"kind": "slack", "mentions": mentions})


def test_what_slack_does_not_know_is_refused() -> None:
    with pytest.raises(ChannelError, match=r"team\.url: kind slack knows mentions"):
        Slack.parse("team", {"kind": "slack", "url": "https://x", "namespaces": ["a"]})
