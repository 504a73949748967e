"""Prepares the steps of a run, or of one of its windows, and runs them one by one."""

from __future__ import annotations

import shlex
from dataclasses import replace

from dbt_protocol.paths import DEPS
from dbt_protocol.plans import RunPlan, Step
from dbt_protocol.result_file import Parse, StepResult
from dbt_runner.artifact_files import FRESHNESS
from dbt_runner.json_files import write_json
from dbt_runner.layout import Layout
from dbt_runner.outcome import classify
from dbt_runner.outcome.batches import find_batches
from dbt_runner.outcome.resume import Earlier
from dbt_runner.outcome.step_outcome import Outcome
from dbt_runner.redact import Known
from dbt_runner.supervise.child import Child
from dbt_runner.supervise.interpreter import InterpreterError
from dbt_runner.supervise.publish import publish
from dbt_runner.supervise.session import Session
from dbt_runner.supervise.step_end import StepCloser, StepEnd, format_now
from dbt_runner.volume import copy_plain, remove_folder
from dbt_runner.worker_messages import (
    BeginWindow,
    DbtEnd,
    Failed,
    Ready,
    StepEnded,
    StepOutcome,
)

_FIRST_PAUSE, _LAST_PAUSE = 5.0, 60.0  # seconds between two checks of sources that are waited for


