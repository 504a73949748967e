"""result.json: all that is known of how a run ended, of which the termination message is the short
form.

It is among the artifacts of each attempt, where people and programs read it, and beside the
attempts, where the next attempt reads what is done. A run over windows has one for all its windows,
which is there from the first window on, and one for each window that is over.

A field that is added with a default needs nothing more here: it is written and read, and an earlier
reader passes it over. When a field goes or means something else, :data:`SCHEMA_VERSION` goes up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self  # of typing from 3.11 on; the dbt image may have 3.9
from dbt_protocol.messages import ProtocolError, known_fields
from dbt_protocol.summaries import Failure, Nodes, Summary

SCHEMA_VERSION = 1  # what files that name none have


@dataclass(frozen=True)
class NodeResult:
    """How a node ended."""

    unique_id: str
    status: str  # dbt's
    message: str
    may_warn: bool = True  # a warning is no failure
    codes: str = ""  # of the error, as the warehouse's client has them
    failures: int | None = None  # of a test: how many rows it found


@dataclass(frozen=True)
class StepResult:
    """What has become of a step."""

    name: str
    command: str
    # Succeeded, Failed, Skipped (not run) or NotFresh (sources are too old: the run ends as
    # skipped)
    state: str
    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    allow_failure: bool = False
    started_at: str = ""
    finished_at: str = ""
    nodes: Nodes = field(default_factory=Nodes)
    failures: list[Failure] = field(default_factory=list)
    attempt: int = 1  # the one in which it was last at work
    digest: str = ""  # of its command line: another one's results prove nothing
    # another attempt may leave out what is done (Nodes), or has to run the Step, or everything
    resume: str = ""
    results: list[NodeResult] = field(default_factory=list)  # of all attempts, merged
    # Nodes that a build was asked for and has not selected; None: that is not known.
    left_out: int | None = None
    # A name of a node, column or relation that had to be starred in the artifacts, since it holds a
    # secret: they are no state to compare with. Empty: there is none.
    lost_name: str = ""
    again: str = ""  # as in Summary

    @property
    def fails_run(self) -> bool:
        """Whether the run fails by this."""
        return self.state == "Failed" and not self.allow_failure


@dataclass(frozen=True)
class WindowResult:
    """How a window stands."""

    key: str
    state: str  # Pending, Running, Succeeded, Skipped or Failed
    reason: str = ""
    message: str = ""
    attempt: int = 0  # the one in which it was last at work; 0: that is not known
    nodes: Nodes = field(default_factory=Nodes)
    # Of one that failed, for an attempt that continues it; None: they were there and cannot be read
    steps: list[StepResult] | None = field(default_factory=list)


@dataclass(frozen=True)
class Parse:
    """The parse before the first step. What is None is not in the file."""

    seconds: float | None = None
    cached: bool | None = None  # the cache of an earlier run was used
    count: int | None = None  # how often; only where there are windows, as is the obstacle
    obstacle: str | None = None  # why the other windows cannot share it; empty: they can


@dataclass(frozen=True)
class WindowParses:
    """The parses of all windows together."""

    count: int = 0
    obstacle: str | None = None  # as in Parse; None, which is null in the file: that is not known


@dataclass(frozen=True)
class ResultFile:
    """The file of a run, or of one of its windows."""

    run: str
    run_uid: str
    attempt: int
    source: Any  # what the init container says of the project's files; None: the image has them
    parse: Parse | WindowParses = field(default_factory=Parse)
    summary: Summary | None = None  # None: the run over windows is still under way
    steps: list[StepResult] | None = None  # not of a run over windows
    key: str = ""  # of a window, and how it stands: in that window's own file only
    state: str = ""
    # Of all windows, as in Summary.windows and one by one: in the file of a run over windows only.
    codes: str = ""
    windows: list[WindowResult] | None = None

    def to_document(self) -> dict[str, Any]:
        """As it stands in the file."""
        document: dict[str, Any] = asdict(self.summary) if self.summary else {}
        document.update(run=self.run, run_uid=self.run_uid, attempt=self.attempt)
        document["source"] = self.source
        if self.key:
            document.update(key=self.key, state=self.state)
            document.pop("windows", None)
        parse = asdict(self.parse)
        if isinstance(self.parse, Parse):
            parse = {name: value for name, value in parse.items() if value is not None}
        document["parse"] = parse
        if self.steps is not None:
            document["steps"] = [asdict(step) for step in self.steps]
        if self.windows is not None:
            document["codes"] = self.codes
            document["windows"] = [asdict(window) for window in self.windows]
        document["schema_version"] = SCHEMA_VERSION
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read what stands in the file; what this reader does not know is passed over.

        Raises:
            ProtocolError: it is no such file, or of a later version.
        """
        version = document.get("schema_version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            raise ProtocolError(f"schema version {version!r} is not {SCHEMA_VERSION}")
        try:
            found = known_fields(cls, document)
            return cls(**{**found, **_read_parts(document)})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"{error!r}") from error


def _read_parts(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are no plain values."""
    parse = document.get("parse", {})
    found: dict[str, Any] = {
        "parse": Parse(**known_fields(Parse, parse)),
        "summary": None,
        "steps": None,
        "windows": None,
    }
    if "reason" in document:
        # In the file the rows stand in the place of the codes.
        codes = document.get("codes", "")
        found["summary"] = Summary.from_mapping({**document, "windows": codes})
    if "steps" in document:
        found["steps"] = [_read_step(step) for step in document["steps"]]
    if "codes" in document:
        found["parse"] = WindowParses(**known_fields(WindowParses, parse))
        found["windows"] = [_read_window(window) for window in document["windows"]]
    return found


def _read_step(data: Mapping[str, Any]) -> StepResult:
    found = known_fields(StepResult, data)
    found["nodes"] = _read_nodes(data["nodes"])
    found["failures"] = [Failure(**known_fields(Failure, each)) for each in data["failures"]]
    found["results"] = [NodeResult(**known_fields(NodeResult, each)) for each in data["results"]]
    return StepResult(**found)


def _read_window(data: Mapping[str, Any]) -> WindowResult:
    found = known_fields(WindowResult, data)
    found["nodes"] = _read_nodes(data.get("nodes", {}))
    try:
        found["steps"] = [_read_step(step) for step in data.get("steps", ())]
    except (AttributeError, KeyError, TypeError):
        found["steps"] = None  # the other windows can be continued all the same
    return WindowResult(**found)


def _read_nodes(data: Mapping[str, Any]) -> Nodes:
    return Nodes(**known_fields(Nodes, data))
