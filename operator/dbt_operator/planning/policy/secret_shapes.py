"""What looks like a secret in a place that everyone can read.

vars and the arguments of operations stand in run_results.json and in the plan of the pod; a plain
``env`` value stands in the object. What is found is named by its path, never by its value.

A name alone is no proof: ``token_column: id`` names a column, and ``token: ETH`` a currency. So a
name counts by how it ends, and only with a string that could be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# How the names of secrets end, whatever stands before: db_password, PGPASSWORD,
# SNOWFLAKE_PRIVATE_KEY, clientSecret.
_PASSWORDS = re.compile(r"(?:password|passwd|passphrase|secret)$|(?:^|_)(?:pwd|connection_string)$")
_TOKENS = re.compile(
    r"(?:token|apikey)$|(?:^|_)(?:api_key|private_key|access_key|encryption_key|credentials?)$"
)
_DBT_SECRET = "dbt_env_secret_"  # noqa: S105 -- the prefix by which dbt knows them
# Values that hold no secret under such a name: a switch, a mask, a template, a path or the address
# of one.
_HARMLESS = re.compile(
    r"true|false|yes|no|on|off|none|null|n/?a|required|optional|enabled|disabled|masked|redacted"
    r"|[*x.-]+"
    r"|\{\{.*\}\}|\$[({].*[)}]|<[^>]*>|/[\w./-]*|(?:env|file|vault|secret|arn|projects"
    r"|https?)[:/].*",
    re.IGNORECASE | re.DOTALL,
)
_WORDS = re.compile(
    r"[A-Za-z_]{1,24}"
)  # a currency, a column: tokens and keys have digits, passwords need not
# Values that are secrets under any name, each of a shape of its own.
_SHAPES = (
    ("a private key", re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY")),
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_[0-9A-Za-z]{30}|github_pat_[0-9A-Za-z_]{30})")),
    ("a GitLab token", re.compile(r"\bglpat-[0-9A-Za-z_-]{16}")),
    ("a Slack token", re.compile(r"\bxox[a-z]-[0-9A-Za-z-]{10}")),
    ("a Databricks token", re.compile(r"\bdapi[0-9a-f]{32}\b")),
    ("a Google API key", re.compile(r"\bAIza[0-9A-Za-z_-]{35}")),
    (
        "a JSON web token",
        # Only the first eyJ of a word is followed to its end: a later one has less behind it.
        re.compile(
            r"(?<![0-9A-Za-z_-])(?>[0-9A-Za-z_-]*?\beyJ)[0-9A-Za-z_-]{8,}+\.eyJ[0-9A-Za-z_-]{8}"
        ),
    ),
    (
        "a URL with a password",
        re.compile(
            r"\b[a-z0-9+]{1,30}://[^\s/:@{}$]{0,256}:(?!\*+@)[^\s/@{}$]{1,256}@", re.IGNORECASE
        ),
    ),
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[-. ]")
_SIMPLE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")


def find(value: Any, path: str, name: str = "") -> Iterator[tuple[str, str]]:
    """The places in a value that look like secrets, with what each looks like:
    (spec.vars.db_password, a password).

    Args:
        value: as it was read from JSON.
        path: where it stands.
        name: its own.
    """
    if isinstance(value, str):
        if looks := shape(value) or named(name, value):
            yield path, looks
    elif isinstance(value, Mapping):
        for number, (key, inner) in enumerate(value.items()):
            # A key that cannot be written after a dot might be a secret itself.
            simple = _SIMPLE_KEY.fullmatch(str(key)) and not shape(str(key))
            yield from find(
                inner, f"{path}.{key}" if simple else f"{path}[entry {number + 1}]", str(key)
            )
            if looks := shape(str(key)):
                yield f"{path}[key {number + 1}]", looks
    elif isinstance(value, Sequence):
        for number, inner in enumerate(value):
            yield from find(inner, f"{path}[{number}]", name)


def shape(value: str) -> str:
    """Which secret a value looks like under any name; empty when it looks like none."""
    return next((looks for looks, pattern in _SHAPES if pattern.search(value)), "")


def named(name: str, value: str) -> str:
    """Which secret a value is by its name; empty when it is none."""
    value = value.strip()
    if not value or _HARMLESS.fullmatch(value):
        return ""
    words = _CAMEL.sub("_", name).lower()
    if words.startswith(_DBT_SECRET) or _PASSWORDS.search(words):
        return "a password by its name"
    return "a token by its name" if _TOKENS.search(words) and not _WORDS.fullmatch(value) else ""
