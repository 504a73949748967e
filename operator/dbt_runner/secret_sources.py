"""Where secrets are: in variables whose names say so, and in profiles.yml.

What counts as a secret is found twice: the supervisor, which has no YAML parser, scans profiles.yml
as text before anything is printed, rather too eagerly; the zygote, which has dbt's, reads it
properly, and what it finds replaces what the scan found.

A value that the profile also holds as a literal under a key that is no secret is none (``password:
postgres`` beside ``type: postgres``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dbt_protocol.json_input import parse_json
from dbt_runner.redact import Redactor

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


def find_openly_asked(profile: str) -> Iterator[str]:
    """The variables that a profile takes something from that is no secret, as a schema's name."""
    for line in profile.splitlines():
        for value in _find_values(line, secret=False):
            yield from (use["name"] for use in _ENV_VAR.finditer(value))


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
