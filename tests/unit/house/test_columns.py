"""The columns of ``kubectl get``: a path that leads nowhere is an empty column, and no error."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from dbt_operator.api.crd import schema
from dbt_operator.api.registry import KINDS, Column, Kind
from dbt_operator.api.status import ConditionType
from tests.support.places import ROOT

COLUMNS = [
    pytest.param(kind, column, id=f"{kind.kind}-{column.name}")
    for kind in KINDS
    for column in kind.columns
]
# What every object has, whatever its schema says.
METADATA = {
    "type": "object",
    "properties": {
        "creationTimestamp": {"type": "string", "format": "date-time"},
        "name": {"type": "string"},
    },
}
FILTER = re.compile(r"\?\(@\.(\w+)=='(\w+)'\)")
STEP = re.compile(r"\.(\w+)|\[([^\]]+)\]")


def steps_of(path: str) -> list[tuple[str, str]]:
    """The steps of a JSONPath: a field or an index each."""
    found = STEP.findall(path)
    written = "".join(f".{name}" if name else f"[{index}]" for name, index in found)
    assert written == path, "a JSONPath that this test cannot read"
    return found


def resolve(node: dict[str, Any], path: str) -> dict[str, Any]:
    """The schema of what a JSONPath leads to."""
    for name, index in steps_of(path):
        if name:
            assert name in node.get("properties", {}), f"no field {name}"
            node = node["properties"][name]
            continue
        assert node["type"] == "array", f"[{index}] of what is no list"
        node = node["items"]
        if not index.isdigit():
            check_filter(node, index)
    return node


def check_filter(item: dict[str, Any], index: str) -> None:
    """Whether a filter compares a field of the list's items with a value that one of them has."""
    match = FILTER.fullmatch(index)
    assert match, f"[{index}] is neither a number nor a filter"
    assert item["properties"][match[1]]["type"] == "string"
    assert match[1] != "type" or match[2] in list(ConditionType)


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field's annotation speaks of, in lists and unions too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(model_in, get_args(annotation))), None)


@pytest.mark.parametrize(("kind", "column"), COLUMNS)
def test_a_column_leads_to_a_field_of_its_type(kind: Kind, column: Column) -> None:
    whole = schema(kind)
    whole["properties"]["metadata"] = METADATA
    found = resolve(whole, column.path)
    if column.type == "date":
        assert (found["type"], found.get("format")) == ("string", "date-time")
    else:
        assert column.type in ("string", "integer", "boolean")
        assert found["type"] == column.type


@pytest.mark.parametrize(("kind", "column"), COLUMNS)
def test_a_column_of_the_status_is_a_field_that_the_operator_writes(
    kind: Kind, column: Column
) -> None:
    if not column.path.startswith(".status."):
        assert column.path.startswith((".spec.", ".metadata."))
        return
    model: type[BaseModel] | None = kind.model
    for name, _ in steps_of(column.path):
        if name:
            assert model is not None, f"{name} of what is no object"
            fields = {field.alias or key: field for key, field in model.model_fields.items()}
            assert name in fields
            model = model_in(fields[name].annotation)
    assert model is None, "a column shows a value, and no object"


def test_a_path_that_leads_nowhere_is_found() -> None:
    runs = next(kind for kind in KINDS if kind.kind == "DbtRun")
    for path, complaint in (
        (".status.phaze", "no field phaze"),
        (".status.conditions[?(@.kind=='Ready')].status", "kind"),
        (".status.conditions[?(@.type=='Raedy')].status", "Raedy"),
        (".status.phase[0]", "of what is no list"),
        (".status..phase", "cannot read"),
    ):
        with pytest.raises((AssertionError, KeyError), match=complaint):
            resolve(schema(runs), path)


def test_the_samples_of_the_readme_show_the_columns_that_there_are() -> None:
    shown = {
        ("NAME", *(column.name.upper() for column in kind.columns if not column.priority))
        for kind in KINDS
    }
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    headers = re.findall(r"^NAME .*$", text, re.MULTILINE)
    samples = {tuple(re.split(r"\s{2,}", header.strip())) for header in headers}
    assert len(samples) > 2
    assert samples <= shown
