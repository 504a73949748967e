"""What the end of a step means, and what is handed over and reported of it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from dbt_protocol.plans import RunPlan, Step
from dbt_protocol.result_file import StepResult
from dbt_runner.artifact_files import FRESHNESS, LOGS, RUN_RESULTS, SOURCES
from dbt_runner.json_files import read_json, read_results
from dbt_runner.layout import Layout
from dbt_runner.outcome import classify
from dbt_runner.outcome.classify import NOT_FRESH
from dbt_runner.outcome.resume import Earlier
from dbt_runner.outcome.step_outcome import Outcome, StepEvidence
from dbt_runner.outcome.steps import (
    describe_end,
    describe_lost_name,
    find_selection,
    hash_arguments,
)
from dbt_runner.supervise.child import count_oom_kills
from dbt_runner.supervise.publish import publish
from dbt_runner.supervise.session import Session
from dbt_runner.volume import LARGEST_FILE, copy_plain, open_plain, write_whole
from dbt_runner.worker_messages import DbtEnd


@dataclass(frozen=True)
class StepEnd:
    """A step that is over, and what is known of that."""

    step: Step
    dbt: DbtEnd
    started_at: str
    status: int | None = None  # the wait status of its process, if it had one
    parsing: bool = False  # it was not even begun, since there was nothing to be begun with

    @property
    def signal(self) -> int | None:
        """The signal that ended its process."""
        is_signal = self.status is not None and os.WIFSIGNALED(self.status)
        return os.WTERMSIG(self.status) if self.status is not None and is_signal else None

    @property
    def exit_code(self) -> int | None:
        """dbt's, or 128 and the signal, as a shell has it."""
        if self.signal is not None:
            return 128 + self.signal
        if self.dbt.exit_code is not None or self.status is None:
            return self.dbt.exit_code
        return os.WEXITSTATUS(self.status)


class StepCloser:
    """Judges steps that are over, and hands their folders to the sidecar."""

    def __init__(self, session: Session, layout: Layout, plan: RunPlan, earlier: Earlier) -> None:
        self._session = session
        self._layout = layout
        self._plan = plan
        self._earlier = earlier
        self._oom_kills = count_oom_kills(layout)  # before the first step

    def judge(self, end: StepEnd) -> Outcome:
        """Draw the verdict on a step."""
        if end.dbt.reason and not self._session.stop.reason:
            return Outcome(end.dbt.reason, end.dbt.message)
        if self._is_doubted(end):
            # Nor by those who read the artifacts, of which later runs and attempts are some.
            (self._layout.work / end.step.name / RUN_RESULTS).unlink(missing_ok=True)
        outcome = classify.classify(self._gather_evidence(end))
        self._session.logged_in |= end.dbt.logged_in
        if outcome.stale and end.step.on_stale == "Skip":
            return classify.not_fresh(outcome)
        return outcome

    def close(self, end: StepEnd, outcome: Outcome) -> StepResult:
        """Hand the step's folder over, and tell what has become of the step."""
        name = end.step.name
        if end.step.command != FRESHNESS:
            # What another step has found is no artifact of this one.
            (self._layout.work / name / SOURCES).unlink(missing_ok=True)
        published = publish(
            self._layout.work / name,
            self._layout.artifacts / name,
            self._session.output.redactor,
            self._layout.parsed_manifest(name),
        )
        if published.missing:
            self._session.output.say(f"step {name}: {published.missing}")
        if end.step.command == FRESHNESS:
            self._keep_sources(name, end.dbt.invocation_id)
        result = self._make_result(end, outcome)
        if published.lost:
            result = replace(result, lost_name=published.lost[0])
            self._session.output.say(f"step {name}: {describe_lost_name(result)}")
        self._session.output.say(f"step {name}: {describe_end(result)}")
        return result

    def _is_doubted(self, end: StepEnd) -> bool:
        """Whether the results are those of an end that dbt did not come to by itself, and that it
        tells lies of.
        """
        was_ended = bool(self._session.stop.reason) or end.signal is not None
        return was_ended and not self._session.keeps_results

    def _keep_sources(self, name: str, invocation_id: str) -> None:
        """Let the steps that follow, and later runs, go by what a sourceFreshness step has
        found.
        """
        path = self._layout.artifacts / name / SOURCES
        metadata = (read_json(path) or {}).get("metadata") or {}
        if metadata.get("invocation_id") == invocation_id:
            copy_plain(path, self._layout.found_sources(name))

    def keep_parse_logs(self, step: Step) -> None:
        """Put the logs of the last parse, which has failed, into the step's folder."""
        work = self._layout.work / step.name
        work.mkdir(parents=True, exist_ok=True)
        for name in LOGS:
            for path in sorted(self._layout.parse.glob(f"*/{name}"))[-1:]:
                with suppress(OSError), open_plain(path) as file:
                    write_whole(work / name, file.read(LARGEST_FILE))

    def _make_result(self, end: StepEnd, outcome: Outcome) -> StepResult:
        redact = self._session.output.redactor.text
        return StepResult(
            name=end.step.name,
            command=end.step.command,
            state=_find_state(outcome),
            exit_code=end.exit_code,
            reason=outcome.reason,
            message=redact(outcome.message),
            allow_failure=end.step.allow_failure,
            started_at=end.started_at,
            finished_at=format_now(),
            nodes=outcome.nodes,
            failures=[replace(each, message=redact(each.message)) for each in outcome.failures],
            attempt=self._plan.attempt,
            digest=hash_arguments(end.step.argv),
            resume=outcome.resume,
            results=[replace(each, message=redact(each.message)) for each in outcome.results],
            left_out=end.dbt.left_out,
            again=outcome.again,
        )

    def _gather_evidence(self, end: StepEnd) -> StepEvidence:
        step, dbt = end.step, end.dbt
        folder: Path = self._layout.work / step.name
        return StepEvidence(
            command=step.command,
            selection=find_selection(step),
            allow_empty=step.allow_empty,
            fail_on_warn=self._plan.fail_on_warn,
            exit_code=dbt.exit_code,
            signal=end.signal,
            out_of_memory=count_oom_kills(self._layout) > self._oom_kills,
            stopped=self._session.stop.reason,
            exception=dbt.exception,
            message=dbt.message,
            parsing=end.parsing or _ended_early(end),
            invocation_id=dbt.invocation_id,
            expected=dbt.expected,
            empty=dbt.empty,
            errors=dbt.errors,
            raised=dbt.raised,
            causes=dbt.causes,
            logged_in=self._session.logged_in,
            earlier=self._earlier.list_results(step.name),
            doubted=self._is_doubted(end),
            run_results=read_results(folder / RUN_RESULTS),
            sources=read_results(folder / SOURCES),
        )


def format_now() -> str:
    """The time as result.json has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _find_state(outcome: Outcome) -> str:
    if outcome.reason == NOT_FRESH:
        return "NotFresh"
    return "Failed" if outcome.reason else "Succeeded"


def _ended_early(end: StepEnd) -> bool:
    """Whether dbt came to its own end before it had selected anything."""
    has_failed = end.dbt.exit_code != 0
    has_selected = end.dbt.expected is not None
    selects = end.step.command != "runOperation"
    return has_failed and not has_selected and selects and end.signal is None
