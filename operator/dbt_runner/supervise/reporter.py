"""Leaves what is known of a run where others find it: how far it is, result.json, the termination
message and the last line of the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dbt_protocol.plans import RunPlan
from dbt_protocol.summaries import Summary
from dbt_runner import json_files
from dbt_runner.layout import Layout
from dbt_runner.outcome import merge, window_ledger
from dbt_runner.outcome.steps import StepResult, last_line, summarize
from dbt_runner.outcome.window_ledger import Entry
from dbt_runner.supervise.session import Session

Parse = Mapping[str, Any]


class Reporter:
    """Reports on a run, and on each of its windows."""

    def __init__(self, layout: Layout, plan: RunPlan, session: Session) -> None:
        self._layout = layout
        self._plan = plan
        self._session = session

    def report_run(self, steps: list[StepResult], parse: Parse) -> int:
        """Report on a run without windows that is over; returns the exit code."""
        summary = summarize(steps, self._session.version, self._session.stop.reason)
        result = {**asdict(summary), **self._describe_attempt()}
        result.update(parse=parse, steps=[asdict(step) for step in steps])
        merge.write(self._layout, steps, result)
        return self._end(summary)

    def record_windows(self, entries: Sequence[Entry], parse: Parse) -> None:
        """Leave how the windows stand where the sidecar, and by it the next attempt, will find it,
        whatever happens to this process.
        """
        codes = window_ledger.codes(entries)
        partial = self._layout.windows.with_name(self._layout.windows.name + ".partial")
        partial.write_text(codes, encoding="utf-8")
        partial.replace(self._layout.windows)
        result = self._describe_windows(entries, parse)
        json_files.write_json(self._layout.run / merge.RESULT, result)
        self._session.tally.set_windows(codes)
        self._session.tally.flush()

    def report_window(
        self, layout: Layout, entry: Entry, summary: Summary, steps: list[StepResult], parse: Parse
    ) -> None:
        """Leave a window's own result.json in its folder.

        Args:
            layout: the paths while this window is at work.
            entry: of the window.
            summary: how it ended.
            steps: its results.
            parse: what result.json says of its parse.
        """
        result = {**asdict(summary), **self._describe_attempt()}
        result.update(key=entry.key, state=entry.state)
        result.update(parse=parse, steps=[asdict(step) for step in steps])
        del result["windows"]
        json_files.write_json(layout.result, result)

    def report_windows(self, entries: Sequence[Entry], parse: Parse) -> int:
        """Report on a run over windows that is over; returns the exit code."""
        summary = window_ledger.summarize(
            entries, self._session.version, cancelled=self._session.is_cancelled
        )
        result = {**asdict(summary), **self._describe_windows(entries, parse)}
        for folder in (self._layout.artifacts, self._layout.run):
            json_files.write_json(folder / merge.RESULT, result)
        return self._end(summary, window_ledger.failed_nodes(entries))

    def _describe_attempt(self) -> dict[str, Any]:
        return {
            "run": self._plan.run,
            "run_uid": self._plan.run_uid,
            "attempt": self._plan.attempt,
            "source": json_files.read_json(self._layout.source_info),
        }

    def _describe_windows(self, entries: Sequence[Entry], parse: Parse) -> dict[str, Any]:
        return {
            **self._describe_attempt(),
            "parse": parse,
            "codes": window_ledger.codes(entries),
            "windows": [entry.row for entry in entries],
        }

    def _end(self, summary: Summary, failed: list[str] | None = None) -> int:
        """Leave the termination message, and the last line of the log, which names every failed
        node.
        """
        self._layout.report(summary.to_json())
        self._session.output.say(last_line(summary, failed))
        return summary.exit_code
