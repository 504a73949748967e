"""That what people write in YAML is read as it is meant.

kubectl and helm read YAML 1.1, in which a bare ``on``, ``no`` or ``y`` is a boolean, also as a key,
and ``0o7`` and ``1e3`` are numbers; others take ``07:00`` for one. So no field and no value of ours
may be called so, and where a string is meant, examples write none of these without quotes.

A bare date such as 2024-01-01 is fine: kubectl, and whatever else reads YAML as it does, makes a
string of it, and Python's client writes the date that PyYAML makes of it in the same form. A bare
time with a date is not: the one that PyYAML makes of it comes out in another form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from yaml.resolver import Resolver

from dbt_operator.api.crd import schema
from dbt_operator.api.registry import KINDS, Kind

ROOT = Path(__file__).parents[4]
STRING = "tag:yaml.org,2002:str"
# What is no string in the YAML 1.1 of kubectl, in YAML 1.2, or to a reader of sexagesimal numbers.
MISREAD_ELSEWHERE = re.compile(
    r"[yYnN]|[-+]?0o[0-7_]+|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"
)
# Kubernetes itself calls the states of a condition so; nobody writes them.
OF_CONDITIONS = [(".status.conditions[].status", text) for text in ("True", "False")]
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Maps of strings in objects that are not ours.
MAPS_OF_STRINGS = {"stringData", "data", "labels", "annotations", "matchLabels", "nodeSelector"}


def is_read_as_string(text: str) -> bool:
    """Whether every reader of YAML takes this for a string where it has no quotes."""
    tag = Resolver().resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return tag == STRING and not MISREAD_ELSEWHERE.fullmatch(text)


MISREAD = """
on off yes no y n Y N true False null ~ 07:00 7:00 12:30:45 1e3 1.5 0o7 0x1f 010 08 1_000 .inf << =
2024-01-01 2024-01-01T00:00:00Z
"""


@pytest.mark.parametrize("text", MISREAD.split())
def test_what_is_misread(text: str) -> None:
    assert not is_read_as_string(text)


READ_AS_MEANT = ["reasons", "7d", "1h30m", "1.10.x", "$(window.start)", "v1", "Always", "2024-W01"]


@pytest.mark.parametrize("text", READ_AS_MEANT)
def test_what_is_not(text: str) -> None:
    assert is_read_as_string(text)


def names_and_values(found: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """The names of fields, and the values that they may have, each with where it is."""
    for value in found.get("enum", ()):
        yield path, value
    for name, inner in found.get("properties", {}).items():
        yield f"{path}.{name}", name
        yield from names_and_values(inner, f"{path}.{name}")
    for part in ("items", "additionalProperties"):
        if isinstance(found.get(part), dict):
            yield from names_and_values(found[part], f"{path}[]")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_no_field_and_no_value_has_to_be_quoted(kind: Kind) -> None:
    found = list(names_and_values(schema(kind), ""))
    assert len(found) > 30
    found = [each for each in found if each not in OF_CONDITIONS]
    assert [(path, text) for path, text in found if not is_read_as_string(str(text))] == []


def documents() -> list[Any]:
    """All YAML that is there to be copied."""
    found = [(path, path.read_text()) for path in sorted((ROOT / "examples").rglob("*.y*ml"))]
    values = ROOT / "charts/dbt-operator/values.yaml"
    found.append((values, values.read_text()))
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        whole = path.read_text()
        for block in re.finditer(r"^```ya?ml\n(.*?)^```$", whole, re.DOTALL | re.MULTILINE):
            before = whole[: block.start(1)].count("\n")  # so that line numbers are the file's
            found.append((path, "\n" * before + block[1]))
    return [
        pytest.param(text, id=f"{path.relative_to(ROOT)}-{at}")
        for at, (path, text) in enumerate(found)
    ]


@pytest.mark.parametrize("text", documents())
def test_examples_are_read_as_they_are_meant(text: str) -> None:
    assert list(misread(text)) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("spec: {retry: {on: [ModelError]}}", "on"),
        ("stringData:\n  password: 0123", "0123"),
        ("kind: DbtRun\nspec: {source: {ref: 1e3}}", "1e3"),
        ("kind: DbtRun\nspec: {steps: [{build: {select: [no]}}]}", "no"),
        ("kind: DbtRun\nspec: {env: [{name: a, value: 07:00}]}", "07:00"),
        (
            "kind: DbtBackfill\nspec: {windows: {dates: {to: 2024-01-01T00:00:00}}}",
            "2024-01-01T00:00:00",
        ),
        ('kind: DbtBackfill\nspec: {windows: {dates: {from: 2024-01-01, to: "2024-01-02"}}}', ""),
        ("kind: DbtRun\nspec: {threads: 4, cancel: true, vars: {a: 1}}", ""),
    ],
)
def test_what_is_refused_in_examples(text: str, line: str) -> None:
    assert [found.rpartition(" ")[2] for found in misread(text)] == ([line] if line else [])


def misread(text: str) -> Iterator[str]:
    """Each place in these documents that some reader does not take for the string that is meant."""
    for document in yaml.compose_all(text, yaml.SafeLoader):
        kind = next((kind for kind in KINDS if kind.kind == _value(document, "kind")), None)
        yield from _misread(document, schema(kind) if kind else None)


def _misread(node: yaml.Node, meant: dict[str, Any] | None) -> Iterator[str]:
    meant = meant or {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _misread(key, {"type": "string"})
            inner = meant.get("properties", {}).get(key.value) or meant.get("additionalProperties")
            if not inner and key.value in MAPS_OF_STRINGS:
                inner = {"additionalProperties": {"type": "string"}}
            yield from _misread(value, inner if isinstance(inner, dict) else None)
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _misread(each, meant.get("items"))
    elif isinstance(node, yaml.ScalarNode) and meant.get("type") == "string" and _is_bare(node):
        yield f"line {node.start_mark.line + 1}: {node.value}"


def _is_bare(node: yaml.ScalarNode) -> bool:
    """Whether it needs quotes and has none."""
    return (
        node.style is None and not is_read_as_string(node.value) and not DATE.fullmatch(node.value)
    )


def _value(node: yaml.Node, name: str) -> str:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((str(value.value) for key, value in pairs if key.value == name), "")
