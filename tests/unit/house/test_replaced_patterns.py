"""Patterns that took more than linear time find what they found before, in whatever small text."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbt_operator.planning.common import placeholders
from dbt_operator.planning.policy import secret_shapes
from dbt_runner import redact, secret_sources

# As they were.
PLACEHOLDER = re.compile(r"\$\(((?:window|scheduled|interval)\.[^)]*)\)")
WEB_TOKEN = re.compile(r"\beyJ[0-9A-Za-z_-]{8,4096}\.eyJ[0-9A-Za-z_-]{8}")
EMBEDDED = re.compile(
    r"(?:password|passwd|pwd|token|secret)\w*\s*=\s*'?([^\s'\"&;]+)|://[^\s/:@]*:([^\s/@]+)@",
    re.IGNORECASE,
)
SECRET_KEY = re.compile(
    r"pass|pwd|.*(password|passwd|passphrase|token|secret|private_?key|api_?key|access_?key"
    r"|account_?key|credential).*"
    r"|keyfile_json|private_key_id",
    re.IGNORECASE,
)
SECRET_VARIABLE = re.compile(
    r"DBT_ENV_SECRET_.+|.*(PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|CREDENTIAL).*"
    r"|(.*_)?(API|ACCESS|PRIVATE|ACCOUNT|ENCRYPTION|SSH)_?KEY(_.*)?",
    re.IGNORECASE,
)
YAML_ENTRY = re.compile(
    r"""["']?(?P<key>[A-Za-z_][\w-]*)["']?\s*:\s*"""
    r"""(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')|(?=(?P<plain>[^\s\[{"'][^\n]*)))"""
)
VALUES = {"window.key": "2024-01-01", "scheduled.time": "now"}


def find_placeholders(text: str) -> object:
    """What stands in the place of placeholders, and the names of all of them."""
    names = [name for _, name in placeholders._find(text, "spec")]
    return placeholders.fill(text, VALUES), names


def find_placeholders_as_before(text: str) -> object:
    filled = PLACEHOLDER.sub(lambda match: VALUES.get(match[1], match[0]), text)
    return filled, [match[1] for match in PLACEHOLDER.finditer(text)]


def find_entries(pattern: re.Pattern[str], text: str) -> object:
    """Keys, their quoted values, and where plain ones begin."""
    return [(entry["key"], entry["quoted"], entry.end()) for entry in pattern.finditer(text)]


def star(text: str) -> str:
    """A text without a secret, by a redactor that knows the words before the bar."""
    words, _, rest = text.partition("|")
    known = redact.Known(frozenset(words.split()), frozenset())
    redactor = redact.Redactor({"secret"}, known)
    return redactor.text(rest) + redactor._replace(redactor._text, rest, exact=True)


def star_as_before(text: str) -> str:
    words, _, rest = text.partition("|")
    around = {
        (word[: found.start()], word[found.end() :])
        for word in words.split()
        for found in re.finditer("secret", word)
    }

    def clean(found: re.Match[str]) -> str:
        start, end = redact._word_around(rest, found.start(), found.end())
        before, after = rest[start : found.start()], rest[found.end() : end]
        cut = redact._CUT.search(after)
        kept = after[: cut.start()] if cut else after
        is_word = any(
            before.endswith(left) and (after.startswith(right) or (cut and right.startswith(kept)))
            for left, right in around
            if exact or left or (right and kept)
        )
        return found[0] if is_word else redact.STARS

    exact = False
    shown = re.sub("secret", clean, rest)
    exact = True
    return shown + re.sub("secret", clean, rest)


@pytest.mark.parametrize(
    ("pieces", "before", "after"),
    [
        (["secret", "_", "a", " ", "|", "b", "_" + "0" * 32], star_as_before, star),
        (
            ["$(", "window.", "key", "scheduled.time", ")", "(", "$", "a", "\n"],
            find_placeholders_as_before,
            find_placeholders,
        ),
        (
            ["eyJ", ".eyJ", "aaaaaaaa", "-", ".", "_", "é", " "],
            lambda text: bool(WEB_TOKEN.search(text)),
            lambda text: secret_shapes.shape(text) == "a JSON web token",
        ),
        (
            ["token", "pwd", "a", "1", " ", "=", "'", '"', "://", ":", "@", "/"],
            EMBEDDED.findall,
            secret_sources._EMBEDDED.findall,
        ),
        (
            ["pass", "word", "pwd", "private", "_", "key", "keyfile_json", "a", "_id"],
            lambda text: bool(SECRET_KEY.fullmatch(text)),
            lambda text: bool(secret_sources._SECRET_KEY.search(text)),
        ),
        (
            ["DBT_ENV_SECRET_", "TOKEN", "api", "_", "KEY", "SSH", "a"],
            lambda text: bool(SECRET_VARIABLE.fullmatch(text)),
            lambda text: bool(secret_sources._SECRET_VARIABLE.search(text)),
        ),
        (
            ["a", "1", "é", "-", "_", ":", " ", "'", '"', "\\", "{", ",", "}"],
            lambda text: find_entries(YAML_ENTRY, text),
            lambda text: find_entries(secret_sources._YAML_ENTRY, text),
        ),
    ],
    ids=[
        "words",
        "placeholder",
        "token",
        "embedded",
        "key",
        "variable",
        "entry",
    ],
)
@given(data=st.data())
def test_the_same_is_found(
    data: st.DataObject,
    pieces: list[str],
    before: Callable[[str], object],
    after: Callable[[str], object],
) -> None:
    text = "".join(data.draw(st.lists(st.sampled_from(pieces), max_size=14)))
    assert after(text) == before(text)
