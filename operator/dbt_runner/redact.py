"""Keep secrets out of everything that leaves the dbt container: log, termination message,
artifacts.

dbt itself scrubs only ``DBT_ENV_SECRET_*`` variables, and only from its log. What counts as a
secret here is found twice: the supervisor, which has no YAML parser, scans profiles.yml as text
before anything is printed, rather too eagerly; the zygote, which has dbt's, reads it properly, and
what it finds replaces what the scan found.

Values of fewer than :data:`MIN_LENGTH` characters are left alone, and so are values that the
profile also holds as a literal under a key that is no secret (``password: postgres`` beside
``type: postgres``): replacing those would wreck logs and artifacts and hide nothing.

A password may be an everyday word, which then is part of the project's names as well. A model
user_passwords that is called user_*****s in the state is another model for the next run. So what
the project says is told apart from what its environment says (:class:`Known`):

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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
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

_SECRET_KEY = re.compile(
    r"\A(?:pass|pwd|keyfile_json)\Z"
    r"|password|passwd|passphrase|token|secret|private_?key|api_?key|access_?key"
    r"|account_?key|credential",
    re.IGNORECASE,
)
# These say where a secret is, or of which kind, not what it is.
_HARMLESS_KEY = re.compile(
    r".*(_path|_uri|_url|_file|_endpoint|_type|_name|_arn)|secrets", re.IGNORECASE
)
_SECRET_VARIABLE = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|CREDENTIAL"
    r"|(?:\A|_)(?:API|ACCESS|PRIVATE|ACCOUNT|ENCRYPTION|SSH)_?KEY(?:_|\Z)",
    re.IGNORECASE,
)
_ENV_VAR = re.compile(r"env_var\(\s*(['\"])(?P<name>.+?)\1(?:\s*,\s*(['\"])(?P<default>.*?)\3)?")
# Secrets inside other values: connection strings and URLs. Of several such words in one the last is
# taken, whose rest is not looked over from the others.
_KEYWORDS = "password|passwd|pwd|token|secret"
_EMBEDDED = re.compile(
    rf"(?:{_KEYWORDS})(?:(?!{_KEYWORDS})\w)*\s*=\s*'?([^\s'\"&;]+)|://[^\s/:@]*:([^\s/@]+)@",
    re.IGNORECASE,
)
# The end of a plain value is left open: it may be the rest of a flow mapping, with more entries in
# it. A word is looked at from its beginning only, and has to be a key as a whole.
_YAML_ENTRY = re.compile(
    r"""(?<![\w-])(?:(?![A-Za-z_])[\w-])*(?P<key>[A-Za-z_][\w-]*)["']?\s*:\s*"""
    r"""(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')|(?=[^\s\[{"']))"""
)
_FLOW_END = re.compile(r"[,}]")

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
# A call that does not say by a literal which variable it is about, or that is no call.
_ENV_VAR_WORD = re.compile(r"\benv_var\b")
_LITERAL_CALL = re.compile(r"""env_var\s*\(\s*\\?(['"]{1,2})[^'"\\]*\\?\1\s*[,)]""")
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
        spellings = list(_spellings(secret))
        for name, value in env.items():
            if not name.startswith(OWN_VARIABLES) and any(each in value for each in spellings):
                holding.setdefault(name, set()).add(secret)
    words: set[str] = set()
    names = {name for name in _openly_asked(profile) if name in holding}
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


def _openly_asked(profile: str) -> Iterator[str]:
    """The variables that a profile takes something from that is no secret, as a schema's name."""
    for line in profile.splitlines():
        for value in _find_values(line, secret=False):
            yield from (use["name"] for use in _ENV_VAR.finditer(value))


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
    spellings = sorted({s for secret in secrets for s in _spellings(secret)}, key=len, reverse=True)
    if not spellings:
        return None
    if encoded:
        return re.compile(b"|".join(re.escape(spelling.encode()) for spelling in spellings))
    return re.compile("|".join(map(re.escape, spellings)))


def _spellings(secret: str) -> Iterator[str]:
    for value in {secret, secret.strip(), *secret.splitlines(), *secret.strip().split("\\n")}:
        if len(value.strip()) >= MIN_LENGTH:
            for json_text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
                yield json_text[1:-1]
            yield from (value, repr(value)[1:-1], quote(value, safe=""))


def _measure_longest(secret: str) -> int:
    """Bytes of the longest spelling of a secret."""
    return max((len(spelling.encode()) for spelling in _spellings(secret)), default=0)


def environment_secrets(env: Mapping[str, str]) -> set[str]:
    """Values of the variables whose names say that they are secret; paths of files are not."""
    return {
        value
        for name, value in env.items()
        if _SECRET_VARIABLE.search(name) and not value.startswith(("/", "~"))
    }


def make_scanning_redactor(profile: Path, env: Mapping[str, str]) -> Redactor:
    """A redactor that knows what can be known before dbt's own Python has read the profile."""
    secrets = environment_secrets(env)
    with suppress(OSError, ValueError):  # dbt will say that it is missing
        secrets |= scan_profiles(profile.read_text(encoding="utf-8"), env)
    return Redactor(secrets)


