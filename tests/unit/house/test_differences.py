"""Whether the messages that docs/differences.md quotes are those of the code."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.support.places import OPERATOR, ROOT, modules

PAGE = ROOT / "docs" / "differences.md"
SHORTEST = 12  # characters, of a part that proves anything


def messages() -> list[str]:
    blocks = PAGE.read_text().split("```text\n")[1:]
    return [line for block in blocks for line in block.partition("```")[0].splitlines()]


@cache
def texts() -> tuple[str, ...]:
    """All texts in the code, docstrings aside; of one with values in it the parts between them."""
    found = []
    for path in modules(OPERATOR):
        tree = ast.parse(path.read_text())
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        told = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
        }
        found += [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in told
        ]
    return tuple(found)


@pytest.mark.parametrize("message", messages())
def test_a_message_stands_in_the_code(message: str) -> None:
    # A message may be put together of others at its colons, semicolons and commas.
    parts = [part.strip() for part in re.split(r"<[a-z]+>|[:;,] ", message)]
    assert max(map(len, parts)) >= SHORTEST, "some of it is always the same"
    for part in parts:
        assert any(part in text for text in texts()), part


def test_there_are_messages_on_the_page() -> None:
    assert len(messages()) == len(set(messages())) > 25
