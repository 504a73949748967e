"""The contract between the operator and the pods it starts: plans go in, summaries come out.

A plan is the JSON value of the environment variable ``DBT_OPERATOR_PLAN`` of a container. A summary
is the container's termination message. Both carry the protocol's number, so that an operator can
read what the runner of the version before wrote: an upgrade of the operator must not lose a run
that is under way.

A pod has 12 KiB of termination messages for all its containers together, so a summary is kept to
:data:`SUMMARY_BYTES`; the whole of what it shortens is in the artifacts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from typing_extensions import Self  # of typing from 3.11 on; the dbt image may have 3.9
from dbt_protocol.json_input import parse_json
from dbt_protocol.messages import PROTOCOL, Message, ProtocolError, known_fields

SUMMARY_BYTES = 1500
MESSAGE_BYTES = 600
FAILURE_MESSAGE_BYTES = 160
FAILURES = 20

# The sidecar's log tells how far dbt is, in lines of this prefix and a Progress.
PROGRESS_PREFIX = "dbt-operator: progress "
PROGRESS_BYTES = 1000
PROGRESS_RUNNING = 10
PROGRESS_WINDOWS = 100

# How the state of a run stands, that later runs may be compared with, as the sidecar tells it.
STATE_UPLOADED, STATE_LACKS = "Uploaded", "Missing"


@dataclass(frozen=True)
class Failure:
    """A node that did not end well."""

    unique_id: str
    status: str  # dbt's: error, fail, skipped, "runtime error", "partial success", ...
    message: str = ""


@dataclass(frozen=True)
class Nodes:
    """How many nodes ended how, over all steps. Field names are dbt's statuses."""

    total: int = 0
    success: int = 0
    error: int = 0
    skipped: int = 0
    passed: int = 0
    warn: int = 0
    fail: int = 0
    no_op: int = 0

    def __add__(self, other: Nodes) -> Nodes:
        return Nodes(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Summary(Message):
    """How the dbt container (or the init container) ended.

    ``reason`` is empty when everything succeeded, else one of the reasons of a DbtRun's status.
    """

    reason: str = ""
    message: str = ""
    exit_code: int = 0
    dbt_version: str = ""
    nodes: Nodes = field(default_factory=Nodes)
    failures: list[Failure] = field(default_factory=list)
    failures_total: int = 0
    commit: str = ""  # what the init container has checked out of a Git repository
    # how each window ended, a character of :mod:`dbt_protocol.window_codes` each; empty: there are
    # none
    windows: str = ""
    # Every build that counts has selected all that its command line asks for: nothing of the
    # project has narrowed it. An older runner says nothing of it, which proves nothing.
    whole: bool = False
    # What is left of it is a state that later runs can compare with. Older runners always meant so.
    leaves_state: bool = True
    # Of Unavailable and ModelError: whether another attempt may do better, by what the warehouse
    # said: No, Once or Yes. Empty: an older runner, or nothing is known.
    again: str = ""
    # What has run dbt: Python (its Python API) or Program (its command line). Older runners say
    # nothing of it.
    engine: str = ""
    protocol: int = PROTOCOL

    SHORTENED: ClassVar[str] = "..."

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Self:
        """Read a message, and what is in it."""
        known = known_fields(cls, data)
        known["nodes"] = Nodes(**known_fields(Nodes, data.get("nodes", {})))
        known["failures"] = [
            Failure(**known_fields(Failure, failure)) for failure in data.get("failures", [])
        ]
        return cls(**known)

    def to_json(self) -> str:
        """Serialize into at most SUMMARY_BYTES: messages are shortened first, then failures dropped
        from the end.
        """
        failures = [
            Failure(
                _shorten(f.unique_id, 200), f.status, _shorten(f.message, FAILURE_MESSAGE_BYTES)
            )
            for f in self.failures[:FAILURES]
        ]
        total = max(self.failures_total, len(self.failures))
        for keep in range(len(failures), -1, -1):
            text = _dump(
                self,
                message=_shorten(self.message, MESSAGE_BYTES),
                failures=failures[:keep],
                total=total,
            )
            if len(text.encode()) <= SUMMARY_BYTES:
                return text
        return _dump(self, message=_shorten(self.message, 200), failures=[], total=total)


def _dump(summary: Summary, *, message: str, failures: list[Failure], total: int) -> str:
    data = asdict(summary) | {
        "message": message,
        "failures": [asdict(failure) for failure in failures],
        "failures_total": total,
    }
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def _shorten(text: str, size: int) -> str:
    """Cut to at most ``size`` bytes of UTF-8, at a character's boundary. What no UTF-8 can stand
    for, as in names of files in any bytes, is a question mark.
    """
    encoded = text.encode(errors="replace")
    if len(encoded) <= size:
        return encoded.decode()
    return encoded[: size - len(Summary.SHORTENED)].decode(errors="ignore") + Summary.SHORTENED


@dataclass(frozen=True)
class UploadSummary(Message):
    """What the sidecar uploaded. ``error`` is empty when every object arrived whole."""

    location: str  # s3://bucket/prefix
    objects: int = 0
    size: int = 0  # bytes
    error: str = ""
    windows: str = ""  # as in Summary, as far as is known: the dbt container may have been killed
    # STATE_UPLOADED: all objects of the run's state are there; STATE_LACKS: they are not. Empty: an
    # older runner, which tells of all objects together, or one that was to leave no state.
    state: str = ""
    # Its log holds a digest (:mod:`dbt_protocol.digests`).
    digest: bool = False
    protocol: int = PROTOCOL

    def to_json(self) -> str:
        """Serialize; what went wrong is shortened, since nobody knows what a store has to say."""
        data = asdict(self) | {"error": _shorten(self.error, MESSAGE_BYTES)}
        return json.dumps(data, separators=(",", ":"), ensure_ascii=False)

    @property
    def is_state_uploaded(self) -> bool:
        """Whether later runs can be compared with what this one leaves."""
        return self.state == STATE_UPLOADED if self.state else not self.error


@dataclass(frozen=True)
class Progress:
    """How many of the nodes are done while the run goes on, over all steps so far, and which are at
    work now.

    Where there are windows, ``windows`` is as in Summary and the nodes are those of the window at
    work. It comes from a log, so it is read with mistrust: what is not just this is no progress.
    """

    done: int = 0
    total: int = 0
    running: tuple[str, ...] = ()
    windows: str = ""

    LARGEST: ClassVar[int] = 2**31 - 1

    def to_json(self) -> str:
        """Serialize into at most PROGRESS_BYTES, with the first of the running nodes only."""
        running = list(self.running[:PROGRESS_RUNNING])
        while True:
            data = {"done": self.done, "total": self.total, "running": running}
            data |= {"windows": self.windows} if self.windows else {}
            text = json.dumps(data, separators=(",", ":"))  # ASCII, hence a byte is a character
            if len(text) <= PROGRESS_BYTES or not running:
                return text
            running.pop()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read it.

        Raises:
            ProtocolError: it is none.
        """
        try:
            data = parse_json(text)
            done, total, running = data["done"], data["total"], data["running"]
            windows = data.get("windows", "")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"no progress: {error!r}") from error
        if not all(type(count) is int and 0 <= count <= cls.LARGEST for count in (done, total)):
            raise ProtocolError("done and total must be counts")
        if not isinstance(running, list) or not all(isinstance(node, str) for node in running):
            raise ProtocolError("running must be a list of unique IDs")
        if not isinstance(windows, str) or len(windows) > PROGRESS_WINDOWS:
            raise ProtocolError("windows must be a short string")
        return cls(done, total, tuple(running[:PROGRESS_RUNNING]), windows)

    def to_line(self) -> str:
        """As a line of the log."""
        return PROGRESS_PREFIX + self.to_json()

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Read a line of the log.

        Raises:
            ProtocolError: it tells something else.
        """
        if not line.startswith(PROGRESS_PREFIX):
            raise ProtocolError("the line tells something else")
        return cls.from_json(line[len(PROGRESS_PREFIX) :])
