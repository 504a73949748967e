"""The contract between the operator and the pods it starts: plans go in, summaries come out.

A plan is the JSON value of the environment variable ``DBT_OPERATOR_PLAN`` of a container. A summary is the container's
termination message. Both carry the protocol's number, so that an operator can read what the runner of the version
before wrote: an upgrade of the operator must not lose a run that is under way.

A pod has 12 KiB of termination messages for all its containers together, so a summary is kept to
:data:`SUMMARY_BYTES`; the whole of what it shortens is in the artifacts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from typing import Self  # 3.11; the dbt image may have 3.9

PROTOCOL = 1
PLAN_VARIABLE = "DBT_OPERATOR_PLAN"

SUMMARY_BYTES = 1500
MESSAGE_BYTES = 600
FAILURE_MESSAGE_BYTES = 160
FAILURES = 20

# The sidecar's log tells how far dbt is, in lines of this prefix and a Progress.
PROGRESS_PREFIX = "dbt-operator: progress "
PROGRESS_BYTES = 1000
PROGRESS_RUNNING = 10
PROGRESS_WINDOWS = 100

# Where things are in the pod. The shared volume is an emptyDir that all three containers mount.
SHARED = "/dbt-operator"
RUNNER = f"{SHARED}/runner.pyz"  # the zipapp of this package, put there by the init container
PROJECT = f"{SHARED}/project"  # the checked out project, unless it is part of the dbt image
WORK = f"{SHARED}/work"  # WORK/<step> is dbt's target and log path while the step runs ...
ARTIFACTS = f"{SHARED}/artifacts"  # ... and is renamed to ARTIFACTS/<step> once it has ended: what is here is complete
# With windows these are WORK/<key>/<step> and, once the window is over, ARTIFACTS/<key>/<step>; until then the steps
# that have ended wait in WORK/<key>/ENDED.
ENDED = ".ended"
RUN = f"{SHARED}/run"  # what belongs beside the attempts in the bucket: the merged results
PREVIOUS = f"{SHARED}/previous"  # the merged results of the attempts before, for one that continues
STATE = f"{SHARED}/state"  # the artifacts that `state:`, `result:` and --defer compare with: one path in all attempts
NEW_STATE = f"{SHARED}/new-state"  # what this run leaves for later ones to compare with
CACHE = f"{SHARED}/cache"  # the restored parse cache
NEW_CACHE = f"{SHARED}/new-cache"  # the one to be stored
PROFILES = "/dbt-operator-profiles"  # the target's Secret, in the dbt container only
SOURCE = "/dbt-operator-source"  # the project's ConfigMap, in the init container only
ORDERS = "/dbt-operator-orders"  # the pod's annotations as files, in the dbt container of runs over windows only
STOP = f"{ORDERS}/stop"  # not empty: begin no further window
GIT = "/dbt-operator-git"  # the Secret with the credentials of the project's repository, in the init container only
DEPS = "deps"  # the folder, among those of the steps, for the logs of `dbt deps`
TERMINATION_LOG = "/dev/termination-log"

# Container names, known to both sides.
PREPARE_CONTAINER = "prepare"
DBT_CONTAINER = "dbt"
ARTIFACTS_CONTAINER = "artifacts"


class ProtocolError(ValueError):
    """A plan or summary that cannot be read."""


class _Message:
    """JSON to and from a frozen dataclass; unknown fields are ignored, so that an older reader meets a newer writer."""

    protocol: int

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"), ensure_ascii=False)  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a message.

        Raises:
            ProtocolError: the text is no JSON object, a field is missing, or the protocol is newer than this reader.
        """
        try:
            data = json.loads(text)
            if not isinstance(data, dict):
                raise ProtocolError(f"expected a JSON object, found {type(data).__name__}")
            if not 1 <= int(data["protocol"]) <= PROTOCOL:
                raise ProtocolError(f"protocol {data['protocol']} is not one of 1 to {PROTOCOL}")
            return cls._from_mapping(data)
        except ProtocolError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolError(f"{cls.__name__} cannot be read: {error!r}") from error

    @classmethod
    def _from_mapping(cls, data: Mapping[str, Any]) -> Self:
        return cls(**_known(cls, data))


