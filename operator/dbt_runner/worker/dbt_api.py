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


@dataclass
class Loaded:
    """A parsed project."""

    manifest: Any
    target: str  # the profile's target that was resolved
    store_failures: bool
    exports: bool
    # The values of the invocation that parsing has asked for.
    asked: set[str] = field(default_factory=set)


class DbtApi(Protocol):
    """What dbt does for the worker, in its own process."""

    def find_parse_flags(self, argv: list[str]) -> dict[str, str]:
        """The flags of a dbt command line that can change what is parsed, by dbt's names for them.

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

    def load_project(self, invocation: Invocation, cache: Path | None = None) -> Loaded:
        """Parse the project as this command line would.

        Args:
            invocation: what dbt can reuse the next time is left in its folder.
            cache: what an earlier parse has left, to begin with.

        Raises:
            CannotRunError: profile, project or the parse failed.
        """

    def looks_at_flags(self, manifest: Any, project: Path) -> bool:
        """Whether the project's own code asks for the command's flags, so that another command
        could parse differently.
        """

    def list_files(self, manifest: Any, *, built_in: bool = False) -> Iterator[Path]:
        """The files that the project and its packages were parsed from; dbt's own and the
        adapter's only if asked for.
        """

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
