"""A run over windows: all its steps once in each, one window after another.

Whatever ends the container, how the windows stand is in the shared volume by then, where the
sidecar finds it: it is written before a window begins and after it has ended. A window's artifacts
wait in its own folder until it is over, and then appear among the artifacts by one rename.
"""

from __future__ import annotations

from dbt_protocol.plans import RunPlan
from dbt_protocol.result_file import WindowParses
from dbt_runner.layout import Layout
from dbt_runner.outcome import window_ledger
from dbt_runner.outcome.steps import narrow_to_window, summarize
from dbt_runner.outcome.window_ledger import FAILED, Entry
from dbt_runner.supervise.reporter import Reporter
from dbt_runner.supervise.session import Session
from dbt_runner.supervise.step_loop import run_steps
from dbt_runner.supervise.step_runner import StepRunner
from dbt_runner.volume import remove_folder


class WindowLoop:
    """Works through the windows of a plan."""

    def __init__(self, session: Session, layout: Layout, plan: RunPlan, reporter: Reporter) -> None:
        self._session = session
        self._layout = layout
        self._plan = plan
        self._reporter = reporter
        self._say = session.output.say
        self._entries = window_ledger.load(layout, plan, self._say)
        self._parses = 0
        # Why the windows do not share a parse; None: that is not known.
        self._obstacle: str | None = None

    def run(self) -> int:
        """Work on what is not over yet, and report; returns the exit code."""
        has_begun = False
        for number, entry in enumerate(self._entries):
            if entry.is_over:
                continue
            if self._session.is_cancelled or (has_begun and self._is_asked_to_stop()):
                break
            has_begun = True
            self._work_on(number, entry)
            if entry.state == FAILED and self._plan.stop_on_failure:
                break
        self._session.end_child()
        return self._reporter.report_windows(self._entries, self._parse)

    @property
    def _parse(self) -> WindowParses:
        """What result.json says of the parses of all windows."""
        return WindowParses(self._parses, self._obstacle)

    def _is_asked_to_stop(self) -> bool:
        try:
            return bool(self._layout.stop.read_text(encoding="utf-8").strip())
        except OSError:
            return False

    def _work_on(self, number: int, entry: Entry) -> None:
        """One window, from its beginning to the hand-over of its artifacts."""
        layout, plan = narrow_to_window(self._layout, self._plan, number)
        earlier = window_ledger.find_earlier(layout, entry, plan.steps, self._say)
        layout.work.mkdir(parents=True, exist_ok=True)
        entry.begin(plan.attempt)
        self._reporter.record_windows(self._entries, self._parse)
        self._say(f"window {entry.key} ({number + 1} of {len(self._entries)})")
        self._session.restart_clock()
        runner = StepRunner(self._session, layout, plan, earlier, number)
        refused = runner.prepare()
        if refused is None:
            self._tell_obstacle(runner)
        steps = run_steps(runner, refused)
        self._parses += runner.count_parses()
        summary = summarize(steps, self._session.version, self._session.stop.reason)
        entry.end(summary, steps)
        self._reporter.report_window(layout, entry, summary, steps, runner.parse)
        self._hand_over(layout, entry)
        self._reporter.record_windows(self._entries, self._parse)
        reason = f" ({entry.reason})" if entry.reason else ""
        self._say(f"window {entry.key}: {entry.state}{reason}")

    def _tell_obstacle(self, runner: StepRunner) -> None:
        """Say whether the windows share a parse, when that is new."""
        obstacle = runner.parse.obstacle
        if obstacle is None:
            obstacle = f"isolation {self._session.isolation}"
        if obstacle != self._obstacle:
            self._obstacle = obstacle
            shared = "the windows share one parse"
            self._say(f"each window is parsed for itself: {obstacle}" if obstacle else shared)

    def _hand_over(self, layout: Layout, entry: Entry) -> None:
        """Let the window's folder appear among the artifacts."""
        self._layout.artifacts.mkdir(parents=True, exist_ok=True)
        layout.artifacts.rename(self._layout.artifacts / entry.key)
        remove_folder(layout.work)
