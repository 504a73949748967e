"""Keep secrets out of everything that leaves the dbt container: log, termination message, artifacts.

dbt itself scrubs only ``DBT_ENV_SECRET_*`` variables, and only from its log. What counts as a secret here is found
twice: the supervisor, which has no YAML parser, scans profiles.yml as text before anything is printed, rather too
eagerly; the zygote, which has dbt's, reads it properly, and what it finds replaces what the scan found.

Values of fewer than :data:`MIN_LENGTH` characters are left alone, and so are values that the profile also holds under a
key that is no secret (``password: postgres`` beside ``type: postgres``): replacing those would wreck logs and artifacts
and hide nothing.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

MIN_LENGTH = 6
STARS = "*****"

_SECRET_KEY = re.compile(
    r"pass|pwd|.*(password|passwd|passphrase|token|secret|private_?key|api_?key|access_?key|account_?key|credential).*"
    r"|keyfile_json|private_key_id",
    re.IGNORECASE,
)
# These say where a secret is, or of which kind, not what it is.
_HARMLESS_KEY = re.compile(r".*(_path|_uri|_url|_file|_endpoint|_type|_name|_arn)|secrets", re.IGNORECASE)
_SECRET_VARIABLE = re.compile(
    r"DBT_ENV_SECRET_.+|.*(PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|CREDENTIAL).*"
    r"|(.*_)?(API|ACCESS|PRIVATE|ACCOUNT|ENCRYPTION|SSH)_?KEY(_.*)?",
    re.IGNORECASE,
)
_ENV_VAR = re.compile(r"env_var\(\s*(['\"])(?P<name>.+?)\1(?:\s*,\s*(['\"])(?P<default>.*?)\3)?")
# Secrets inside other values: connection strings and URLs.
_EMBEDDED = re.compile(
    r"(?:password|passwd|pwd|token|secret)\w*\s*=\s*'?([^\s'\"&;]+)|://[^\s/:@]*:([^\s/@]+)@", re.IGNORECASE
)
# A plain value is looked at but not consumed: it may be the rest of a flow mapping, with more entries in it.
_YAML_ENTRY = re.compile(
    r"""["']?(?P<key>[A-Za-z_][\w-]*)["']?\s*:\s*"""
    r"""(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')|(?=(?P<plain>[^\s\[{"'][^\n]*)))"""
)


class Redactor:
    """Replaces secrets by stars, however they are spelt: as they are, in JSON, in a URL, line by line."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Keep those secrets that are long enough to be replaced."""
        self.secrets = frozenset(secret for secret in secrets if len(secret.strip()) >= MIN_LENGTH)
        spellings = sorted({s for secret in self.secrets for s in _spellings(secret)}, key=len, reverse=True)
        self._text = re.compile("|".join(map(re.escape, spellings))) if spellings else None
        self._data = re.compile(b"|".join(re.escape(s.encode()) for s in spellings)) if spellings else None

    def more(self, secrets: Iterable[str]) -> Redactor:
        """A redactor that knows these secrets too."""
        return Redactor(self.secrets.union(secrets))

    def text(self, text: str) -> str:
        """The text without secrets."""
        return self._text.sub(STARS, text) if self._text else text

    def data(self, data: bytes) -> bytes:
        """The bytes without secrets."""
        return self._data.sub(STARS.encode(), data) if self._data else data

    def found_in(self, data: bytes) -> bool:
        """Whether the bytes hold a secret."""
        return bool(self._data and self._data.search(data))

    def file(self, path: Path) -> None:
        """Rewrite the file if it holds a secret. It is mapped for the search: a big one must not fill the memory."""
        if self._data is None or not path.stat().st_size:
            return
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if not self._data.search(data):
                return
        clean = path.with_name(path.name + ".redacted")
        clean.write_bytes(self.data(path.read_bytes()))
        clean.replace(path)


def _spellings(secret: str) -> Iterator[str]:
    for value in {secret, secret.strip(), *secret.splitlines(), *secret.strip().split("\\n")}:
        if len(value.strip()) >= MIN_LENGTH:
            for json_text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
                yield json_text[1:-1]
            yield from (value, repr(value)[1:-1], quote(value, safe=""))


def environment_secrets(env: Mapping[str, str]) -> set[str]:
    """Values of the variables whose names say that they are secret; paths of files are not."""
    return {
        value for name, value in env.items() if _SECRET_VARIABLE.fullmatch(name) and not value.startswith(("/", "~"))
    }


def scan_profiles(text: str, env: Mapping[str, str]) -> set[str]:
    """Secrets in the text of a profiles.yml, found without a YAML parser; rather too many than too few."""
    found: set[str] = set()
    lines = text.splitlines()
    for number, line in enumerate(lines):
        for entry in _YAML_ENTRY.finditer(line):
            if not _is_secret(entry["key"]):
                continue
            value = (entry["quoted"] or entry["plain"]).strip()
            if value[0] in "|>":
                found.update(_block(lines, number))
            else:
                found.update(_values(_plain_spellings(value), env))
        found.update(_embedded(line))
    return found


def _plain_spellings(value: str) -> Iterator[str]:
    """What a scalar may be: quoted, with a comment after it, or within a flow mapping."""
    if value[0] in "\"'":
        inner = value[1:-1]
        yield from {inner, inner.replace("''", "'"), inner.replace('\\"', '"').replace("\\\\", "\\")}
    else:
        yield value.split(" #")[0].rstrip(" ,}]")
        yield re.split(r"[,}]", value)[0].strip()


def _block(lines: list[str], start: int) -> Iterator[str]:
    """The lines of a block scalar, each a secret: together they are a private key, as a rule."""
    depth = len(lines[start]) - len(lines[start].lstrip())
    for line in lines[start + 1 :]:
        if line.strip() and len(line) - len(line.lstrip()) <= depth:
            return
        yield line.strip()


def profile_secrets(profiles: object, env: Mapping[str, str], also: Iterable[str] = ()) -> set[str]:
    """Secrets of a parsed profiles.yml and ``also`` these, without those that it holds in the open as well."""
    secret: set[str] = set(also)
    public: set[str] = set()
    _walk(profiles, env, secret, public, hidden=False)
    return secret - public


def _walk(value: object, env: Mapping[str, str], secret: set[str], public: set[str], *, hidden: bool) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            is_leaf = not isinstance(inner, Mapping)
            _walk(inner, env, secret, public, hidden=_is_secret(str(key)) and (is_leaf or hidden))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _walk(inner, env, secret, public, hidden=hidden and not isinstance(inner, Mapping))
    elif isinstance(value, (str, int)) and not isinstance(value, bool):
        text = str(value)
        (secret if hidden else public).update(_values([text], env))
        secret.update(_embedded(text))


def _is_secret(key: str) -> bool:
    return bool(_SECRET_KEY.fullmatch(key)) and not _HARMLESS_KEY.fullmatch(key)


def _values(texts: Iterable[str], env: Mapping[str, str]) -> Iterator[str]:
    """What the texts stand for: a template's variables, a JSON key file's secrets, or the texts themselves."""
    for text in texts:
        if "{{" in text:
            for use in _ENV_VAR.finditer(text):
                yield env.get(use["name"]) or use["default"] or ""
        elif text.lstrip().startswith("{"):
            yield from _key_file(text, env)
        else:
            yield text


def _key_file(text: str, env: Mapping[str, str]) -> set[str]:
    try:
        data: Any = json.loads(text)
    except ValueError:
        return {text}
    return profile_secrets(data, env)


def _embedded(text: str) -> set[str]:
    return {value for match in _EMBEDDED.findall(text) for value in match if value and "{{" not in value}
