"""What the worker asks of dbt's Python API, for all that works with dbt and need not import it.

:mod:`dbt_runner.worker.invocation` is what does it. Its import takes most of a small run's time, so
it happens once, in :mod:`dbt_runner.worker.main`, which hands it on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dbt_runner.redact import Redactor
from dbt_runner.worker.channel import Channel
from dbt_runner.worker.parse_reads import Reads, Values
from dbt_runner.worker_messages import DbtEnd


@dataclass(frozen=True)
class Invocation:
    """A command line of dbt, and where that which it says goes."""

    argv: list[str]  # without the program's name
    folder: Path  # dbt's target and log path
    redactor: Redactor  # for the error messages and events.jsonl
    may_lack_state: bool = False  # everything is taken for changed where there is no state


@dataclass(frozen=True)
class Done:
    """What attempts before have done of a step."""

    nodes: Collection[str] = ()  # unique IDs, which are left out although they are selected
    # Of microbatch models that failed in part, by unique ID: dbt's ``batch_results`` as JSON.
    batches: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What a command line asks of a parse."""

    # The flags that can change what is parsed, by dbt's names for them, unless they are among the
    # values that a parse can read.
    flags: dict[str, str]
    values: Values | None  # without the target; None: dbt cannot tell before it parses


@dataclass(frozen=True)
class ParseRecord:
    """What a parse was made of: a command for which all of this is the same would parse the
    same.
    """

    flags: dict[str, str]  # as those of Asked
    state: str  # digest of what dbt compares itself: version, profile, dbt_project.yml of all
    reads: Reads


class KeptParse(Protocol):
    """What an earlier run has parsed."""

    @property
    def record(self) -> ParseRecord:
        """What it was made of."""

    def find_obstacle(self) -> str:
        """What has changed and dbt would not see; empty if nothing has."""

    def extract(self, path: Path) -> bool:
        """Write dbt's file; False if it is broken."""


@dataclass(frozen=True)
class Loaded:
    """A parsed project."""

    manifest: Any
    target: str  # the profile's target that was resolved
    store_failures: bool
    exports: bool
    values: Values  # that the parse was given
    record: ParseRecord
    begun_with: KeptParse | None = None  # what it has taken over


class DbtApi(Protocol):
    """What dbt does for the worker, in its own process."""

    def overrule_flags(self) -> None:
        """Set, for all commands, the flags that some versions of dbt alone would take."""

    def find_asked(self, argv: list[str]) -> Asked:
        """What a dbt command line asks of a parse.

        Raises:
            CannotRunError: dbt does not understand the command line.
        """

    def check_flag_files(
        self, project: Path, profile: Path, commands: Iterable[Sequence[str]]
    ) -> str:
        """Check what files say of flags, before dbt goes by it; what people should know of that.

        Raises:
            CannotRunError: dbt could not run, or would not do what the spec says.
        """

    def load_project(
        self, invocation: Invocation, flags: dict[str, str], kept: Sequence[KeptParse] = ()
    ) -> Loaded:
        """Parse the project as this command line would.

        Args:
            invocation: what dbt can reuse the next time is left in its folder.
            flags: that the command line asks for.
            kept: what earlier parses have left, to begin with the first that fits.

        Raises:
            CannotRunError: profile, project or the parse failed.
        """

    def list_files(self, manifest: Any) -> Iterator[Path]:
        """The files that the project and its packages were parsed from."""

    def select_nodes(
        self, argv: list[str], manifest: Any, folder: Path, *, may_lack_state: bool = False
    ) -> list[str]:
        """The unique IDs that this command line selects. No connection is opened.

        Everything is taken for changed where there is no state, if it may be lacking.

        Raises:
            CannotRunError: dbt cannot tell, for example because a selector does not exist.
        """

    def run_command(
        self,
        invocation: Invocation,
        manifest: Any,
        done: Done = Done(),
        on_node: Callable[..., None] = lambda **_: None,
    ) -> DbtEnd:
        """Run a dbt command.

        Args:
            invocation: the command.
            manifest: a parsed one, or None to let dbt parse.
            done: what is not run again.
            on_node: told the ``invocation_id``, how many nodes there are (``total``) and of each
                that has ``started`` or ``ended``, by any thread.
        """

    def write_manifest(self, manifest: Any, path: Path) -> None:
        """Write manifest.json as it is before anything has run; complete or not at all."""


@dataclass(frozen=True)
class Means:
    """What all that is done for a run is done with."""

    dbt: DbtApi
    redactor: Redactor
    channel: Channel  # to the supervisor
