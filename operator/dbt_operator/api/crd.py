"""Models to CustomResourceDefinitions: ``python -m dbt_operator.api.crd crds
charts/dbt-operator/templates/crds``.

Kubernetes takes structural schemas: no references, no ``anyOf`` with null, no titles. Defaults are
left out: a default that a later version adds to an immutable spec would look like an edit of every
object that exists.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dbt_operator.api.base import GROUP, VERSION
from dbt_operator.api.registry import KINDS, Kind

_DROPPED = {"title", "default", "$defs"}
# What a reader looks for.
_FIRST = ("type", "description", "required", "enum", "properties", "items")


def crd(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind, as a manifest."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short],
                "categories": ["dbt"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                    "schema": {"openAPIV3Schema": schema(kind)},
                }
            ],
        },
    }


def _column(column: Any) -> dict[str, Any]:
    found = {"name": column.name, "jsonPath": column.path, "type": column.type}
    return found | ({"priority": column.priority} if column.priority else {})


def schema(kind: Kind) -> dict[str, Any]:
    """The structural schema of a kind."""
    whole = kind.model.model_json_schema(by_alias=True)
    found = _structural(whole, whole.get("$defs", {}))
    found["required"] = ["spec"]
    found["x-kubernetes-validations"] = [
        {
            "rule": f"size(self.metadata.name) <= {kind.name_length}",
            "message": (
                f"the name of a {kind.kind} has at most {kind.name_length} characters,"
                " since it becomes a label"
            ),
        }
    ]
    properties = found["properties"]
    # kstatus must never take a new object, which nobody has looked at yet, for a healthy one.
    properties["status"] = _without_rules(properties["status"]) | {
        "default": {"observedGeneration": -1}
    }
    _list_map(properties["status"], "conditions", "type")
    if kind.mutable is not None:
        frozen = [name for name in properties["spec"]["properties"] if name not in kind.mutable]
        own = properties["spec"].get("x-kubernetes-validations", [])
        properties["spec"]["x-kubernetes-validations"] = own + [_immutable(name) for name in frozen]
    return found


def _immutable(name: str) -> dict[str, str]:
    """Field by field, since a rule on the whole spec could make no exception."""
    return {
        "rule": (
            f"has(self.{name}) == has(oldSelf.{name})"
            f" && (!has(self.{name}) || self.{name} == oldSelf.{name})"
        ),
        "message": f"{name} cannot be changed: create another object",
        "fieldPath": f".{name}",
    }


def _list_map(status: dict[str, Any], name: str, key: str) -> None:
    status["properties"][name] |= {
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": [key],
    }


def _without_rules(node: Any) -> Any:
    """Rules are for what people write. Status repeats parts of a spec that have passed them
    already.
    """
    if isinstance(node, Mapping):
        return {
            key: _without_rules(value)
            for key, value in node.items()
            if key != "x-kubernetes-validations"
        }
    return [_without_rules(item) for item in node] if isinstance(node, list) else node


def _structural(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    node = _resolve(node, definitions)
    found = {key: value for key, value in node.items() if key not in _DROPPED}
    if "description" in found:
        found["description"] = _filled(found["description"])
    if "const" in found:
        found["enum"] = [found.pop("const")]
    if "properties" in found:
        found["properties"] = {
            name: _structural(child, definitions) for name, child in found["properties"].items()
        }
    if "items" in found:
        found["items"] = _structural(found["items"], definitions)
    if isinstance(found.get("additionalProperties"), Mapping):
        found["additionalProperties"] = _structural(found["additionalProperties"], definitions)
    elif "additionalProperties" in found:
        del found["additionalProperties"]
    if found.get("x-kubernetes-int-or-string"):
        found.pop("anyOf", None)
    return {key: found[key] for key in (*_FIRST, *found) if key in found}


def _filled(text: str) -> str:
    """A docstring without the ends of its lines: where they are is a matter of the source only."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _resolve(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Put what a reference or an optional field points at in its place; what stands beside it
    wins.
    """
    found = dict(node)
    while True:
        if "$ref" in found:
            inner = definitions[found.pop("$ref").removeprefix("#/$defs/")]
        elif (chosen := _optional(found)) is not None:
            del found["anyOf"]
            inner = chosen
        else:
            return found
        found = {**inner, **found}


def _optional(node: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The one alternative of an ``anyOf`` besides null."""
    choices = [choice for choice in node.get("anyOf", ()) if choice.get("type") != "null"]
    return choices[0] if len(choices) == 1 else None


class _Dumper(yaml.SafeDumper):
    """Without anchors and aliases, which people do not expect in a manifest."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 -- what it is does not matter
        return True


def dump(manifest: Mapping[str, Any]) -> str:
    """YAML as it is committed."""
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def chart_template(kind: Kind) -> str:
    """The same as a template of the chart, which can leave it out, and which keeps it when the
    chart is removed.
    """
    manifest = crd(kind)
    manifest["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    keep = "  annotations:\n    helm.sh/resource-policy: keep\n"
    wrapped = dump(manifest).replace(
        keep, "{{- if .Values.crds.keep }}\n" + keep + "{{- end }}\n", 1
    )
    return "{{- if .Values.crds.enabled }}\n" + wrapped + "{{- end }}\n"


def files(crds: Path, templates: Path) -> dict[Path, str]:
    """Every generated file and what it must hold."""
    header = "# Generated from operator/dbt_operator/api by `make crds`. Do not edit.\n"
    plain = {crds / f"{kind.plural}.yaml": header + dump(crd(kind)) for kind in KINDS}
    return plain | {
        templates / f"{kind.plural}.yaml": header + chart_template(kind) for kind in KINDS
    }


def main(argv: list[str]) -> None:
    """Write the files."""
    crds, templates = (Path(argument) for argument in argv)
    for path, text in files(crds, templates).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
