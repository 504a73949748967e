"""Lets dbt begin with what an earlier run has parsed, if that fits.

dbt compares its version, the profile and every dbt_project.yml itself, and whatever vars are given.
Here the vars are taken out of that comparison, since it is known which of them a parse has read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dbt.parser.manifest import ManifestLoader

from dbt_runner.worker.dbt_api import KeptParse, ParseRecord
from dbt_runner.worker.invocation.command_values import make_values
from dbt_runner.worker.invocation.read_recorder import Recorder
from dbt_runner.worker.parse_reads import Reads, Values, find_difference, make_digest, take_over


class Beginning:
    """What a parse begins with."""

    def __init__(
        self, flags: dict[str, str], kept: Sequence[KeptParse], path: Path, recorder: Recorder
    ) -> None:
        """Begin with nothing.

        Args:
            flags: of the command.
            kept: what earlier runs have left.
            path: where dbt looks for what it begins with.
            recorder: notes what dbt reads.
        """
        self._flags = flags
        self._kept = kept
        self._path = path
        self._recorder = recorder
        self._state = ""
        self._loader: Any = None
        self._chosen: KeptParse | None = None
        self.values = Values({})

    def choose(self, loader: Any, state: str) -> None:
        """Put the first that fits where dbt looks for it."""
        self._loader, self._state = loader, state
        config = loader.root_project
        self.values = make_values(config.args, config.to_target_dict())
        self._path.unlink(missing_ok=True)
        reasons = []
        for each in self._kept:
            record = each.record
            if record.flags != self._flags or record.state != self._state:
                continue
            why = find_difference(record.reads, self.values) or each.find_obstacle()
            if not why and each.extract(self._path):
                self._chosen = each
                return
            reasons += [why] if why else []
        if reasons:
            print(f"dbt-operator: no parse of an earlier run is used: {reasons[0]}", flush=True)

    @property
    def begun_with(self) -> KeptParse | None:
        """What dbt has taken over in the end."""
        is_partial = self._loader.skip_parsing or self._loader.partially_parsing
        return self._chosen if is_partial else None

    def make_record(self, manifest: Any) -> ParseRecord:
        """What the parse was made of, once it is over."""
        new: Reads = {
            file: {name: self.values.find_digest(name) for name in names}
            for file, names in self._recorder.names.items()
        }
        old = self.begun_with.record.reads if self.begun_with else {}
        reads = take_over(old, new, self._recorder.rendered, manifest.files.keys())
        return ParseRecord(self._flags, self._state, reads)


@contextmanager
def choosing(beginning: Beginning) -> Iterator[None]:
    """Have dbt begin with what fits."""
    original: Callable[[Any], Any] = ManifestLoader.build_manifest_state_check

    def build_manifest_state_check(loader: Any) -> Any:
        config = loader.root_project
        given, config.cli_vars = config.cli_vars, {}
        try:
            state = original(loader)
        finally:
            config.cli_vars = given
        beginning.choose(loader, make_digest(state.to_dict()))
        return state

    ManifestLoader.build_manifest_state_check = build_manifest_state_check
    try:
        yield
    finally:
        ManifestLoader.build_manifest_state_check = original
