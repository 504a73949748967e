"""Keep secrets out of everything that leaves the dbt container: log, termination message,
artifacts.

dbt itself scrubs only ``DBT_ENV_SECRET_*`` variables, and only from its log. What counts as a
secret is found by :mod:`dbt_runner.secret_sources`. Values of fewer than :data:`MIN_LENGTH`
characters are left alone: replacing those would wreck logs and artifacts and hide nothing.

A password may be an everyday word, which then is part of the project's names as well. A model
user_passwords that is called user_*****s in the state is another model for the next run. So what
the project says (:mod:`dbt_runner.project_words`) is told apart from what its environment says:

- In logs, messages and rendered code, longer words of the project stay, such as user_passwords.
  The secret by itself is starred, also where it happens to be a column's name.
- In artifacts that are read back, what dbt got by parsing stays as it is unless the project can
  have got the secret from a variable. If it can, the words of the project stay, also the very one
  that is the secret.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dbt_protocol.json_input import parse_json
from dbt_runner.volume import LARGEST_FILE, open_plain, write_whole

MIN_LENGTH = 6
_PART_BYTES = 1 << 22
STARS = "*****"
OWN_VARIABLES = "DBT_ENV_SECRET_OPERATOR_"  # by them dbt learns what to keep out of its own log

# Keys in dbt's artifacts under which there is what was rendered, run or answered, not what was
# parsed. They stand near the top: keys further down may be the project's own, as in meta.
_RENDERED = {
    "adapter_response",
    "args",
    "compiled_code",
    "compiled_sql",
    "env",
    "error",
    "errors",
    "extra_ctes",
    "message",
}
_NEAR = 2
# Keys under which there are names of nodes, columns and relations, by which later runs go; and keys
# under which there may be anything.
_NAMES = {
    "alias",
    "database",
    "fqn",
    "identifier",
    "name",
    "nodes",
    "relation_name",
    "schema",
    "source_name",
    "unique_id",
}
_ANYTHING = {"config", "meta", "tags", "unrendered_config"}
_LONGEST_WORD = 300
# What dbt puts in the place of the rest of a test's name that is too long.
_CUT = re.compile(r"_[0-9a-f]{32}(?![0-9A-Za-z])")


@dataclass(frozen=True)
class Known:
    """What the text of a project tells about secrets that are everyday words."""

    words: frozenset[str] = frozenset()  # its words that a secret is part of, or is
    unasked: frozenset[str] = frozenset()  # secrets in no variable that the project may ask for


class Redactor:
    """Replaces secrets by stars, however they are spelt: as they are, in JSON, in a URL, line by
    line.
    """

    def __init__(self, secrets: Iterable[str], known: Known = Known()) -> None:
        """Keep those secrets that are long enough to be replaced."""
        self.secrets = frozenset(secret for secret in secrets if len(secret.strip()) >= MIN_LENGTH)
        self.known = known
        self._data = _any_of(self.secrets, encoded=True)
        self._longest = max(map(_measure_longest, self.secrets), default=0)
        self._text = _any_of(self.secrets)
        self._asked = _any_of(self.secrets - known.unasked)
        self._asked_data = _any_of(self.secrets - known.unasked, encoded=True)
        self._around = self._find_surroundings(known.words)

    def knowing(self, known: Known) -> Redactor:
        """A redactor for the same secrets that knows this project."""
        return Redactor(self.secrets, known)

    def text(self, text: str) -> str:
        """The text without secrets."""
        return self._replace(self._text, text, exact=False)

    def data(self, data: bytes) -> bytes:
        """The bytes without secrets."""
        if not (self._data and self._data.search(data)):
            return data
        return self.text(data.decode(errors="surrogateescape")).encode(errors="surrogateescape")

    def may_be_asked_for(self, data: bytes) -> bool:
        """Whether bytes that dbt got by parsing hold a secret that the project may ask for."""
        return bool(self._asked_data and self._asked_data.search(data))

    def file(self, path: Path) -> None:
        """Rewrite the file if it holds a secret.

        Raises:
            OSError: it is no plain file, or cannot be read or written.
        """
        content = self._read_if_secret(path)
        if content is not None:
            write_whole(path, self.data(content))

    def document(self, path: Path) -> list[str]:
        """Rewrite a JSON file of dbt's if it holds a secret, but keep the project's names in it.

        Returns:
            Names of nodes, columns or relations that could not be kept, since they hold a secret
            that the project asks for: as they are now, sorted. What later runs find by its name is
            not in this file any more.

        Raises:
            OSError: see :meth:`file`.
        """
        data = self._read_if_secret(path)
        if data is None:
            return []
        cleaning = _Cleaning(self)
        try:
            content = parse_json(data)
            clean = cleaning.clean(content, 0, rendered=False)
            text = json.dumps(clean) if clean != content else None
        except (ValueError, RecursionError):  # no JSON, or nested so deeply that nobody reads it
            write_whole(path, self.data(data))
            return []
        if text is not None:
            write_whole(path, text.encode())
        return sorted(cleaning.lost)

    def parsed(self, text: str) -> str:
        """A text that dbt got by parsing, without the secrets that the project may ask for."""
        return self._replace(self._asked, text, exact=True)

    def find_words(self, text: str, *, exact: bool) -> Iterator[str]:
        """The words of a text that a secret is part of; ``exact``: or is."""
        for found in self._text.finditer(text) if self._text else ():
            start, end = _word_around(text, found.start(), found.end())
            if exact or text[start:end] != found[0]:
                yield text[start:end]

    def _read_if_secret(self, path: Path) -> bytes | None:
        """The content of a file that holds a secret, which is looked for part by part: a big file
        must not fill the memory. Nor is it mapped: whoever cut it meanwhile would end this process.
        """
        if self._data is None:
            return None
        with open_plain(path) as file:
            end = b""
            while part := file.read(_PART_BYTES):
                if self._data.search(end + part):
                    file.seek(0)
                    return file.read(LARGEST_FILE)
                end = (end + part)[-self._longest :]
        return None

    def _find_surroundings(self, words: Iterable[str]) -> dict[str, dict[str, list[str]]]:
        """For each secret that is part of a word: what is before it there, and what may then be
        after it, sorted.
        """
        found: dict[str, dict[str, list[str]]] = {}
        for word in words if self._text else ():
            for match in self._text.finditer(word):
                before, after = word[: match.start()], word[match.end() :]
                found.setdefault(match[0], {}).setdefault(before, []).append(after)
        return {
            secret: {before: sorted(after) for before, after in around.items()}
            for secret, around in found.items()
        }

    def _replace(self, pattern: re.Pattern[str] | None, text: str, *, exact: bool) -> str:
        """Star what matches, unless it belongs to a word of the project; ``exact``: or is one."""
        if pattern is None:
            return text
        if not self._around:
            return pattern.sub(STARS, text)

        def clean(found: re.Match[str]) -> str:
            return found[0] if self._is_word(text, found, exact=exact) else STARS

        return pattern.sub(clean, text)

    def _is_word(self, text: str, found: re.Match[str], *, exact: bool) -> bool:
        around = self._around.get(found[0])
        if around is None:
            return False
        start, end = _word_around(text, found.start(), found.end())
        before, after = text[start : found.start()], text[found.end() : end]
        cut = _CUT.search(after)
        kept = after[: cut.start()] if cut else after
        # Looked up and not compared one by one: the words are as many as the project has.
        for left in (before[place:] for place in range(len(before) + 1)):
            rights = around.get(left)
            shortest = 0 if exact or left else 1
            if rights is None or len(kept) < shortest:
                continue
            heads = (after[:length] for length in range(shortest, len(after) + 1))
            if (cut and _has_beginning(rights, kept)) or any(_has(rights, head) for head in heads):
                return True
        return False


class _Cleaning:
    """Takes the secrets out of one document, and remembers which names were lost by that."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self.lost: set[str] = set()

    def clean(self, value: Any, depth: int, *, rendered: bool, key: str = "") -> Any:
        """A value without secrets; ``key`` is what it stands under, as far as that tells anything:
        one of _NAMES or of _ANYTHING.
        """
        if isinstance(value, str):
            is_name = key in _NAMES and not rendered
            return self._clean_text(value, rendered=rendered, is_name=is_name)
        if isinstance(value, list):
            return [self.clean(inner, depth, rendered=rendered, key=key) for inner in value]
        if not isinstance(value, dict):
            return value
        clean = {}
        may_be_anything = key in _ANYTHING
        for name, inner in value.items():
            is_rendered = rendered or (depth <= _NEAR and name in _RENDERED)
            # dbt's own keys are no secrets; a project's unique IDs have dots in them.
            own = depth <= _NEAR and "." not in name
            kept = (
                name
                if own
                else self._clean_text(
                    name, rendered=rendered, is_name=not (rendered or may_be_anything)
                )
            )
            below = key if may_be_anything else name
            clean[kept] = self.clean(inner, depth + 1, rendered=is_rendered, key=below)
        return clean

    def _clean_text(self, text: str, *, rendered: bool, is_name: bool) -> str:
        clean = self._redactor.text(text) if rendered else self._redactor.parsed(text)
        if is_name and clean != text:
            self.lost.add(clean)
        return clean


