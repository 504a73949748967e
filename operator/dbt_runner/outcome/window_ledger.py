"""How the windows of a run stand: what is known of them from before, what becomes of them, and the
verdict on them all.

Each window has an entry, which result.json keeps for the attempts that follow. One that has
succeeded, or was skipped because its sources are too old, is never worked on again. One that failed
keeps the results of its steps, so that another attempt continues it as it would continue a run
(:mod:`dbt_runner.outcome.merge`). One that was at work when everything ended is begun anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dbt_protocol import window_codes
from dbt_protocol.plans import RunPlan, Step
from dbt_protocol.result_file import StepResult, WindowResult
from dbt_protocol.summaries import Failure, Nodes, Summary
from dbt_runner.layout import Layout
from dbt_runner.outcome import resume
from dbt_runner.outcome.classify import NOT_FRESH
from dbt_runner.outcome.ending_kinds import AGAIN
from dbt_runner.outcome.resume import Earlier, StartOver
from dbt_runner.outcome.steps import YIELDED

PENDING, RUNNING, SUCCEEDED, SKIPPED, FAILED = (
    "Pending",
    "Running",
    "Succeeded",
    "Skipped",
    "Failed",
)
_CODES = {
    PENDING: window_codes.PENDING,
    RUNNING: window_codes.RUNNING,
    SUCCEEDED: window_codes.SUCCEEDED,
    SKIPPED: window_codes.SKIPPED,
}
_OVER = (SUCCEEDED, SKIPPED)


@dataclass
class Entry:
    """How a window stands."""

    key: str
    state: str = PENDING
    reason: str = ""
    message: str = ""
    attempt: int = 0  # the one in which it was last at work; 0: that is not known
    nodes: Nodes = field(default_factory=Nodes)
    # For an attempt that continues it; None: they cannot be read.
    steps: list[StepResult] | None = field(default_factory=list)
    exit_code: int = 0
    failures: list[Failure] = field(default_factory=list)
    again: str = ""  # as in Summary

    @property
    def code(self) -> str:
        """The character that stands for it."""
        return _CODES.get(self.state) or window_codes.code_of(self.reason)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to be done for it."""
        return self.state in _OVER

    @property
    def row(self) -> WindowResult:
        """As result.json has it."""
        about = (self.key, self.state, self.reason, self.message, self.attempt)
        return WindowResult(*about, self.nodes, self.steps)

    def begin(self, attempt: int) -> None:
        """It is at work from now on."""
        self.state, self.attempt, self.steps = RUNNING, attempt, []

    def end(self, summary: Summary, steps: Sequence[StepResult]) -> None:
        """It is over."""
        self.state = (
            SKIPPED if summary.reason == NOT_FRESH else FAILED if summary.reason else SUCCEEDED
        )
        self.reason, self.message, self.exit_code = (
            summary.reason,
            summary.message,
            summary.exit_code,
        )
        self.nodes, self.failures = summary.nodes, summary.failures
        self.again = summary.again
        self.steps = list(steps) if self.state == FAILED else []


def format_codes(entries: Sequence[Entry]) -> str:
    """How they stand, a character each."""
    return "".join(entry.code for entry in entries)


def load(layout: Layout, plan: RunPlan, say: Callable[[str], None]) -> list[Entry]:
    """How the windows stand before this attempt."""
    rows: dict[str, WindowResult] = {}
    is_latest = False
    if plan.resume is not None:
        try:
            found = resume.read_previous(layout, plan)
            if found.windows is None:
                raise StartOver("the results at hand are of a run without windows")
            rows = {row.key: row for row in found.windows}
            is_latest = found.attempt == plan.resume
            say(f"continuing attempt {found.attempt}")
        except StartOver as why:
            say(f"every window that is not known to be done runs again: {why}")
    done = plan.done.ljust(len(plan.windows), window_codes.PENDING)
    return [
        _make_entry(window.key, code, rows.get(window.key), is_latest=is_latest)
        for window, code in zip(plan.windows, done)
    ]


def _make_entry(key: str, code: str, row: WindowResult | None, *, is_latest: bool) -> Entry:
    """What is known of a window: from the operator by its code, and from the row of an earlier
    attempt's result.

    Only the latest attempt's row tells what is done of a window: a later one may have begun it
    again.
    """
    if row is not None and row.state in _OVER:
        return Entry(key, row.state, row.reason, row.message, row.attempt, row.nodes)
    if code == window_codes.SUCCEEDED:
        return Entry(key, SUCCEEDED)
    if code == window_codes.SKIPPED:
        return Entry(key, SKIPPED, NOT_FRESH)
    if row is None:
        return Entry(key)
    can_continue = is_latest and row.state != RUNNING
    return Entry(key, attempt=row.attempt, steps=row.steps if can_continue else [])


def find_earlier(
    layout: Layout, entry: Entry, steps: Sequence[Step], say: Callable[[str], None]
) -> Earlier:
    """What the attempts before have done of a window, whose paths these are."""
    if entry.steps == []:
        return Earlier()
    try:
        return resume.find_earlier(layout, entry.steps, steps)
    except StartOver as why:
        say(f"window {entry.key}: everything runs again: {why}")
        return Earlier()


def summarize(entries: Sequence[Entry], version: str, *, cancelled: bool) -> Summary:
    """The verdict on the run: a cancellation, else the first window that failed, decides."""
    failed = [entry for entry in entries if entry.state == FAILED]
    pending = sum(1 for entry in entries if entry.state == PENDING)
    decisive = next((entry for entry in failed if entry.reason == "Cancelled"), None)
    left = f"{pending} of {len(entries)} windows were not begun"
    if decisive is None and cancelled and pending:
        reason, message, code = "Cancelled", f"the run was cancelled between two windows: {left}", 1
    elif failed:
        decisive = decisive or failed[0]
        reason, message, code = (
            decisive.reason,
            f"window {decisive.key}: {decisive.message}",
            decisive.exit_code or 1,
        )
    elif pending:
        reason, message, code = YIELDED, f"asked to stop between two windows: {left}", 1
    elif all(entry.state == SKIPPED for entry in entries):
        reason, message, code = NOT_FRESH, f"window {entries[0].key}: {entries[0].message}", 0
    else:
        skipped = sum(1 for entry in entries if entry.state == SKIPPED)
        reason, message, code = (
            "",
            f"{len(entries) - skipped} of {len(entries)} windows succeeded",
            0,
        )
        message += f"; {skipped} had no fresh sources" if skipped else ""
    nodes = Nodes()
    for entry in entries:
        nodes += entry.nodes
    failures = [
        Failure(failure.unique_id, failure.status, f"{entry.key}: {failure.message}")
        for entry in failed
        for failure in entry.failures
    ]
    codes = format_codes(entries)
    total = len(failures)
    known = [entry.again for entry in failed if entry.again]
    again = min(known, key=AGAIN.index, default="")
    return Summary(
        reason, message, code, version, nodes, failures, total, windows=codes, again=again
    )


def list_failed_nodes(entries: Sequence[Entry]) -> list[str]:
    """The nodes that failed, each with its window, for the last line of the log."""
    return [
        f"{entry.key} {failure.unique_id}"
        for entry in entries
        if entry.state in (FAILED, SUCCEEDED)
        for failure in entry.failures
        if failure.status != "skipped"
    ]
