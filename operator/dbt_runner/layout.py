"""Where the runner finds and leaves things: the paths of :mod:`dbt_protocol.summaries`, below a
root that tests move.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dbt_protocol import paths


@dataclass(frozen=True)
class Layout:
    """The paths of a pod. In a pod ``root`` is ``/``.

    With the key of a window these are the paths while that window is at work: all its steps are
    below one folder, and those that have ended wait in there until the window is over.
    """

    root: str = "/"
    window: str = ""

    def _at(self, path: str) -> Path:
        return Path(self.root) / path.lstrip("/")

    @property
    def shared(self) -> Path:
        """The emptyDir that all containers of the pod mount."""
        return self._at(paths.SHARED)

    @property
    def runner(self) -> Path:
        """The zipapp of this package, where the dbt container finds it."""
        return self._at(paths.RUNNER)

    @property
    def bundled_runner(self) -> Path:
        """The zipapp as the runner image brings it."""
        return self._at("/opt/runner.pyz")

    @property
    def project(self) -> Path:
        """The checked out project."""
        return self._at(paths.PROJECT)

    @property
    def work(self) -> Path:
        """Holds the target path of the step that is running."""
        return self._at(paths.WORK) / self.window

    @property
    def artifacts(self) -> Path:
        """Holds the folders of the steps that have ended."""
        return self.work / paths.ENDED if self.window else self._at(paths.ARTIFACTS)

    @property
    def run(self) -> Path:
        """Holds what belongs beside the attempts in the bucket."""
        return self._at(paths.RUN)

    @property
    def previous(self) -> Path:
        """The merged results of the attempts before."""
        return self._at(paths.PREVIOUS)

    @property
    def state(self) -> Path:
        """The artifacts of an earlier run that this one is compared with."""
        return self._at(paths.STATE)

    @property
    def new_state(self) -> Path:
        """What later runs may be compared with."""
        return self._at(paths.NEW_STATE)

    @property
    def cache(self) -> Path:
        """The parse cache as the sidecar has restored it."""
        return self._at(paths.CACHE)

    @property
    def new_cache(self) -> Path:
        """The parse cache that the sidecar is to store."""
        return self._at(paths.NEW_CACHE)

    @property
    def profiles(self) -> Path:
        """The mounted Secret that holds profiles.yml."""
        return self._at(paths.PROFILES)

    @property
    def profile(self) -> Path:
        """The file that holds the profile."""
        return self.profiles / "profiles.yml"

    @property
    def source(self) -> Path:
        """The mounted ConfigMap that holds the project."""
        return self._at(paths.SOURCE)

    @property
    def git(self) -> Path:
        """The mounted Secret with the credentials of the project's Git repository."""
        return self._at(paths.GIT)

    @property
    def source_info(self) -> Path:
        """What the project's files are: ``{"commit": ..., "fingerprint": ...}``; not there if the
        image has them.
        """
        return self.shared / ".source.json"

    @property
    def deps(self) -> Path:
        """Target path of ``dbt deps``, published like that of a step."""
        return self.work / paths.DEPS

    @property
    def parse(self) -> Path:
        """Target paths of the parses that steps share; the leading dot keeps them apart from
        steps.
        """
        return self.work / ".parse"

    def parsed_manifest(self, step: str) -> Path:
        """manifest.json of what was parsed for a step, for one that leaves none of its own."""
        return self.work / f".manifest-{step}.json"

    def done(self, step: str) -> Path:
        """What need not run again of a step: a JSON object with ``nodes``, and with ``batches`` as
        :func:`dbt_runner.outcome.batches.find_batches` has them.
        """
        return self.work / f".done-{step}.json"

    def found_sources(self, step: str) -> Path:
        """sources.json of a sourceFreshness step that is over, for the steps behind it; also of one
        that was run in an earlier attempt.
        """
        return self.work / f".sources-{step}.json"

    def previous_sources(self, step: str) -> Path:
        """What a sourceFreshness step has found in the attempts before."""
        return self.previous / self.window / step / "sources.json"

    @property
    def alive(self) -> Path:
        """Locked by the dbt container's supervisor for as long as it lives."""
        return self.shared / ".alive"

    @property
    def progress(self) -> Path:
        """How far the run is, for the sidecar to print."""
        return self.shared / ".progress.json"

    @property
    def windows(self) -> Path:
        """How the windows stand, a character each, for the sidecar to report if the dbt container
        is killed.
        """
        return self.shared / ".windows"

    @property
    def uploaded(self) -> Path:
        """What the sidecar has reported, for another instance of it that is started after the end.

        The dbt container can write it, but only for a sidecar that was killed before it could: what
        that would report of the same files is no better proof.
        """
        return self.shared / ".uploaded.json"

    @property
    def stop(self) -> Path:
        """Not empty: the operator asks the run to begin no further window."""
        return self._at(paths.STOP)

    @property
    def result(self) -> Path:
        """The whole result of the run, of which the termination message is the short form."""
        return self.artifacts / "result.json"

    def report(self, message: str) -> None:
        """Leave the container's termination message."""
        path = self._at(paths.TERMINATION_LOG)
        path.write_text(message, encoding="utf-8", errors="replace")  # of names in any bytes
