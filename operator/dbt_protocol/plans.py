"""Plans: what the operator tells the containers of a pod to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self  # of typing from 3.11 on; the dbt image may have 3.9
from dbt_protocol.messages import PROTOCOL, Message, known_fields

PLAN_VARIABLE = "DBT_OPERATOR_PLAN"


@dataclass(frozen=True)
class Step:
    """One dbt command, as an argv list for dbt (without the program's name)."""

    name: str  # unique in the run and usable as a folder name, for example "2-build"
    command: (
        str  # the step's type as the API names it: build, sourceFreshness, docs, runOperation, ...
    )
    argv: list[str]
    allow_failure: bool = False
    always: bool = False  # run although an earlier step failed
    allow_empty: bool = (
        False  # a selection that matches nothing succeeds instead of ending in NothingSelected
    )
    # instead of argv where there is no state to compare with; there a selector of selectors.yml
    # takes everything for changed, unless this is None
    full: list[str] | None = None
    # of sourceFreshness; Skip: the run ends without a failure; Wait: check again until fresh
    on_stale: str = "Fail"


@dataclass(frozen=True)
class Window:
    """One of the windows that a run works through one after another, all its steps in each."""

    key: str  # unique in the run and usable as a folder name
    values: dict[
        str, str
    ]  # what $(NAME) in the steps' arguments stands for, by name: {"window.start": "2024-01-01"}


@dataclass(frozen=True)
class RunPlan(Message):
    """What the dbt container does."""

    namespace: str
    run: str
    run_uid: str
    attempt: int
    project_dir: str
    target: str  # the only target the profile may resolve to
    steps: list[Step]
    schema_pattern: str | None = (
        None  # every node that writes must match, case-folded, from the start to the end
    )
    database_pattern: str | None = None
    timeout_seconds: float | None = None  # then SIGINT; of each window, where there are windows
    grace_seconds: float = 60  # from SIGINT to SIGKILL
    fail_on_warn: bool = False  # a test or source that warns has failed
    # Fork: steps share one import and parse; Process: a new process each, through dbt's Python API;
    # Command: dbt's command line, a new process each; Auto: the first of them that is safe and
    # possible.
    isolation: str = "Auto"
    resume: int | None = (
        None  # the attempt whose merged results are continued from, if they could be restored
    )
    state: str = ""  # where the state came from, for messages; empty: the run compares with none
    state_required: bool = False  # everything must not be built where the state lacks something
    cached: bool = False  # the sidecar restores a parse cache and stores a new one
    image: str = ""  # of this container: what was parsed in another is not used
    deps: str = "Never"  # whether `dbt deps` runs first: Never, Always or IfMissing
    deps_locked: bool = False  # it installs nothing but what package-lock.yml pins
    windows: list[Window] = field(default_factory=list)  # empty: the steps run once, as they are
    # what is known of each window before this attempt, as in Summary.windows; empty: nothing
    done: str = ""
    stop_on_failure: bool = True  # no further window begins after one that has failed
    protocol: int = PROTOCOL

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Self:
        """Read a message, and what is in it."""
        known = known_fields(cls, data)
        known["steps"] = [Step(**known_fields(Step, step)) for step in data["steps"]]
        known["windows"] = [
            Window(**known_fields(Window, window)) for window in data.get("windows", ())
        ]
        return cls(**known)


@dataclass(frozen=True)
class Bucket:
    """An object store's bucket. Credentials come from AWS_* variables or the pod's identity."""

    endpoint: str  # https://host[:port] or http://host[:port]
    name: str
    region: str | None = None
    ca: str = ""  # file with certificates that are trusted beside the usual ones; empty: none


@dataclass(frozen=True)
class PreparePlan(Message):
    """What the init container does: copy the runner, the source unless it is in the dbt image, and
    what is restored.
    """

    source: str  # "image", "configMap" or "git"
    url: str = ""  # this and the following are about git
    ref: str = ""  # empty: the remote's HEAD
    commit: str = ""  # what an earlier attempt found the ref to be: it is used instead
    # the branch or tag that has to reach the commit; HEAD: the remote's; empty: none has to
    reachable_from: str = ""
    sub_path: str = ""  # where in the repository the project is
    submodules: bool = False  # they are checked out, too
    lfs: bool = False  # files that Git LFS keeps are fetched, too
    timeout_seconds: float = 300
    bucket: Bucket | None = None
    previous: str = (
        ""  # prefix of the run whose merged results are restored to PREVIOUS; empty: nothing is
    )
    state: str = ""  # prefix of the state that is restored to STATE; empty: none is
    state_required: bool = False  # a state that is not there ends the run as MissingState
    protocol: int = PROTOCOL

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Self:
        """Read a message, and what is in it."""
        known = known_fields(cls, data)
        if known.get("bucket") is not None:
            known["bucket"] = Bucket(**known_fields(Bucket, known["bucket"]))
        return cls(**known)


@dataclass(frozen=True)
class UploadPlan(Message):
    """Where the sidecar uploads to; prefixes have no slash at either end."""

    bucket: Bucket
    prefix: str  # of this attempt: ARTIFACTS
    run: str = ""  # of the run: RUN
    state: str = ""  # of the run's state: NEW_STATE
    # key of the parse cache, restored to CACHE and stored from NEW_CACHE; empty: there is none
    cache: str = ""
    # The runner and the folders are put in place before anything else: no init container did it.
    places: bool = False
    protocol: int = PROTOCOL

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Self:
        """Read a message, and what is in it."""
        known = known_fields(cls, data)
        known["bucket"] = Bucket(**known_fields(Bucket, data["bucket"]))
        return cls(**known)