def scan_profiles(text: str, env: Mapping[str, str]) -> set[str]:
    """Secrets in the text of a profiles.yml, found without a YAML parser; rather too many than too
    few.
    """
    found: set[str] = set()
    lines = text.splitlines()
    after_block = 0
    for number, line in enumerate(lines):
        for value in _find_values(line, secret=True):
            if value[0] not in "|>":
                found.update(_values(_plain_spellings(value), env))
            elif number >= after_block:  # else its lines are those of a block around it
                block = _block(lines, number)
                found.update(block)
                after_block = number + 1 + len(block)
        found.update(_embedded(line))
    return found


def _find_values(line: str, *, secret: bool) -> Iterator[str]:
    """What stands behind those keys of a line that are secret, or behind those that are not.

    The first plain value may be the rest of the line or end at a comma or a brace; the others are
    in a flow mapping, where they end there. One that begins within another is a part of it.
    """
    end = 0
    for entry in _YAML_ENTRY.finditer(line):
        if _is_secret(entry["key"]) != secret:
            continue
        start = entry.end()
        if entry["quoted"] is not None:
            yield entry["quoted"]
        elif start >= end:
            is_first = not end
            found = _FLOW_END.search(line, start)
            end = found.start() if found else len(line)
            if value := line[start : None if is_first else end].strip():
                yield value


def _plain_spellings(value: str) -> Iterator[str]:
    """What a scalar may be: quoted, with a comment after it, or within a flow mapping."""
    if value[0] in "\"'":
        inner = value[1:-1]
        yield from {
            inner,
            inner.replace("''", "'"),
            inner.replace('\\"', '"').replace("\\\\", "\\"),
        }
    else:
        yield value.split(" #", maxsplit=1)[0].rstrip(" ,}]")
        yield _FLOW_END.split(value, maxsplit=1)[0].strip()


def _block(lines: list[str], start: int) -> list[str]:
    """The lines of a block scalar, each a secret: together they are a private key, as a rule."""
    depth = len(lines[start]) - len(lines[start].lstrip())
    block: list[str] = []
    for number in range(start + 1, len(lines)):
        line = lines[number]
        if line.strip() and len(line) - len(line.lstrip()) <= depth:
            break
        block.append(line.strip())
    return block


def profile_secrets(profiles: object, env: Mapping[str, str], also: Iterable[str] = ()) -> set[str]:
    """Secrets of a parsed profiles.yml and ``also`` these, without those that it shows in the open
    as well.

    Only literals show anything: whoever sets a variable must not be able to make a secret public by
    giving it the secret's value.
    """
    secret: set[str] = set(also)
    public: set[str] = set()
    waiting = [profiles]
    while waiting:
        for text, hidden in _find_texts(waiting.pop()):
            if hidden:
                secret.update(_values([text], env))
            elif text.lstrip().startswith("{") and (data := _read_json(text)) is not None:
                waiting.append(data)
            elif "{{" not in text:
                # What a variable holds is in the open only if the profile itself says so.
                public.add(text)
            secret.update(_embedded(text))
    return secret - public


def _find_texts(profiles: object) -> Iterator[tuple[str, bool]]:
    """The texts of a parsed profiles.yml, each with whether its key says that it is secret.

    YAML's aliases are one object in many places, and ten lines of them are a million places: each
    is looked into once.
    """
    seen: set[tuple[int, bool]] = set()
    waiting: list[tuple[object, bool]] = [(profiles, False)]
    while waiting:
        value, hidden = waiting.pop()
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            yield str(value), hidden
        if not isinstance(value, (Mapping, list, tuple)) or (id(value), hidden) in seen:
            continue
        seen.add((id(value), hidden))
        if isinstance(value, Mapping):
            for key, inner in value.items():
                is_leaf = not isinstance(inner, Mapping)
                waiting.append((inner, _is_secret(str(key)) and (is_leaf or hidden)))
        else:
            waiting += [(inner, hidden and not isinstance(inner, Mapping)) for inner in value]


def _is_secret(key: str) -> bool:
    return bool(_SECRET_KEY.search(key)) and not _HARMLESS_KEY.fullmatch(key)


def _values(texts: Iterable[str], env: Mapping[str, str]) -> Iterator[str]:
    """What the texts stand for: a template's variables, a JSON key file's secrets, or the texts
    themselves.
    """
    for text in texts:
        if "{{" in text:
            for use in _ENV_VAR.finditer(text):
                yield env.get(use["name"]) or use["default"] or ""
        elif text.lstrip().startswith("{"):
            yield from _key_file(text, env)
        else:
            yield text


def _key_file(text: str, env: Mapping[str, str]) -> set[str]:
    data = _read_json(text)
    return {text} if data is None else profile_secrets(data, env)


def _read_json(text: str) -> Any:
    """What a text stands for as JSON; None if it is none."""
    try:
        return parse_json(text)
    except ValueError:
        return None


def _embedded(text: str) -> set[str]:
    return {
        value for match in _EMBEDDED.findall(text) for value in match if value and "{{" not in value
    }
