"""What a project itself says, with a secret in it that is an everyday word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from dbt_runner.redact import OWN_VARIABLES, Known, Redactor, spellings
from dbt_runner.secret_sources import find_openly_asked

# A call that does not say by a literal which variable it is about, or that is no call.
_ENV_VAR_WORD = re.compile(r"\benv_var\b")
_LITERAL_CALL = re.compile(r"""env_var\s*\(\s*\\?(['"]{1,2})[^'"\\]*\\?\1\s*[,)]""")


def survey(redactor: Redactor, texts: Iterable[str], profile: str, env: Mapping[str, str]) -> Known:
    """What a project's text tells about the secrets of a redactor.

    Args:
        redactor: knows the secrets.
        texts: the project's files, with those of its packages.
        profile: the text of profiles.yml.
        env: the environment that dbt gets. Its longer words with a secret in them are names, too,
            as in SCHEMA=password_reset: nothing can put a secret into a longer word there.
    """
    holding: dict[str, set[str]] = {}
    for secret in redactor.secrets:
        written = list(spellings(secret))
        for name, value in env.items():
            if not name.startswith(OWN_VARIABLES) and any(each in value for each in written):
                holding.setdefault(name, set()).add(secret)
    words: set[str] = set()
    names = {name for name in find_openly_asked(profile) if name in holding}
    for text in texts:
        words.update(redactor.find_words(text, exact=True))
        indirect = _asks_indirectly(text)
        names.update(name for name in holding if indirect or name in text)
    asked = {secret for name in names for secret in holding[name]}
    for text in (profile, *env.values()):
        words.update(redactor.find_words(text, exact=False))
    return Known(frozenset(words), redactor.secrets - asked)


def read_text(path: Path) -> str:
    """A file's text, as far as it is any; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _asks_indirectly(text: str) -> bool:
    """Whether a text may ask for a variable whose name cannot be read in it."""
    return len(_ENV_VAR_WORD.findall(text)) > len(_LITERAL_CALL.findall(text))
