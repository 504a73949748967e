"""How far a run is, on its way out of the pod.

The process that runs dbt reports each node's start and end to the supervisor, which counts
(:class:`Tally`) and leaves the count in a file; the sidecar prints it (:class:`Teller`), because
the last line of its log is what the operator can read without any access to the pod. Each hand-over
is bounded in time, so a project of a thousand quick models costs no more than one of ten slow ones.
Nothing depends on any of it: a count that is lost is made good by the next.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path

from dbt_protocol.summaries import Nodes, Progress
from dbt_runner.deadline import Deadline
from dbt_runner.volume import write_whole
from dbt_runner.worker_messages import NodeProgress

FILE_SECONDS = 1.0


class Tally:
    """The supervisor's count: what the finished steps' results hold, and what dbt tells of the one
    that is running.
    """

    def __init__(self, path: Path, seconds: float = FILE_SECONDS) -> None:
        self._path = path
        self._seconds = seconds
        self._finished = Nodes()
        self._windows = ""
        self._counts = True
        self.invocation_id = (
            ""  # of the step that is running: which results are its own, should it be killed
        )
        self._before = self._done = self._total = 0
        self._running: Counter[str] = Counter()  # in the order of their starts
        self._written = Progress()
        self._due = Deadline(0)

    @property
    def progress(self) -> Progress:
        """As it is now. What was skipped counts as not done, as it does in the end."""
        return Progress(
            done=self._finished.total - self._finished.skipped + self._before + self._done,
            total=self._finished.total + self._before + max(self._total, self._done),
            running=tuple(self._running),
            windows=self._windows,
        )

    def set_windows(self, windows: str) -> None:
        """A window begins or is over, and this is how all of them stand: its nodes are counted from
        zero.
        """
        self._windows = windows
        self._finished = Nodes()
        self.end_step(Nodes())

    def begin_step(self, *, counts: bool, done: int = 0) -> None:
        """A step begins; one that only compiles would count every node a second time.

        Args:
            counts: whether its nodes are counted.
            done: how many of them earlier attempts have done.
        """
        self._counts = counts
        self.invocation_id = ""
        self._done = self._total = 0
        self._before = done if counts else 0

    def count(self, progress: NodeProgress) -> None:
        """Count what dbt tells of a node.

        A microbatch model starts and ends once more in each of its batches, so it is done when it
        has ended as often as it has started.
        """
        self.invocation_id = progress.invocation_id or self.invocation_id
        if not self._counts:
            return
        if progress.total is not None:
            self._total = progress.total
        if progress.started:
            self._running[progress.started] += 1
        elif progress.ended in self._running:
            self._end_node(progress.ended, progress.status)

    def _end_node(self, node: str, status: str) -> None:
        self._running[node] -= 1
        if not self._running[node]:
            del self._running[node]
            self._done += status != "skipped"

    def end_step(self, nodes: Nodes) -> None:
        """The step is over: from now on its results stand for it."""
        self._finished += nodes
        self._before = self._done = self._total = 0
        self._running.clear()

    def flush(self) -> float | None:
        """Leave a changed count in the file; the seconds until that is due, None if there is
        nothing to leave.
        """
        found = self.progress
        if found == self._written:
            return None
        if not self._due.passed:
            return self._due.remaining()
        self._due = Deadline(self._seconds)
        self._written = found
        with suppress(OSError):  # a full disk ends dbt, not a count
            write_whole(self._path, found.to_json().encode())
        return None


def find_soonest(*seconds: float | None) -> float | None:
    """The shortest of some waits; None stands for one without an end."""
    return min((each for each in seconds if each is not None), default=None)
