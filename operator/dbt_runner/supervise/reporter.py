"""Leaves what is known of a run where others find it: how far it is, result.json, the termination
message and the last line of the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dbt_protocol.plans import RunPlan
from dbt_protocol.result_file import Parse, ResultFile, StepResult, WindowParses
from dbt_protocol.summaries import Summary
from dbt_runner.json_files import read_json, write_json
from dbt_runner.layout import Layout
from dbt_runner.outcome import merge, window_ledger
from dbt_runner.outcome.steps import format_last_line, summarize
from dbt_runner.outcome.window_ledger import Entry
from dbt_runner.supervise.session import Session
from dbt_runner.volume import write_whole


class Reporter:
    """Reports on a run, and on each of its windows."""

    def __init__(self, layout: Layout, plan: RunPlan, session: Session) -> None:
        self._layout = layout
        self._plan = plan
        self._session = session

    def report_run(self, steps: list[StepResult], parse: Parse) -> int:
        """Report on a run without windows that is over; returns the exit code."""
        summary = summarize(steps, self._session.version, self._session.stop.reason)
        summary = replace(summary, engine=self._session.engine)
        file = replace(self._make_file(parse), summary=summary, steps=steps)
        merge.write(self._layout, file, self._plan)
        return self._end(summary)

    def record_windows(self, entries: Sequence[Entry], parse: WindowParses) -> None:
        """Leave how the windows stand where the sidecar, and by it the next attempt, will find it,
        whatever happens to this process.
        """
        codes = window_ledger.format_codes(entries)
        write_whole(self._layout.windows, codes.encode())
        _write(self._layout.run, self._make_file_of_windows(entries, parse))
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
            parse: of the window.
        """
        file = replace(self._make_file(parse), summary=summary, steps=steps)
        _write(layout.artifacts, replace(file, key=entry.key, state=entry.state))

    def report_windows(self, entries: Sequence[Entry], parse: WindowParses) -> int:
        """Report on a run over windows that is over; returns the exit code."""
        summary = window_ledger.summarize(
            entries, self._session.version, cancelled=self._session.is_cancelled
        )
        summary = replace(summary, engine=self._session.engine)
        file = replace(self._make_file_of_windows(entries, parse), summary=summary)
        for folder in (self._layout.artifacts, self._layout.run):
            _write(folder, file)
        return self._end(summary, window_ledger.list_failed_nodes(entries))

    def _make_file(self, parse: Parse | WindowParses) -> ResultFile:
        """What is the same in all files."""
        source, plan = read_json(self._layout.source_info), self._plan
        return ResultFile(plan.run, plan.run_uid, plan.attempt, source, parse)

    def _make_file_of_windows(self, entries: Sequence[Entry], parse: WindowParses) -> ResultFile:
        codes, rows = window_ledger.format_codes(entries), [entry.row for entry in entries]
        return replace(self._make_file(parse), codes=codes, windows=rows)

    def _end(self, summary: Summary, failed: list[str] | None = None) -> int:
        """Leave the termination message, and the last line of the log, which names every failed
        node.
        """
        self._layout.report(summary.to_json())
        self._session.output.say(format_last_line(summary, failed))
        return summary.exit_code


def _write(folder: Path, file: ResultFile) -> None:
    write_json(folder / merge.RESULT, file.to_document())