_LARGEST = 2**63 - 1  # what a status can hold


def _known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that this reader knows. A text is a text and a count is a count: the pod is the user's, and may have
    written anything.
    """
    types = {f.name: f.type for f in fields(cls)}
    found = {name: value for name, value in data.items() if name in types}
    for name, value in found.items():
        if types[name] == "str" and not isinstance(value, str):
            raise TypeError(f"{name} must be a text")
        if types[name] == "int" and not (type(value) is int and abs(value) <= _LARGEST):
            raise TypeError(f"{name} must be a whole number")
    return found


@dataclass(frozen=True)
class Step:
    """One dbt command, as an argv list for dbt (without the program's name)."""

    name: str  # unique in the run and usable as a folder name, for example "2-build"
    command: str  # the step's type as the API names it: build, sourceFreshness, docs, runOperation, ...
    argv: list[str]
    allow_failure: bool = False
    always: bool = False  # run although an earlier step failed
    allow_empty: bool = False  # a selection that matches nothing succeeds instead of ending in NothingSelected
    full: list[str] | None = None  # instead of argv where there is no state to compare with
    on_stale: str = "Fail"  # of sourceFreshness; Skip: the run ends without a failure; Wait: check again until fresh


@dataclass(frozen=True)
class Window:
    """One of the windows that a run works through one after another, all its steps in each."""

    key: str  # unique in the run and usable as a folder name
    values: dict[str, str]  # what $(NAME) in the steps' arguments stands for, by name: {"window.start": "2024-01-01"}


@dataclass(frozen=True)
class RunPlan(_Message):
    """What the dbt container does."""

    namespace: str
    run: str
    run_uid: str
    attempt: int
    project_dir: str
    target: str  # the only target the profile may resolve to
    steps: list[Step]
    schema_pattern: str | None = None  # every node that writes must match, case-folded, from the start to the end
    database_pattern: str | None = None
    timeout_seconds: float | None = None  # then SIGINT; of each window, where there are windows
    grace_seconds: float = 60  # from SIGINT to SIGKILL
    fail_on_warn: bool = False  # a test or source that warns has failed
    # Fork: steps share one import and parse; Process: a new process each, through dbt's Python API; Command: dbt's
    # command line, a new process each; Auto: the first of them that is safe and possible.
    isolation: str = "Auto"
    resume: int | None = None  # the attempt whose merged results are continued from, if they could be restored
    state: str = ""  # where the state came from, for messages; empty: the run compares with none
    cached: bool = False  # the sidecar restores a parse cache and stores a new one
    deps: str = "Never"  # whether `dbt deps` runs first: Never, Always or IfMissing
    windows: list[Window] = field(default_factory=list)  # empty: the steps run once, as they are
    done: str = ""  # what is known of each window before this attempt, as in Summary.windows; empty: nothing
    stop_on_failure: bool = True  # no further window begins after one that has failed
    protocol: int = PROTOCOL

    @classmethod
    def _from_mapping(cls, data: Mapping[str, Any]) -> Self:
        known = _known(cls, data)
        known["steps"] = [Step(**_known(Step, step)) for step in data["steps"]]
        known["windows"] = [Window(**_known(Window, window)) for window in data.get("windows", ())]
        return cls(**known)


@dataclass(frozen=True)
class Bucket:
    """An object store's bucket. Credentials come from AWS_* variables or the pod's identity."""

    endpoint: str  # https://host[:port] or http://host[:port]
    name: str
    region: str | None = None


@dataclass(frozen=True)
class PreparePlan(_Message):
    """What the init container does: copy the runner, the source unless it is in the dbt image, and what is restored."""

    source: str  # "image", "configMap" or "git"
    url: str = ""  # this and the following are about git
    ref: str = ""  # empty: the remote's HEAD
    commit: str = ""  # what an earlier attempt found the ref to be: it is used instead
    sub_path: str = ""  # where in the repository the project is
    timeout_seconds: float = 300
    bucket: Bucket | None = None
    previous: str = ""  # prefix of the run whose merged results are restored to PREVIOUS; empty: nothing is
    state: str = ""  # prefix of the state that is restored to STATE; empty: none is
    state_required: bool = False  # a state that is not there ends the run as MissingState
    protocol: int = PROTOCOL

    @classmethod
    def _from_mapping(cls, data: Mapping[str, Any]) -> Self:
        known = _known(cls, data)
        if known.get("bucket") is not None:
            known["bucket"] = Bucket(**_known(Bucket, known["bucket"]))
        return cls(**known)


@dataclass(frozen=True)
class UploadPlan(_Message):
    """Where the sidecar uploads to; prefixes have no slash at either end."""

    bucket: Bucket
    prefix: str  # of this attempt: ARTIFACTS
    run: str = ""  # of the run: RUN
    state: str = ""  # of the run's state: NEW_STATE
    cache: str = ""  # key of the parse cache, restored to CACHE and stored from NEW_CACHE; empty: there is none
    protocol: int = PROTOCOL

    @classmethod
    def _from_mapping(cls, data: Mapping[str, Any]) -> Self:
        known = _known(cls, data)
        known["bucket"] = Bucket(**_known(Bucket, data["bucket"]))
        return cls(**known)


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
class Summary(_Message):
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
    windows: str = ""  # how each window ended, a character of :mod:`dbt_runner.windows` each; empty: there are none
    # Every build that counts has selected all that its command line asks for: nothing of the
    # project has narrowed it. An older runner says nothing of it, which proves nothing.
    whole: bool = False
    protocol: int = PROTOCOL

    SHORTENED: ClassVar[str] = "..."

    @classmethod
    def _from_mapping(cls, data: Mapping[str, Any]) -> Self:
        known = _known(cls, data)
        known["nodes"] = Nodes(**_known(Nodes, data.get("nodes", {})))
        known["failures"] = [Failure(**_known(Failure, failure)) for failure in data.get("failures", [])]
        return cls(**known)

    def to_json(self) -> str:
        """Serialize into at most SUMMARY_BYTES: messages are shortened first, then failures dropped from the end."""
        failures = [
            Failure(_shorten(f.unique_id, 200), f.status, _shorten(f.message, FAILURE_MESSAGE_BYTES))
            for f in self.failures[:FAILURES]
        ]
        total = max(self.failures_total, len(self.failures))
        for keep in range(len(failures), -1, -1):
            text = _dump(self, message=_shorten(self.message, MESSAGE_BYTES), failures=failures[:keep], total=total)
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
    """Cut to at most ``size`` bytes of UTF-8, at a character's boundary."""
    encoded = text.encode()
    if len(encoded) <= size:
        return text
    return encoded[: size - len(Summary.SHORTENED)].decode(errors="ignore") + Summary.SHORTENED


@dataclass(frozen=True)
class UploadSummary(_Message):
    """What the sidecar uploaded. ``error`` is empty when every object arrived whole."""

    location: str  # s3://bucket/prefix
    objects: int = 0
    size: int = 0  # bytes
    error: str = ""
    windows: str = ""  # as in Summary, as far as is known: the dbt container may have been killed
    protocol: int = PROTOCOL


@dataclass(frozen=True)
class Progress:
    """How many of the nodes are done while the run goes on, over all steps so far, and which are at work now.

    Where there are windows, ``windows`` is as in Summary and the nodes are those of the window at work. It comes from a
    log, so it is read with mistrust: what is not just this is no progress.
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
            data = json.loads(text)
            done, total, running = data["done"], data["total"], data["running"]
            windows = data.get("windows", "")
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
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
