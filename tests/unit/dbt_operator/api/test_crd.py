from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from dbt_operator.api.crd import crd, files
from dbt_operator.api.registry import KINDS, RUN, Kind

ROOT = Path(__file__).parents[4]


def walk(node: Any, path: str = "") -> Any:
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from walk(value, f"{path}.{key}")
    elif isinstance(node, list):
        for value in node:
            yield from walk(value, path)


def test_the_generated_files_are_current() -> None:
    expected = files(ROOT / "crds", ROOT / "charts" / "dbt-operator" / "templates" / "crds")
    stale = [
        str(path.relative_to(ROOT)) for path, text in expected.items() if path.read_text() != text
    ]
    assert stale == [], "run `make crds`"
    assert {path.name for path in (ROOT / "crds").iterdir()} == {path.name for path in expected}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_schemas_are_structural(kind: Kind) -> None:
    for path, node in walk(crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]):
        assert not {"$ref", "anyOf", "oneOf", "title", "const"} & node.keys() or path.endswith(
            ".properties"
        ), path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_of_a_spec_is_explained(kind: Kind) -> None:
    spec = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for path, node in walk(spec):
        if (
            "type" in node
            and isinstance(node["type"], str)
            and not path.endswith((".items", ".additionalProperties"))
        ):
            assert node.get("description"), path


def test_every_field_of_a_runs_spec_is_immutable_but_for_cancel() -> None:
    spec = crd(RUN)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    protected = {
        rule["fieldPath"].removeprefix(".")
        for rule in spec["x-kubernetes-validations"]
        if "fieldPath" in rule
    }
    assert protected == set(spec["properties"]) - {"cancel"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_spec_has_no_defaults(kind: Kind) -> None:
    spec = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert [path for path, node in walk(spec) if "default" in node] == []


def test_the_committed_crds_are_yaml_without_aliases() -> None:
    for path in (ROOT / "crds").iterdir():
        text = path.read_text()
        assert yaml.safe_load(text)["kind"] == "CustomResourceDefinition"
        assert "&id" not in text


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_definition_is_small_enough_for_client_side_apply(kind: Kind) -> None:
    """kubectl keeps a copy in an annotation, which may have 262,144 bytes; some are for others."""
    assert len(json.dumps(crd(kind))) < 200_000
