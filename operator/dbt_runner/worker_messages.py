"""What the supervisor and the process that runs dbt say to each other: JSON lines in two pipes.

Both are of one archive, so there are no versions to be tolerant of. But the project's code runs
behind one end of the pipe: a line that is not exactly one of these messages is refused, in words
that do not quote it, since it may hold a secret.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Union

from dbt_protocol.json_input import parse_json


class MessageError(ValueError):
    """A line is no message. What it says instead is not told."""


# From the supervisor


@dataclass(frozen=True)
class RunStep:
    """Run this step of the window at work."""

    step: int


@dataclass(frozen=True)
class EndWindow:
    """The window at work is over."""


@dataclass(frozen=True)
class BeginWindow:
    """Get this window ready. The rest is what has changed in the plan since."""

    window: int
    project_dir: str
    deps: str
    cached: bool


# From the process that runs dbt


@dataclass(frozen=True)
class Secrets:
    """The secrets of the profile: sent before anything is printed that may hold them."""

    values: list[str]


@dataclass(frozen=True)
class Began:
    """What kind of dbt there is, before anything is asked of it."""

    engine: str  # as in dbt_protocol.summaries.Summary
    dbt_version: str = ""  # empty: that is not known yet
    keeps_results: bool = True  # what it has left when it was stopped is true


@dataclass(frozen=True)
class Ready:
    """Steps can be run."""

    dbt_version: str
    isolation: str  # Fork, Process or Command
    project_dir: str
    # Of the parse; None where each step parses for itself.
    seconds: float | None = None
    cached: bool | None = None
    count: int | None = None  # and these only where there are windows
    obstacle: str | None = None
    # What tells the project's words from secrets, see redact.Known.
    words: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DbtEnd:
    """How an invocation of dbt ended, as far as that is known."""

    reason: str = ""  # the verdict, where it does not have to be drawn from the rest
    message: str = ""
    exit_code: int | None = None  # None: it did not get as far as an exit code
    exception: list[str] = field(default_factory=list)  # names of its classes
    invocation_id: str = ""
    dbt_version: str = ""
    expected: list[str] | None = None  # what has to have a result, hooks included
    empty: bool = False
    errors: list[str] = field(default_factory=list)
    raised: list[dict[str, str]] = field(default_factory=list)  # results the artifacts may lack
    # Nodes that a build was asked for and has not selected; None: that is not known.
    left_out: int | None = None
    # What the warehouse's client has raised, the last of each node.
    causes: list[dict[str, str]] = field(default_factory=list)
    logged_in: bool = False  # the warehouse has answered a statement

    def list_fields(self) -> dict[str, Any]:
        """What every end has, to make a message of one kind out of another."""
        return {each.name: getattr(self, each.name) for each in fields(DbtEnd)}


@dataclass(frozen=True)
class Failed(DbtEnd):
    """No step can be run."""

    step: int = 0  # the one that this is about
    parses: int = 0


@dataclass(frozen=True)
class StepOutcome(DbtEnd):
    """What dbt has told of the end of a step."""

    step: int = 0


@dataclass(frozen=True)
class StepEnded:
    """The process of a step is over."""

    step: int
    status: int  # as of waitpid


@dataclass(frozen=True)
class Selected:
    """What a step selects; a child of the zygote tells it the zygote."""

    unique_ids: list[str]


@dataclass(frozen=True)
class NodeProgress:
    """How far dbt is with a step: one of these at a time."""

    invocation_id: str = ""
    total: int | None = None  # of the nodes that are selected
    started: str = ""  # a node
    ended: str = ""  # a node, and its status
    status: str = ""


INTERRUPTED = Failed(message="interrupted", exit_code=2, exception=["KeyboardInterrupt"])

Message = Union[
    RunStep,
    EndWindow,
    BeginWindow,
    Secrets,
    Began,
    Ready,
    Failed,
    StepOutcome,
    StepEnded,
    Selected,
    NodeProgress,
]
KINDS: dict[str, type[Message]] = {
    "run-step": RunStep,
    "end-window": EndWindow,
    "begin-window": BeginWindow,
    "secrets": Secrets,
    "began": Began,
    "ready": Ready,
    "failed": Failed,
    "step-outcome": StepOutcome,
    "step-ended": StepEnded,
    "selected": Selected,
    "node-progress": NodeProgress,
}
_NAMES = {kind: name for name, kind in KINDS.items()}


def encode(message: Message) -> bytes:
    """The message as a line."""
    content = {"kind": _NAMES[type(message)], **asdict(message)}
    return (json.dumps(content) + "\n").encode()


def decode(line: bytes) -> Message:
    """Read a line.

    Raises:
        MessageError: it is no message.
    """
    try:
        content = parse_json(line)
        kind = KINDS[content.pop("kind")]
        message = kind(**content)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise MessageError("a line is no message") from None
    for each in fields(kind):
        if not CHECKS[str(each.type)](getattr(message, each.name)):
            raise MessageError(f"a message has a {each.name} that it cannot have")
    return message


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """Whether it is a count or a wait status, which is an int of C."""
    return type(value) is int and 0 <= value < 2**31


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_results(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_result, value))


def _is_result(value: Any) -> bool:
    has_name = isinstance(value, dict) and "unique_id" in value
    return has_name and all(map(_is_text, value.values()))


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


# By what the fields are declared to be.
CHECKS: dict[str, Callable[[Any], bool]] = {
    "str": _is_text,
    "str | None": _or_none(_is_text),
    "bool": _is_flag,
    "bool | None": _or_none(_is_flag),
    "int": _is_number,
    "int | None": _or_none(_is_number),
    "float | None": _or_none(_is_seconds),
    "list[str]": _are_texts,
    "list[str] | None": _or_none(_are_texts),
    "list[dict[str, str]]": _are_results,
}
