"""What the log of dbt 2 tells of nodes while they are at work: JSON lines, in place of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dbt_protocol.json_input import parse_json

_SHOWN_ERRORS = 20
_SHOWN_LEVELS = ("info", "warn", "error")
# Their text is for whoever looks for faults in dbt.
_SILENT = ("MainReportVersion", "ArtifactWritten")
_ANSWER = "PrintEvent"
_BACKTRACE = "\n   0: "  # what follows tells where in dbt's own code an error has come from
OnNode = Callable[..., object]  # takes what NodeProgress has


def ignore(**_: object) -> None:
    """Take no notice of how far dbt is."""


@dataclass(frozen=True)
class Told:
    """The text of a line; empty where it is for nobody."""

    text: str
    level: str


class NodeEvents:
    """Takes in an invocation's log line by line."""

    def __init__(self, on_node: OnNode) -> None:
        self._on_node = on_node
        self._started: set[str] = set()
        self.ended: dict[str, str] = {}  # the status of each node, and of each hook, at its end
        self.errors: list[str] = []
        self.said: dict[str, str] = {}  # the last error of a node
        self.printed = 0  # lines of an answer, as of dbt list

    def take(self, line: bytes) -> Told:
        """Learn what a line tells."""
        try:
            event = parse_json(line)
            return self._take(event["info"], event["data"])
        except (AttributeError, KeyError, TypeError, ValueError):
            # What is printed by dbt's command line, before there is a log, and by whoever else.
            return Told(line.decode(errors="replace").strip("\n"), "error")

    def _take(self, info: Mapping[str, Any], data: Mapping[str, Any]) -> Told:
        text, level = str(info["msg"]).partition(_BACKTRACE)[0], str(info["level"])
        node = data.get("node_info") or {}
        unique_id = str(node.get("unique_id") or "")
        self.printed += info["name"] == _ANSWER
        if level == "error":
            self._keep_error(unique_id, text)
        if unique_id:
            self._take_node(unique_id, node, data.get("status"))
        is_silent = level not in _SHOWN_LEVELS or info["name"] in _SILENT
        return Told("" if is_silent else text.strip("\n"), level)

    def _keep_error(self, unique_id: str, text: str) -> None:
        if unique_id:
            self.said[unique_id] = text
        if len(self.errors) < _SHOWN_ERRORS:
            self.errors.append(text)

    def _take_node(self, unique_id: str, node: Mapping[str, Any], status: object) -> None:
        is_hook = unique_id.startswith("operation.")
        # Ephemeral models have a start and an end here, and nothing is built between them.
        counts = not is_hook and node.get("materialized") != "ephemeral"
        if isinstance(status, str):
            self.ended[unique_id] = status
            if counts:
                self._on_node(ended=unique_id, status=status)
        elif node.get("node_status") == "started" and counts and unique_id not in self._started:
            self._started.add(unique_id)
            self._on_node(started=unique_id)