class StepRunner:
    """Runs the steps of a run without windows, or those of one window: each has a new one."""

    def __init__(
        self,
        session: Session,
        layout: Layout,
        plan: RunPlan,
        earlier: Earlier,
        window: int | None = None,
    ) -> None:
        self.session = session
        self.steps = plan.steps
        self.earlier = earlier
        self.parse = Parse()  # what result.json says of it
        self._layout = layout
        self._window = window
        self._closer = StepCloser(session, layout, plan, earlier)

    def prepare(self) -> StepResult | None:
        """Have dbt parse and validate the environment.

        Returns:
            None, or why no step may run, as the result of the step that it is about. That ends the
            run although the step itself may be allowed to fail.
        """
        started_at = format_now()
        answer = self._get_ready()
        self._publish_deps()
        if isinstance(answer, Ready):
            self._take_over(answer)
            return None
        failed = Failed() if isinstance(answer, StepEnded) else answer
        status = answer.status if isinstance(answer, StepEnded) else None
        if self._window is None:
            self.session.end_child()
        else:
            self.parse = Parse(count=failed.parses)
        # The project's code runs behind the same pipe, and may name a step that there is none of.
        step = self.steps[failed.step if failed.step < len(self.steps) else 0]
        self._closer.keep_parse_logs(step)
        end = StepEnd(step, failed, started_at, status, parsing=True)
        return replace(self._closer.close(end, self._closer.judge(end)), allow_failure=False)

    def run_step(self, number: int) -> StepResult:
        """Run a step, again and again where its sources are waited for."""
        step, started_at = self.steps[number], format_now()
        of = f"{number + 1} of {len(self.steps)}"
        self.session.output.say(f"step {step.name} ({of}): dbt {shlex.join(step.argv)}")
        self._leave_out(step)
        end = self._run_once(number, started_at)
        outcome = self._closer.judge(end)
        pause = _FIRST_PAUSE
        while self._must_wait(step, outcome):
            self._wait_for_sources(step, outcome, pause)
            if self.session.stop.reason:
                outcome = classify.waited(outcome, self.session.stop.reason)
                break
            pause = min(pause * 2, _LAST_PAUSE)
            remove_folder(self._layout.work / step.name)
            end = self._run_once(number, started_at)
            outcome = self._closer.judge(end)
        result = self._closer.close(end, outcome)
        self.session.tally.end_step(result.nodes)
        return result

    def count_parses(self) -> int:
        """How often the project was parsed, before the first step."""
        if self.parse.count is not None:
            return self.parse.count
        return int(self.parse.seconds is not None)

    def take_from_earlier(self, result: StepResult) -> StepResult:
        """Let the result of an attempt before stand for a step."""
        ended = "failed, which it may," if result.reason else "succeeded"
        self.session.output.say(f"step {result.name} {ended} in attempt {result.attempt}")
        if result.command == FRESHNESS:
            found = self._layout.previous_sources(result.name)
            copy_plain(found, self._layout.found_sources(result.name))
        self.session.tally.end_step(result.nodes)
        return result

    # Before the first step

    def _get_ready(self) -> Ready | Failed | StepEnded:
        """Have the process that is there get ready for the window, or start one."""
        session = self.session
        if session.child and (session.isolation != "Fork" or session.has_died):
            session.end_child()
        if session.child and self._window is not None:
            answer = self._begin_window(session.child, self._window)
            if not isinstance(answer, StepEnded) or session.stop.reason:
                return answer
            session.end_child()  # it had died since it was needed last
        try:
            session.start_child(self._window)
        except InterpreterError as error:
            return Failed("ConfigError", str(error))
        return session.wait_for(Ready, Failed)

    def _begin_window(self, child: Child, window: int) -> Ready | Failed | StepEnded:
        plan = self.session.plan
        child.begin_window(BeginWindow(window, plan.project_dir, plan.deps, plan.cached))
        return self.session.wait_for(Ready, Failed)

    def _publish_deps(self) -> None:
        """Hand the logs of ``dbt deps`` over, if that has run."""
        if self._layout.deps.is_dir():
            publish(
                self._layout.deps,
                self._layout.artifacts / DEPS,
                self.session.output.redactor,
                self._layout.parsed_manifest(DEPS),
            )

    def _take_over(self, ready: Ready) -> None:
        """Keep what the process that is ready has told."""
        session = self.session
        session.move_project(ready.project_dir, to_share=self._window is not None)
        session.version = ready.dbt_version
        session.isolation = ready.isolation
        session.output.learn_words(Known(frozenset(ready.words), frozenset(ready.unasked)))
        self.parse = Parse(ready.seconds, ready.cached, ready.count, ready.obstacle)
        if ready.seconds is not None and self.count_parses():
            cached = ", with the cache of an earlier run" if ready.cached else ""
            session.output.say(f"parsed in {ready.seconds:.1f} s{cached}")

    # A step

    def _leave_out(self, step: Step) -> None:
        """Tell dbt's process which nodes of a step are done, and which batches of others."""
        earlier = self.earlier.list_results(step.name)
        # A dbt that is a command knows of no way to leave nodes out.
        if not earlier or self.session.isolation == "Command":
            return
        nodes = classify.done(earlier)
        # What is kept of attempts before is that of a run, not of each window.
        batches = {} if self._window else find_batches(self._layout, earlier)
        if not nodes and not batches:
            return
        count = f"{len(nodes)} nodes are done, by the results of earlier attempts"
        more = f", and batches of {len(batches)} others" if batches else ""
        self.session.output.say(f"step {step.name}: {count}{more}")
        write_json(self._layout.done(step.name), {"nodes": nodes, "batches": batches})

    def _run_once(self, number: int, started_at: str) -> StepEnd:
        """Run a step's command; what is known of its end."""
        session, step = self.session, self.steps[number]
        done = len(classify.done(self.earlier.list_results(step.name)))
        session.tally.begin_step(counts=step.command not in classify.NOT_COUNTED, done=done)
        self._start_step(number)
        dbt, status = self._wait_for_end()
        session.version = dbt.dbt_version or session.version
        if session.isolation == "Process" or session.has_died:
            session.end_child()  # also of what it has left behind
        return StepEnd(step, dbt, started_at, status)

    def _wait_for_end(self) -> tuple[DbtEnd, int]:
        """What dbt has told of the end of a step, and the wait status of the step's process."""
        session = self.session
        told = DbtEnd()
        message: StepOutcome | Failed | StepEnded
        message = session.wait_for(StepOutcome, Failed, StepEnded)
        if not isinstance(message, StepEnded):
            told, message = message, session.wait_for(StepEnded)
        if session.child and session.child.refusal:
            told = session.child.refusal
        invocation_id = told.invocation_id or session.tally.invocation_id
        return replace(told, invocation_id=invocation_id), message.status

    def _start_step(self, number: int) -> None:
        """Have the step run by the process that is there, or by one of its own where that is wanted
        or it is gone.
        """
        if self.session.child and self.session.isolation != "Process":
            self.session.child.run_step(number)
        else:
            self.session.end_child()
            self.session.start_child(self._window, number)

    def _must_wait(self, step: Step, outcome: Outcome) -> bool:
        return outcome.stale and step.on_stale == "Wait" and not self.session.stop.reason

    def _wait_for_sources(self, step: Step, outcome: Outcome, pause: float) -> None:
        self.session.output.say(
            f"step {step.name}: waiting, since {outcome.message}; the next check is in {pause:g} s"
        )
        self.session.pause(pause)
