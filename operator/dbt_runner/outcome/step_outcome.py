"""What is seen of a dbt invocation, and what is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dbt_protocol.result_file import NodeResult
from dbt_protocol.summaries import Failure, Nodes
from dbt_runner.outcome.sentences import first_lines

_GOOD = {"success", "pass", "warn", "no-op", "reused"}


@dataclass(frozen=True)
class StepEvidence:
    """What was seen of one dbt invocation."""

    command: str  # the step's type
    selection: str = ""  # the selection flags, for messages
    allow_empty: bool = False
    fail_on_warn: bool = False  # a test or source that warns has failed
    exit_code: int | None = None  # None: it did not get as far as an exit code
    signal: int | None = None  # that ended the process
    out_of_memory: bool = False  # the memory cgroup's OOM killer was at work meanwhile
    stopped: str = ""  # Timeout or Cancelled: the runner ended it
    exception: Sequence[str] = ()  # names of the exception's classes, the most special first
    message: str = ""  # of the exception
    parsing: bool = False  # it ended before its first node
    invocation_id: str = ""
    expected: Sequence[str] | None = None  # what has to have a result: what is selected, and hooks
    empty: bool = False  # dbt said there was nothing to do
    errors: Sequence[str] = ()  # error lines of dbt's log
    raised: Sequence[
        Mapping[str, str]
    ] = ()  # failed results that dbt reported, which the artifact may lack
    # What the warehouse's client has raised, the last of each node.
    causes: Sequence[Mapping[str, str]] = ()
    logged_in: bool = False  # the warehouse had answered before this invocation
    earlier: Sequence[
        Result
    ] = ()  # of the attempts before, where the step is continued node by node
    doubted: bool = False  # it was stopped, and what it has left of results is not believed
    run_results: Mapping[str, Any] | None = None
    sources: Mapping[str, Any] | None = None


def is_hook(unique_id: str) -> bool:
    """Whether this is a statement of on-run-start or on-run-end."""
    return unique_id.startswith("operation.")


@dataclass(frozen=True)
class Result(NodeResult):
    """A row of dbt's results, as far as the verdict needs it."""

    @property
    def is_hook(self) -> bool:
        """Whether it is of on-run-start or on-run-end."""
        return is_hook(self.unique_id)

    @property
    def is_good(self) -> bool:
        """Whether the node is done."""
        # An exposure is skipped when what it depends on is; dbt itself does not count it.
        if self.status == "warn":
            return self.may_warn
        return self.status in _GOOD or (
            self.status == "skipped" and self.unique_id.startswith("exposure.")
        )

    def shortened(self) -> Result:
        """As it is kept for the attempts that follow."""
        return replace(self, message="" if self.is_good else first_lines(self.message))


@dataclass(frozen=True)
class Outcome:
    """How a step ended. ``reason`` is empty when it succeeded."""

    reason: str = ""
    message: str = ""
    nodes: Nodes = field(default_factory=Nodes)
    failures: list[Failure] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)  # without hooks
    resume: str = ""  # how another attempt may go on: Nodes, Step, or from the beginning
    stale: bool = False  # all that is wrong is the age of sources
    again: str = ""  # as in dbt_protocol.summaries.Summary
