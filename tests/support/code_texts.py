"""The texts in the code, for pages that quote them."""

from __future__ import annotations

import ast
from functools import cache

from tests.support.places import OPERATOR, modules


@cache
def texts() -> tuple[str, ...]:
    """All texts in the code, docstrings aside; of one with values in it the parts between them."""
    found = []
    for path in modules(OPERATOR):
        tree = ast.parse(path.read_text())
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        told = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
        }
        found += [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in told
        ]
    return tuple(found)
