"""Asks dbt what a step selects."""

from __future__ import annotations

import os
from pathlib import Path

from dbt_runner.worker.channel import Channel
from dbt_runner.worker.dbt_api import DbtApi, Loaded
from dbt_runner.worker.failure import CannotRunError
from dbt_runner.worker.forking import fork_child
from dbt_runner.worker_messages import Failed, Selected, decode


def select_in_child(
    dbt: DbtApi, argv: list[str], loaded: Loaded, folder: Path, *, may_lack_state: bool
) -> list[str]:
    """The unique IDs that a command line selects; a child finds them, since selecting changes the
    manifest.

    Raises:
        CannotRunError: dbt cannot tell, or the child has died.
    """
    reader, writer = os.pipe()

    def answer() -> None:
        channel = Channel(writer)
        try:
            found = dbt.select_nodes(argv, loaded.manifest, folder, may_lack_state=may_lack_state)
            channel.send(Selected(found))
        except CannotRunError as error:
            channel.send(error.make_message())

    child = fork_child(answer)
    os.close(writer)
    with os.fdopen(reader, "rb") as lines:
        line = lines.readline()
    os.waitpid(child, 0)
    message = decode(line) if line else Failed(exit_code=2)
    if isinstance(message, Selected):
        return message.unique_ids
    if isinstance(message, Failed):
        raise CannotRunError(message)
    raise TypeError(f"a child that selects has sent {type(message).__name__}")
