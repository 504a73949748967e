"""The variables that dbt reads as flags, as a program: the dbt may be another version's than that
of the tests.

Its arguments are dbt's commands, such as ``docs generate``; it prints a JSON list of the names that
these, and dbt as a whole, read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import click
from dbt.cli.main import cli


def names(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        if isinstance(parameter.envvar, str):
            yield parameter.envvar
        else:
            yield from parameter.envvar or ()


def found(path: str) -> Iterator[str]:
    command: click.Command = cli
    yield from names(command)
    for word in path.split():
        assert isinstance(command, click.Group)
        command = command.commands[word]
        yield from names(command)


print(json.dumps(sorted({name for path in sys.argv[1:] for name in found(path)})))
