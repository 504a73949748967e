"""Values at the limits of a schema: objects that an API server would store, as nobody writes them.

Everything follows from the schema of a CRD, so a new field is met without anybody thinking of it.
CEL rules are not looked at: stored objects may be older than a rule.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from typing import Any

Schema = Mapping[str, Any]

_DEPTH = 1_500  # levels of nesting where a schema sets none
_MANY = 40  # items where a schema sets no limit, and of lists of objects
_LONG = 5_000  # characters where a schema sets no limit
_INTEGERS = (0, 1, -1, 2, 20, 2**31 - 1, 2**63 - 1, -(2**63))
_TIMES = (
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2026-01-02T03:04:05+14:00",
    "2026-01-02T03:04:05.123456Z",
    "2026-01-02T03:04:05Z",
    "yesterday",
)
_TEXTS = (
    "",
    "0",
    "-1",
    "1h",
    "720h",
    "9" * 400,
    "$(window.start)",
    "$(interval.end)",
    "2024-02-29",
    "0001-01-01",
    "9999-12-31",
    "2024-01-01T00:00:00",
    "0 3 * * *",
    "0 0 31 2 *",
    "Europe/Amsterdam",
    "Atlantis/Poseidonis",
    "1d",
    "1mo",
    "9999mo",
    "T07:00",
    "last: 7d",
    "é",
    "\U0001f4a5",
    "\x00",
    "\ud800",
    "a\nb",
    "{{ 1 }}",
    "true",
    "tag:core+",
    "name=value",
    "%Y-%m-%d",
    "a/b",
    "../..",
)
# Characters that longest texts are made of, the first that a pattern takes.
_FILLERS = ("a", "1", "A", "0.", "a.", "1h", "\U0001f4a5", "$(window.", "[", "\\")


class SchemaValues:
    """Makes values, the same ones again from the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 -- for tests
        # How often what is optional is there, and how often a value is at a limit.
        self._fullness = self._random.choice((0.15, 0.5, 0.9))
        self._extremes = self._random.choice((0.02, 0.2, 0.7))

    def make(self, schema: Schema) -> Any:
        """A value that a schema takes."""
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            return self._make_anything()
        if "enum" in schema:
            return self._random.choice(schema["enum"])
        if schema.get("x-kubernetes-int-or-string"):
            return self._random.choice((0, 2**31 - 1, "100%", "1Gi", "x" * 100))
        makers: dict[str, Callable[[Schema], Any]] = {
            "object": self._make_object,
            "array": self._make_list,
            "string": self._make_text,
            "integer": self._make_integer,
            "number": lambda _: self._random.choice((0, -1.5, 1e308)),
            "boolean": lambda _: self._random.random() < 0.5,
        }
        return makers[schema["type"]](schema)

    def make_near(self, schema: Schema, usual: Mapping[str, Any]) -> dict[str, Any]:
        """A usual object, some of whose fields have other values, or are there in addition."""
        made = dict(usual)
        for name, field in schema["properties"].items():
            chance = self._fullness / 4 if name in usual else self._fullness / 2
            if self._random.random() < chance:
                made[name] = self.make(field)
        return made

    def is_rare(self) -> bool:
        """True in one of six cases."""
        return self._random.random() < 1 / 6

    def choose(self, *choices: Any) -> Any:
        """One of several."""
        return self._random.choice(choices)

    def _is_extreme(self) -> bool:
        return self._random.random() < self._extremes

    def _make_object(self, schema: Schema) -> dict[str, Any]:
        required = schema.get("required", ())
        made = {
            name: self.make(field)
            for name, field in schema.get("properties", {}).items()
            if name in required or self._random.random() < self._fullness
        }
        if isinstance(schema.get("additionalProperties"), Mapping):
            limit = schema.get("maxProperties", _MANY)
            for number in range(self._count(0, min(limit, _MANY))):
                key = self._random.choice(("a", "b" * 300, "c/d", "", "é")) + str(number)
                made[key] = self.make(schema["additionalProperties"])
        return made

    def _make_list(self, schema: Schema) -> list[Any]:
        items = schema["items"]
        limit = schema.get("maxItems", _MANY)
        if items.get("type") == "object":
            limit = min(limit, _MANY)  # some schemas take a thousand
        return [self.make(items) for _ in range(self._count(schema.get("minItems", 0), limit))]

    def _count(self, least: int, most: int) -> int:
        if self._is_extreme():
            return self._random.choice((least, most))
        return self._random.randint(least, min(most, least + 2))

    def _make_integer(self, schema: Schema) -> int:
        least, most = schema.get("minimum", -(2**63)), schema.get("maximum", 2**63 - 1)
        if self._is_extreme():
            usual: list[int] = [each for each in _INTEGERS if least <= each <= most]
            return self._random.choice([*usual, int(least), int(most)])
        return self._random.randint(max(least, 0), min(most, max(least, 0) + 3))

    def _make_text(self, schema: Schema) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength", _LONG)
        pattern = re.compile(schema.get("pattern", ""))

        def is_taken(text: str) -> bool:
            return least <= len(text) <= most and pattern.search(text) is not None

        if most == 40 and not schema.get("pattern") and not self._is_extreme():
            return self._random.choice(_TIMES[:-1])  # the length of times, and of little else
        longest = [(filler * most)[:most] for filler in _FILLERS]
        candidates = [*_TEXTS, *_TIMES, *(longest if self._is_extreme() else ())]
        candidates += [(filler * max(least, 3))[: max(least, 3)] for filler in _FILLERS]
        taken = [text for text in candidates if is_taken(text)]
        return self._random.choice(taken) if taken else _match(schema["pattern"])

    def _make_anything(self) -> Any:
        deep: Any = 1
        for _ in range(_DEPTH if self._is_extreme() else 2):
            deep = {"a": deep}
        return self._random.choice(
            (
                {"ds": "$(window.start)"},
                {"deep": deep},
                {"wide": [None, True, -1.5, 10**30, "é\ud800"], "none": None},
                {"long": ["x" * 100] * (3_000 if self._is_extreme() else 3)},
                {"$(window.": "$(window." * (10_000 if self._is_extreme() else 1)},
            )
        )


def _match(pattern: str) -> str:
    """A text that a pattern takes which none of the usual ones fits.

    Raises:
        LookupError: there is none here; add it.
    """
    for text in (
        "sha256:" + "a" * 64,
        "registry.example.com/dbt:1.2@sha256:" + "a" * 64,
        "https://example.com/x.git",
        "https://example.com",
        "10.0.0.53",
        "3 days",
        "/project",
        "7d",
        "1Gi",
        "100m",
        "key",
    ):
        if re.search(pattern, text):
            return text
    raise LookupError(f"no text here is taken by {pattern}")
