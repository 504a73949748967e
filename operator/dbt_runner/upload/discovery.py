"""Finds what is to be uploaded in the shared volume.

A folder that appears in ARTIFACTS is complete; with windows, that is the folder of a window. Of a
step that never got to its final name only the logs are taken: dbt itself has kept secrets out of
those, while nobody has looked for any in its other files (see :mod:`dbt_runner.artifact_files`).

Files are looked for by their names, and folders are counted, so nothing that the project's code
leaves in the volume can make this endless.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

from dbt_protocol.paths import ENDED
from dbt_protocol.plans import UploadPlan
from dbt_runner import cache_files
from dbt_runner.artifact_files import LOGS, RUN_RESULTS, STATE_FILES, artifacts_of
from dbt_runner.contents import CONTENTS
from dbt_runner.layout import Layout
from dbt_runner.outcome.merge import RESULT
from dbt_runner.upload.transfers import Transfer, Worth
from dbt_runner.volume import Volume

MOST_NAMES = 1000  # in a folder of steps or windows; a run has 100 windows at most
MOST_STEPS = 10_000  # folders of steps, in all windows together


class Discovery:
    """Looks for files, and remembers which folders are known."""

    def __init__(self, layout: Layout, plan: UploadPlan, volume: Volume) -> None:
        self.trouble = ""  # what of the folders could not be taken in, in words
        self._layout = layout
        self._plan = plan
        self._volume = volume
        self._known: set[str] = set()
        self._steps = 0

    def find_finished(self) -> Iterator[Transfer]:
        """What is complete while dbt is still at work."""
        artifacts = self._layout.artifacts
        if self._volume.version(artifacts / RESULT):
            yield self._make(artifacts / RESULT, artifacts, Worth.RUN)
        for folder in self._list_folders(artifacts):
            if folder.name not in self._known:
                self._known.add(folder.name)
                for path in self._list_artifacts(folder):
                    yield self._make(path, artifacts)
        if self._volume.version(self._layout.windows):  # else it is complete in the end only
            yield from self._find_result()
        stored = cache_files.stored(self._layout)
        if self._plan.cache and self._volume.version(stored):
            yield Transfer(self._plan.cache, stored, Worth.CACHE)

    def find_rest(self) -> Iterator[Transfer]:
        """What there is when dbt has ended: what belongs to the run, which the supervisor writes
        last, and what is left of a step or window whose container died.
        """
        yield from self._find_result()
        if self._plan.run:
            yield from self._find_in(self._layout.run, (RUN_RESULTS, CONTENTS), self._plan.run)
        if self._plan.state:
            names = (*STATE_FILES, CONTENTS)
            yield from self._find_in(self._layout.new_state, names, self._plan.state)
        yield from self.find_finished()
        yield from self._find_partial()

    def _find_result(self) -> Iterator[Transfer]:
        path = self._layout.run / RESULT
        if self._plan.run and self._volume.version(path):
            yield Transfer(f"{self._plan.run}/{RESULT}", path, Worth.RUN, changes=True)

    def _find_in(self, folder: Path, names: Iterable[str], prefix: str) -> Iterator[Transfer]:
        for name in names:
            if self._volume.version(folder / name):
                yield Transfer(f"{prefix}/{name}", folder / name, Worth.RUN)

    def _find_partial(self) -> Iterator[Transfer]:
        work = self._layout.work
        outer = self._list_folders(work)
        inner = (folder for each in outer for folder in self._list_folders(each))
        for folder in islice(chain(outer, inner), MOST_STEPS):
            for name in LOGS:
                if self._volume.version(folder / name):
                    yield self._make(folder / name, work)
        for window in outer:
            ended = window / ENDED
            for path in self._list_artifacts(ended):
                key = f"{self._plan.prefix}/{window.name}/{path.relative_to(ended).as_posix()}"
                yield Transfer(key, path, _find_worth(path))

    def _make(self, path: Path, folder: Path, worth: Worth | None = None) -> Transfer:
        key = f"{self._plan.prefix}/{path.relative_to(folder).as_posix()}"
        return Transfer(key, path, _find_worth(path) if worth is None else worth)

    def _list_artifacts(self, folder: Path) -> Iterator[Path]:
        """The artifacts of a step, or of a window with a result of its own and all its steps."""
        result = folder / RESULT
        has_result = bool(self._volume.version(result))
        if folder.name != ENDED and not has_result:
            yield from self._list_files(folder)
            return
        if has_result:
            yield result
        for step in self._list_folders(folder):
            yield from self._list_files(step)

    def _list_files(self, step: Path) -> Iterator[Path]:
        """The artifacts of a step."""
        self._steps += 1
        if self._steps <= MOST_STEPS:
            yield from artifacts_of(self._volume, step)
        else:
            self.trouble = f"there are more than {MOST_STEPS} folders of steps"

    def _list_folders(self, path: Path) -> list[Path]:
        """The folders of steps or windows in a folder; what begins with a dot is somebody's own."""
        entries = self._volume.entries(path, MOST_NAMES + 1)
        if len(entries) > MOST_NAMES:
            self.trouble = f"{path.name!a} holds more than {MOST_NAMES} names"
        found = [each for each, is_folder in entries[:MOST_NAMES] if is_folder]
        visible = [each for each in found if not each.name.startswith(".")]
        odd = next((each.name for each in visible if not _is_text(each.name)), None)
        if odd is not None:
            self.trouble = f"the folder {odd!a} has a name that is none of ours"
        return [each for each in visible if _is_text(each.name)]


def _find_worth(path: Path) -> Worth:
    return Worth.RESULTS if path.name in (RESULT, *STATE_FILES) else Worth.DETAILS


def _is_text(name: str) -> bool:
    """Whether a name can be part of an object's name, and of a line of the log."""
    return name.isascii() and name.isprintable()
