"""Outside of the two registries nothing asks of which of our kinds an object is."""

from __future__ import annotations

import ast

from dbt_operator.api.registry import BY_NAME
from tests.support.places import OPERATOR, modules

REGISTRIES = {"dbt_operator/api/registry.py", "dbt_operator/reconcile/kinds.py"}
# These look at whom an object says it belongs to: it proves who made it, and decides no more.
OWNERS = {"dbt_operator/planning/attempt/pod_facts.py", "dbt_operator/planning/common/manifests.py"}
CONSTANTS = {name.removeprefix("Dbt").upper() for name in BY_NAME}


def names_a_kind(operand: ast.AST) -> bool:
    if isinstance(operand, (ast.Tuple, ast.Set, ast.List)):
        return any(names_a_kind(each) for each in operand.elts)
    if isinstance(operand, ast.MatchValue):
        return names_a_kind(operand.value)
    if isinstance(operand, ast.Constant):
        return operand.value in BY_NAME
    return (
        isinstance(operand, ast.Attribute)
        and operand.attr == "kind"
        and isinstance(operand.value, ast.Name)
        and operand.value.id in CONSTANTS
    )


def compares_with_a_kind(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        return any(names_a_kind(operand) for operand in (node.left, *node.comparators))
    return isinstance(node, ast.match_case) and names_a_kind(node.pattern)


def test_no_comparison_names_a_kind() -> None:
    found = [
        f"{path.relative_to(OPERATOR)}:{getattr(node, 'lineno', '?')}"
        for path in modules(OPERATOR)
        if str(path.relative_to(OPERATOR)) not in REGISTRIES | OWNERS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if compares_with_a_kind(node)
    ]
    assert found == []


def test_a_comparison_with_a_kind_would_be_found() -> None:
    for text in (
        'key.kind == "DbtRun"',
        'kind in ("Job", "DbtTarget")',
        "RUN.kind != kind",
        'if 1:\n match kind:\n  case "DbtRun": pass',
    ):
        assert any(compares_with_a_kind(node) for node in ast.walk(ast.parse(text))), text