def _word_around(text: str, start: int, end: int) -> tuple[int, int]:
    """The bounds of the word that something stands in, without what a backslash escapes."""
    first, last = max(0, start - _LONGEST_WORD), min(len(text), end + _LONGEST_WORD)
    inner = start
    while inner > first and _is_of_word(text[inner - 1]):
        inner -= 1
    if first < inner < start and text[inner - 1] == "\\":
        inner += 1
    while end < last and _is_of_word(text[end]):
        end += 1
    return inner, end


def _has(texts: list[str], text: str) -> bool:
    """Whether a text is one of these, which are sorted."""
    place = bisect_left(texts, text)
    return place < len(texts) and texts[place] == text


def _has_beginning(texts: list[str], beginning: str) -> bool:
    """Whether one of these texts, which are sorted, begins like this."""
    place = bisect_left(texts, beginning)
    return place < len(texts) and texts[place].startswith(beginning)


def _is_of_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _any_of(secrets: Iterable[str], *, encoded: bool = False) -> Any:
    """A pattern for every spelling of the secrets; None if there are none."""
    every = sorted({s for secret in secrets for s in spellings(secret)}, key=len, reverse=True)
    if not every:
        return None
    if encoded:
        return re.compile(b"|".join(re.escape(spelling.encode()) for spelling in every))
    return re.compile("|".join(map(re.escape, every)))


def spellings(secret: str) -> Iterator[str]:
    """How a secret may be written: as it is, in JSON, in Python, in a URL, line by line."""
    for value in {secret, secret.strip(), *secret.splitlines(), *secret.strip().split("\\n")}:
        if len(value.strip()) >= MIN_LENGTH:
            for json_text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
                yield json_text[1:-1]
            yield from (value, repr(value)[1:-1], quote(value, safe=""))


def _measure_longest(secret: str) -> int:
    """Bytes of the longest spelling of a secret."""
    return max((len(spelling.encode()) for spelling in spellings(secret)), default=0)
