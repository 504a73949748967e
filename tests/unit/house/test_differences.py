"""Whether the messages that docs/differences.md quotes are those of the code."""

from __future__ import annotations

import re

import pytest

from tests.support.code_texts import texts
from tests.support.places import ROOT

PAGE = ROOT / "docs" / "differences.md"
SHORTEST = 12  # characters, of a part that proves anything


def messages() -> list[str]:
    blocks = PAGE.read_text().split("```text\n")[1:]
    return [line for block in blocks for line in block.partition("```")[0].splitlines()]


@pytest.mark.parametrize("message", messages())
def test_a_message_stands_in_the_code(message: str) -> None:
    # A message may be put together of others at its colons, semicolons and commas.
    parts = [part.strip() for part in re.split(r"<[a-z]+>|[:;,] ", message)]
    assert max(map(len, parts)) >= SHORTEST, "some of it is always the same"
    for part in parts:
        assert any(part in text for text in texts()), part


def test_there_are_messages_on_the_page() -> None:
    assert len(messages()) == len(set(messages())) > 25
