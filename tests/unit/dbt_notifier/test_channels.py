from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dbt_notifier.channels import read_channels
from dbt_notifier.kinds.configuring import ChannelError
from dbt_notifier.kinds.mail import Mail
from dbt_notifier.kinds.pagerduty import PagerDuty
from dbt_notifier.kinds.slack import Slack
from dbt_notifier.kinds.teams import Teams
from dbt_notifier.kinds.webhook import Webhook

MAIL = {"kind": "mail", "host": "smtp.example.com", "from": "a@b.c", "to": ["d@e.f"]}


def write(folder: Path, text: str) -> Path:
    path = folder / "channels.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_each_kind_is_known(tmp_path: Path) -> None:
    channels = {
        "team": {"kind": "slack", "namespaces": ["*"]},
        "post": {**MAIL, "namespaces": []},
        "hook": {"kind": "webhook"},
        "chat": {"kind": "teams", "mentions": {}},
        "pager": {"kind": "pagerduty"},
    }
    found = read_channels(write(tmp_path, json.dumps({"channels": channels})))
    assert {name: type(each) for name, each in found.items()} == {
        "team": Slack,
        "post": Mail,
        "hook": Webhook,
        "chat": Teams,
        "pager": PagerDuty,
    }


def test_there_may_be_no_channel(tmp_path: Path) -> None:
    assert read_channels(write(tmp_path, '{"channels": {}}')) == {}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({}, "team.kind: must be one of "),
        ({"kind": "telegram"}, "team.kind: must be one of "),
        ({"kind": None}, "team.kind: must be one of "),
        ({"kind": ["slack"]}, "team.kind: must be one of "),
        ([], "team: must be an object"),
        ("slack", "team: must be an object"),
        ({"kind": "slack", "url": "x"}, "team.url: kind slack knows mentions"),
        ({"kind": "slack", "mentions": {"a": "@here"}}, "team.mentions[a]: must be a member"),
        ({"kind": "webhook", "url": "x"}, "team.url: kind webhook knows no more fields"),
        ({"kind": "pagerduty", "endpoint": "x"}, "team.endpoint: must be a URL"),
        ({"kind": "pagerduty", "endpoint": 1}, "team.endpoint: must be a text"),
        ({"kind": "pagerduty", "routingKey": "x"}, "team.routingKey: kind pagerduty knows"),
        ({"kind": "teams", "mentions": {"a": "@team"}}, "team.mentions[a]: must be a person"),
        ({"kind": "teams", "url": "x"}, "team.url: kind teams knows mentions"),
        ({**MAIL, "port": "x"}, "team.port: must be a number"),
        ({**MAIL, "to": None}, "team.to: must name at least one address"),
        ({"kind": "mail"}, "team.to: must name at least one address"),
        ({"kind": "mail", "to": ["a@b.c"]}, "team.host: must be a text that is not empty"),
    ],
)
def test_an_error_names_channel_and_field(tmp_path: Path, entry: Any, said: str) -> None:
    path = write(tmp_path, json.dumps({"channels": {"team": entry}}))
    with pytest.raises(ChannelError) as error:
        read_channels(path)
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1", "{}", '{"channels": []}', '{"channels": null}', "[" * 100_000]
)
def test_what_declares_no_channels_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ChannelError, match=r"^channels\.json: "):
        read_channels(write(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_channels(tmp_path / "channels.json")
