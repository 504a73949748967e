"""Whether docs/dbt-2.md says what the code says."""

from __future__ import annotations

import re

import pytest

from tests.support.code_texts import texts
from tests.support.dbt_2 import find_driver_place
from tests.support.places import ROOT

PAGE = (ROOT / "docs" / "dbt-2.md").read_text()
SHORTEST = 12  # characters, of a part that proves anything


def messages() -> list[str]:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    found = [message for row in rows for message in re.findall(r"`([^`]+)` \|$", row)]
    return [message for message in found if message != "---"]


@pytest.mark.parametrize("message", messages())
def test_a_message_stands_in_the_code(message: str) -> None:
    parts = [part for part in re.split(r"[,;] | source freshness| docs generate", message) if part]
    assert max(map(len, parts)) >= SHORTEST
    for part in parts:
        assert any(part.strip() in text for text in texts()), part


def test_there_are_messages_on_the_page() -> None:
    assert len(messages()) >= 6


def test_the_driver_has_the_name_that_the_page_gives_it() -> None:
    assert find_driver_place().rpartition("/")[2] in PAGE
