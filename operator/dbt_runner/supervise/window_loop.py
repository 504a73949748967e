"""A run over windows: all its steps once in each, one window after another.

Whatever ends the container, how the windows stand is in the shared volume by then, where the
sidecar finds it: it is written before a window begins and after it has ended. A window's artifacts
wait in its own folder until it is over, and then appear among the artifacts by one rename.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dbt_protocol.plans import RunPlan
from dbt_protocol.summaries import Summary
from dbt_runner import json_files
from dbt_runner.layout import Layout
from dbt_runner.outcome import merge, window_ledger
from dbt_runner.outcome.steps import StepResult, at_window, last_line, summarize
from dbt_runner.outcome.window_ledger import FAILED, Entry

if TYPE_CHECKING:
    from dbt_runner.supervise.session import Supervisor


class Rounds:
    """Works through the windows of a plan."""

    def __init__(self, supervisor: Supervisor, layout: Layout, plan: RunPlan) -> None:
        self._supervisor = supervisor
        self._layout = layout
        self._plan = plan
        self._say = supervisor.say
        self._entries = window_ledger.load(layout, plan, self._say)
        self._parses = 0

    def run(self) -> int:
        """Work on what is not over yet, and report; returns the exit code."""
        begun = False
        for number, entry in enumerate(self._entries):
            if entry.is_over:
                continue
            if self._supervisor.cancelled or (begun and self._is_asked_to_stop()):
                break
            begun = True
            self._work(number, entry)
            if entry.state == FAILED and self._plan.stop_on_failure:
                break
        self._supervisor.end_child()
        return self._report()

    def _is_asked_to_stop(self) -> bool:
        try:
            return bool(self._layout.stop.read_text(encoding="utf-8").strip())
        except OSError:
            return False

    def _work(self, number: int, entry: Entry) -> None:
        """One window, from its beginning to the hand-over of its artifacts."""
        supervisor = self._supervisor
        layout, plan = at_window(self._layout, self._plan, number)
        earlier = window_ledger.earlier(entry, plan.steps, self._say)
        layout.work.mkdir(parents=True, exist_ok=True)
        entry.begin(plan.attempt)
        self._record()
        self._say(f"window {entry.key} ({number + 1} of {len(self._entries)})")
        supervisor.begin(number, layout, plan.steps, earlier)
        steps = supervisor.work()
        self._parses += supervisor.parse.get("count", 1) if supervisor.parse else 0
        summary = summarize(steps, supervisor.version, supervisor.stopped)
        entry.end(summary, steps)
        self._hand_over(layout, entry, summary, steps)
        self._record()
        self._say(
            f"window {entry.key}: {entry.state}" + (f" ({entry.reason})" if entry.reason else "")
        )

    def _hand_over(
        self, layout: Layout, entry: Entry, summary: Summary, steps: list[StepResult]
    ) -> None:
        """Let the window's folder appear among the artifacts."""
        result = {**asdict(summary), **self._about, "key": entry.key, "state": entry.state}
        result.update(parse=self._supervisor.parse, steps=[asdict(step) for step in steps])
        del result["windows"]
        json_files.write_json(layout.result, result)
        self._layout.artifacts.mkdir(parents=True, exist_ok=True)
        layout.artifacts.rename(self._layout.artifacts / entry.key)
        shutil.rmtree(layout.work, ignore_errors=True)

    @property
    def _about(self) -> dict[str, Any]:
        source = json_files.read_json(self._layout.source_info)
        return {
            "run": self._plan.run,
            "run_uid": self._plan.run_uid,
            "attempt": self._plan.attempt,
            "source": source,
        }

    @property
    def _result(self) -> dict[str, Any]:
        """The run's result.json as it is now."""
        parse = {"count": self._parses, "obstacle": self._supervisor.obstacle}
        rows = [entry.row for entry in self._entries]
        return {
            **self._about,
            "parse": parse,
            "codes": window_ledger.codes(self._entries),
            "windows": rows,
        }

    def _record(self) -> None:
        """Leave how the windows stand where the sidecar, and by it the next attempt, will find
        it.
        """
        codes = window_ledger.codes(self._entries)
        partial = self._layout.windows.with_name(self._layout.windows.name + ".partial")
        partial.write_text(codes, encoding="utf-8")
        partial.replace(self._layout.windows)
        json_files.write_json(self._layout.run / merge.RESULT, self._result)
        self._supervisor.tally.window(codes)
        self._supervisor.tally.flush()

    def _report(self) -> int:
        """Leave result.json, the termination message and the last line of the log."""
        version, cancelled = self._supervisor.version, self._supervisor.cancelled
        summary = window_ledger.summarize(self._entries, version, cancelled=cancelled)
        result = {**asdict(summary), **self._result}
        for folder in (self._layout.artifacts, self._layout.run):
            json_files.write_json(folder / merge.RESULT, result)
        self._layout.report(summary.to_json())
        self._say(last_line(summary, window_ledger.failed_nodes(self._entries)))
        return summary.exit_code
