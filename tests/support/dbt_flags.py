"""What dbt takes for flags, as a program: the dbt may be another version's than that of the tests.

Its arguments are dbt's commands, such as ``docs generate``; it prints a JSON object of what these,
and dbt as a whole, read.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import click
from dbt.cli.main import cli
from dbt.contracts.project import Project, ProjectFlags

VARIABLE = re.compile(r"DBT_[A-Z0-9_]+|DO_NOT_TRACK")


def parameters(path: str) -> Iterator[click.Parameter]:
    command: click.Command = cli
    yield from command.params
    for word in path.split():
        assert isinstance(command, click.Group)
        command = command.commands[word]
        yield from command.params


def variables(parameter: click.Parameter) -> list[str]:
    found = parameter.envvar
    return [found] if isinstance(found, str) else list(found or ())


def words_of_code(packages: list[str]) -> Iterator[str]:
    """Texts in dbt's code that are the name of a variable."""
    for package in packages:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations if spec else None) or ():
            for path in Path(folder).rglob("*.py"):
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str):
                        yield from VARIABLE.findall(node.value if " " not in node.value else "")


read = {
    parameter.name: variables(parameter) for path in sys.argv[1:] for parameter in parameters(path)
}
behaviours = set(ProjectFlags().project_only_flags)
print(
    json.dumps(
        {
            "flags": read,
            "behaviours": sorted(behaviours),
            "project_flags": [each.name for each in fields(ProjectFlags)],
            "project_keys": [each.name.replace("_", "-") for each in fields(Project)],
            "words": sorted(set(words_of_code(["dbt", "dbt_common"]))),
        }
    )
)
