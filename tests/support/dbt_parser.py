"""dbt's own parser of command lines, as a program: the dbt may be another version's than that of
the tests.

It reads a JSON list a line, a command line without the program's name, and answers with a line:
``params``, what the options came to, or ``error``, what is wrong with them.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import click
from dbt.cli.main import cli


def parse(arguments: list[str]) -> dict[str, Any]:
    command: click.Command = cli
    context = cli.make_context("dbt", [arguments[0]], resilient_parsing=True)
    rest = arguments
    while isinstance(command, click.Group):
        _, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command = found
    with command.make_context(arguments[0], rest, parent=context) as parsed:
        return parsed.params


for line in sys.stdin:
    try:
        answer: dict[str, Any] = {"params": parse(json.loads(line))}
    except click.UsageError as error:
        answer = {"error": error.format_message()}
    print(json.dumps(answer, default=str), flush=True)
