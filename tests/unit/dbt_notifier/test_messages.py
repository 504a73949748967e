from __future__ import annotations

import json
from typing import Any

import pytest

from dbt_notifier.messages import Message, decode, encode
from tests.support.notifier_messages import MESSAGES, MODEL_ERROR


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_read_as_it_was_written(name: str) -> None:
    assert decode(json.loads(json.dumps(encode(MESSAGES[name])))) == MESSAGES[name]


def test_what_a_later_version_has_added_is_left_out() -> None:
    found = encode(MODEL_ERROR)
    found["new"] = found["about"]["new"] = found["nodes"]["new"] = 1
    found["nodes"]["failures"][0]["new"] = 1
    assert decode(found) == MODEL_ERROR


def test_what_an_earlier_version_did_not_know_has_its_default() -> None:
    found = encode(MODEL_ERROR)
    for name in ("others", "other_count", "windows", "artifacts"):
        del found[name]
    assert decode(found).other_count == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"event": "Exploded"},
        {"event": None},
        {"about": {}},
        {"about": None},
        {"about": 1},
        {"nodes": {"failures": [1]}},
        {"others": 3},
    ],
)
def test_what_is_no_message_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode({**encode(MODEL_ERROR), **wrong})


@pytest.mark.parametrize("name", ["key", "series", "summary", "command"])
def test_what_every_message_has_is_asked_for(name: str) -> None:
    found = encode(MODEL_ERROR)
    del found[name]
    with pytest.raises(TypeError):
        decode(found)


def test_a_message_is_frozen() -> None:
    assert isinstance(MODEL_ERROR, Message)
    assert hash(MODEL_ERROR) == hash(decode(encode(MODEL_ERROR)))
