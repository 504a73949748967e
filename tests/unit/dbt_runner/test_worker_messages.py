"""What supervisor and worker say to each other comes through, and nothing else does."""

from __future__ import annotations

import json
import traceback
from dataclasses import fields
from typing import Any

import pytest

from dbt_runner.worker_messages import (
    CHECKS,
    INTERRUPTED,
    KINDS,
    Began,
    BeginWindow,
    EndWindow,
    Failed,
    Message,
    MessageError,
    NodeProgress,
    Ready,
    RunStep,
    Secrets,
    Selected,
    StepEnded,
    StepOutcome,
    decode,
    encode,
)

MESSAGES: list[Message] = [
    RunStep(1),
    EndWindow(),
    BeginWindow(1, "/project", "IfMissing", cached=True),
    Secrets(["größe\n", "b"]),
    Began("Program", "2.0.0-alpha.4"),
    Ready("1.11.16", "Command", "/project"),
    Ready("1.11.16", "Fork", "/project", 1.5, True, 1, "", ["word"], ["unasked"]),
    INTERRUPTED,
    Failed("ConfigError", "no", step=1, parses=2),
    StepOutcome(
        exit_code=1,
        exception=["DbtRuntimeError"],
        invocation_id="i",
        expected=["model.shop.a"],
        errors=["it broke"],
        raised=[{"unique_id": "model.shop.a", "status": "error", "message": "it broke"}],
        left_out=0,
        step=1,
    ),
    StepEnded(1, 9),
    Selected(["model.shop.a"]),
    NodeProgress(total=3),
    NodeProgress(ended="model.shop.a", status="success"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_a_message_comes_through(message: Message) -> None:
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == message


def test_every_kind_comes_through_and_has_fields_that_are_checked() -> None:
    assert {type(message) for message in MESSAGES} == set(KINDS.values())
    for kind in KINDS.values():
        assert {str(each.type) for each in fields(kind)} <= CHECKS.keys()


def line_of(message: Message, /, **other: Any) -> bytes:
    return json.dumps({**json.loads(encode(message)), **other}).encode()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"the-secret",
        b"\xff",
        b"1",
        b"null",
        b"[]",
        b"[" * 100_000 + b"the-secret",
        b'{"kind": ' * 100_000,
        b'{"step": 1}',
        b'{"kind": "the-secret"}',
        b'{"kind": ["the-secret"]}',
        b'{"kind": "run-step"}',
        line_of(RunStep(1), more="the-secret"),
        line_of(RunStep(1), step="the-secret"),
        line_of(RunStep(1), step=True),
        line_of(RunStep(1), step=1.0),
        line_of(RunStep(1), step=-1),
        line_of(StepEnded(0, 0), status=2**31),
        line_of(Secrets([]), values="the-secret"),
        line_of(Secrets([]), values=["the-secret", 1]),
        line_of(MESSAGES[4], seconds="the-secret"),
        line_of(MESSAGES[4], obstacle=["the-secret"]),
        line_of(MESSAGES[4], cached=1),
        line_of(INTERRUPTED, exception=None),
        line_of(INTERRUPTED, expected="the-secret"),
        line_of(INTERRUPTED, raised=[{"status": "error"}]),
        line_of(INTERRUPTED, raised=[{"unique_id": ["the-secret"]}]),
        line_of(INTERRUPTED, message=json.loads("[" * 500 + "]" * 500)),
    ],
)
def test_what_is_no_message_is_refused_without_being_quoted(line: bytes) -> None:
    with pytest.raises(MessageError) as caught:
        decode(line)
    assert "the-secret" not in "".join(traceback.format_exception(caught.value))
