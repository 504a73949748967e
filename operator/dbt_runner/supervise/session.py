"""The main container: a supervisor that is PID 1 of the user's dbt image and never imports dbt
itself.

So it outlives what may happen to dbt (the OOM killer of cgroup v1 takes the biggest process) and
always leaves a
termination message. The order of a run::

    interpreter -> zygote: secrets, parse, environment validation -> step, publish -> step, publish
    -> ... -> result

With windows (:mod:`dbt_runner.supervise.window_loop`) everything behind the interpreter happens
once for each, as far as it is needed.

SIGTERM and the timeout become one SIGINT for dbt, which then cancels its queries and writes the
results it has; after the grace period everything of dbt is killed. What has been finished is kept,
no further step runs, and a second SIGTERM changes nothing. All waiting is done in one place,
:meth:`Supervisor._next`.
"""

from __future__ import annotations

import json
import os
import selectors
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dbt_protocol import flag_variables
from dbt_protocol.paths import DEPS
from dbt_protocol.plans import PLAN_VARIABLE, RunPlan, Step
from dbt_protocol.summaries import Summary
from dbt_runner import redact
from dbt_runner.artifact_files import LOGS, RUN_RESULTS, SOURCES
from dbt_runner.deadline import Deadline
from dbt_runner.json_files import read_json
from dbt_runner.layout import Layout
from dbt_runner.outcome import classify, merge, resume
from dbt_runner.outcome.classify import NOT_FRESH, Outcome, StepEvidence
from dbt_runner.outcome.resume import Earlier, StartOver
from dbt_runner.outcome.steps import StepResult, digest, last_line, selection, summarize, verdict
from dbt_runner.redact import Redactor
from dbt_runner.supervise.child import (
    Child,
    Event,
    InterpreterError,
    entry_point,
    exit_code,
    oom_kills,
)
from dbt_runner.supervise.os_signals import Signals, reap
from dbt_runner.supervise.progress import Tally, soonest
from dbt_runner.supervise.publish import publish

_FIRST_PAUSE, _LAST_PAUSE = 5.0, 60.0  # seconds between two checks of sources that are waited for
_LINE_LIMIT = 1 << 20  # bytes of output without a line's end that are passed on nevertheless


def environment(layout: Layout, plan: RunPlan, env: Mapping[str, str]) -> dict[str, str]:
    """The variables that dbt gets: ``DBT_*`` names, which all of 1.10 to 1.12 understand."""
    given = flag_variables.without_own(env).items()
    dbt = {name: value for name, value in given if not name.startswith("DBT_OPERATOR_")}
    dbt.setdefault("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
    dbt.setdefault("DBT_USE_COLORS", "false")
    dbt.setdefault("DBT_USE_COLORS_FILE", "false")
    dbt.update(
        DBT_PROJECT_DIR=plan.project_dir,
        DBT_PROFILES_DIR=str(layout.profiles),
        DBT_TARGET=plan.target,
        # The results are read from what dbt writes; a variable is preferred to flags in
        # dbt_project.yml.
        DBT_WRITE_JSON="true",
        # In metadata.env of every artifact, without the prefix.
        DBT_ENV_CUSTOM_ENV_NAMESPACE=plan.namespace,
        DBT_ENV_CUSTOM_ENV_RUN=plan.run,
        DBT_ENV_CUSTOM_ENV_RUN_UID=plan.run_uid,
        DBT_ENV_CUSTOM_ENV_ATTEMPT=str(plan.attempt),
    )
    if not os.access(dbt.get("HOME", ""), os.W_OK):
        dbt["HOME"] = "/tmp"  # noqa: S108 - an emptyDir of the pod's own
    return dbt


class Supervisor:
    """Runs one plan, or what of it is about one window."""

    def __init__(
        self, layout: Layout, plan: RunPlan, env: Mapping[str, str], signals: Signals
    ) -> None:
        self._layout = layout
        self._plan = plan
        self._steps = plan.steps
        self._window: int | None = None  # the one at work
        self._env = environment(layout, plan, env)
        self._signals = signals
        self._redactor = Redactor(redact.environment_secrets(env) | _scan_profiles(layout, env))
        self._timeout = Deadline(plan.timeout_seconds)
        self._kill = Deadline(None)  # when the grace period of the stop is over
        self.stopped = ""  # Timeout or Cancelled
        self._killed = False
        self._oom_kills = oom_kills(layout)
        self._child: Child | None = None
        self._interpreter = self._entry = ""
        self._isolation = "Fork"
        self.version = ""
        self.parse: dict[str, Any] = {}
        self.obstacle: str | None = (
            None  # why the windows do not share a parse; None: that is not known
        )
        self._earlier = Earlier()
        self.tally = Tally(layout.progress)
        self._line = b""  # output that has not got its line's end yet

    def run(self) -> int:
        """Run the steps and report; returns the exit code."""
        self._earlier = self._continue()
        steps = self.work()
        self.end_child()
        summary = summarize(steps, self.version, self.stopped)
        self._report(summary, steps)
        return summary.exit_code

    def begin(self, window: int, layout: Layout, steps: list[Step], earlier: Earlier) -> None:
        """Turn to a window, which has a time limit of its own."""
        self._window, self._layout, self._steps, self._earlier = window, layout, steps, earlier
        self._timeout, self._kill = Deadline(self._plan.timeout_seconds), Deadline(None)
        self.stopped, self._killed = "", False
        self._oom_kills = oom_kills(layout)
        self.parse = {}

    @property
    def cancelled(self) -> bool:
        """Whether the pod is being deleted."""
        return self._signals.stop

    def work(self) -> list[StepResult]:
        """Prepare and run the steps."""
        refused = self._prepare()
        done: list[StepResult] = []
        for number, step in enumerate(self._steps):
            self._stop_if_due()
            blocked = (
                any(each.fails_run or each.state == "NotFresh" for each in done) and not step.always
            )
            finished = self._earlier.finished(step.name, always=step.always)
            if refused and refused.name == step.name:
                done.append(refused)
            elif finished:
                self.say(f"step {step.name} succeeded in attempt {finished.attempt}")
                self.tally.end(finished.nodes)
                done.append(finished)
            elif refused or self.stopped or blocked:
                done.append(
                    StepResult(step.name, step.command, "Skipped", allow_failure=step.allow_failure)
                )
            else:
                done.append(self._run_step(number, step))
        return done

    def _continue(self) -> Earlier:
        """What the attempts before have done, if this one is to continue them and can."""
        if self._plan.resume is None:
            return Earlier()
        try:
            earlier = resume.load(self._layout, self._plan)
        except StartOver as why:
            self.say(f"everything runs again: {why}")
            return Earlier()
        self.say(f"continuing attempt {self._plan.resume}")
        return earlier

    # Before the first step

    def _prepare(self) -> StepResult | None:
        """Parse and validate. If that fails, the failure is the first step's: it ends the run,
        whatever may fail.
        """
        started = _now()
        event = self._get_ready()
        if self._layout.deps.is_dir():
            publish(
                self._layout.deps,
                self._layout.artifacts / DEPS,
                self._redactor,
                self._layout.parsed_manifest,
            )
        if event["event"] == "ready":
            self._move(event.get("project_dir", self._plan.project_dir))
            self.version = event["dbt_version"]
            self._isolation = event["isolation"]
            known = redact.Known(
                frozenset(event.get("words", ())), frozenset(event.get("unasked", ()))
            )
            self._redactor = self._redactor.knowing(known)
            self.parse = event.get(
                "parse", {}
            )  # where dbt is a command, each step parses for itself
            if self.parse and self.parse.get("count", 1):
                cached = ", with the cache of an earlier run" if self.parse["cached"] else ""
                self.say(f"parsed in {self.parse['seconds']:.1f} s{cached}")
            self._tell_sharing()
            return None
        if self._window is None:
            self.end_child()
        else:
            self.parse = {"count": event.get("parses", 0)}
        step = self._steps[event.get("step", 0)]
        self._keep_logs(self._layout.work / step.name)
        outcome = self._outcome(step, event, parsing=True)
        return replace(self._publish(step, event, outcome, started), allow_failure=False)

    def _tell_sharing(self) -> None:
        """Say whether the windows share a parse, when that is new."""
        obstacle = self.parse.get("obstacle", f"isolation {self._isolation}")
        if self._window is not None and obstacle != self.obstacle:
            self.obstacle = obstacle
            shared = "the windows share one parse"
            self.say(f"each window is parsed for itself: {obstacle}" if obstacle else shared)

    def _get_ready(self) -> Event:
        """Have the process that is there get the window at work ready, or start one."""
        if self._child and (self._isolation != "Fork" or self._gone()):
            self.end_child()
        if self._child and self._window is not None:
            plan = self._plan
            self._child.begin(
                self._window, project_dir=plan.project_dir, deps=plan.deps, cached=plan.cached
            )
            event = self._next("ready", "failed")
            if event["event"] != "ended" or self.stopped:
                return event
            self.end_child()  # it had died since it was needed last
        try:
            self._interpreter, self._entry = entry_point(
                self._env.get("PATH"), self._plan.isolation
            )
            self._start([])
        except InterpreterError as error:
            return {"event": "failed", "step": 0, "reason": "ConfigError", "message": str(error)}
        return self._next("ready", "failed")

    def _move(self, project: str) -> None:
        """Take this folder for the project: ``dbt deps`` may have needed one that it can write
        to.
        """
        self._plan = replace(self._plan, project_dir=project)
        if self._window is not None:  # its packages and its first parse are there
            self._plan = replace(self._plan, deps="Never", cached=False)
        self._env["DBT_PROJECT_DIR"] = project

    def _start(self, arguments: list[str]) -> None:
        window = [] if self._window is None else [f"--window={self._window}"]
        start = [self._entry, f"--root={self._layout.root}", *window, *arguments]
        env = {**self._env, PLAN_VARIABLE: self._plan.to_json()}
        self._child = Child(self._interpreter, start, env, self._plan.project_dir)

    # A step

    def _run_step(self, number: int, step: Step) -> StepResult:
        started = _now()
        of = f"{number + 1} of {len(self._steps)}"
        self.say(f"step {step.name} ({of}): dbt {shlex.join(step.argv)}")
        self._leave_out(step)
        event = self._once(number)
        outcome = self._outcome(step, event)
        pause = _FIRST_PAUSE
        while outcome.stale and step.on_stale == "Wait" and not self.stopped:
            self.say(
                f"step {step.name}: waiting, since {outcome.message}; the next check is in "
                f"{pause:g} s"
            )
            self._pause(pause)
            if self.stopped:
                outcome = classify.waited(outcome, self.stopped)
                break
            pause = min(pause * 2, _LAST_PAUSE)
            shutil.rmtree(self._layout.work / step.name)
            event = self._once(number)
            outcome = self._outcome(step, event)
        result = self._publish(step, event, outcome, started)
        self.tally.end(result.nodes)
        return result

    def _leave_out(self, step: Step) -> None:
        """Tell dbt's process which nodes of a step are done."""
        done = classify.done(self._earlier.results(step.name))
        if done and self._isolation != "Command":  # which knows of no way to leave nodes out
            self.say(
                f"step {step.name}: {len(done)} nodes are done, by the results of earlier attempts"
            )
            self._layout.done(step.name).write_text(json.dumps(done), encoding="utf-8")

    def _once(self, number: int) -> Event:
        """Run a step's command; what is known of its end."""
        step = self._steps[number]
        before = len(classify.done(self._earlier.results(step.name)))
        self.tally.begin(counts=step.command not in classify.NOT_COUNTED, done=before)
        self._ask(number)
        outcome: Event = {}
        event = self._next("outcome", "ended", "failed")
        if event["event"] in ("outcome", "failed"):
            outcome, event = event, self._next("ended")
        self.version = outcome.get("dbt_version") or self.version
        if self._isolation == "Process" or self._gone():
            self.end_child()  # also of what it has left behind
        outcome.setdefault("invocation_id", self.tally.invocation_id)
        return {**outcome, "status": event["status"]}

    def _ask(self, number: int) -> None:
        """Have the step run by the process that is there, or by one of its own where that is wanted
        or it is gone.
        """
        if self._child and self._isolation != "Process":
            self._child.ask(number)
        else:
            self.end_child()
            self._start([f"--step={number}"])

    def _gone(self) -> bool:
        return self._child is not None and self._child.status is not None

    def _outcome(self, step: Step, event: Event, *, parsing: bool = False) -> Outcome:
        """Draw the verdict on a step that is over."""
        if event.get("reason") and not self.stopped:
            return Outcome(event["reason"], event.get("message", ""))
        outcome = classify.classify(
            self._seen(step, event, self._layout.work / step.name, parsing=parsing)
        )
        return classify.not_fresh(outcome) if outcome.stale and step.on_stale == "Skip" else outcome

    def _publish(self, step: Step, event: Event, outcome: Outcome, started: str) -> StepResult:
        """Hand the folder of a step that is over to the sidecar."""
        work = self._layout.work / step.name
        publish(
            work, self._layout.artifacts / step.name, self._redactor, self._layout.parsed_manifest
        )
        result = StepResult(
            name=step.name,
            command=step.command,
            state="NotFresh"
            if outcome.reason == NOT_FRESH
            else "Failed"
            if outcome.reason
            else "Succeeded",
            exit_code=exit_code(event),
            reason=outcome.reason,
            message=self._redactor.text(outcome.message),
            allow_failure=step.allow_failure,
            started_at=started,
            finished_at=_now(),
            nodes=outcome.nodes,
            failures=[
                replace(each, message=self._redactor.text(each.message))
                for each in outcome.failures
            ],
            attempt=self._plan.attempt,
            digest=digest(step.argv),
            resume=outcome.resume,
            results=[
                replace(each, message=self._redactor.text(each.message)) for each in outcome.results
            ],
            left_out=event.get("left_out"),
        )
        self.say(f"step {step.name}: {verdict(result)}")
        return result

    def _keep_logs(self, work: Path) -> None:
        """Put the logs of the last parse, which has failed, into the step's folder."""
        work.mkdir(parents=True, exist_ok=True)
        for name in LOGS:
            for path in sorted(self._layout.parse.glob(f"*/{name}"))[-1:]:
                shutil.copyfile(path, work / name)

    def _seen(self, step: Step, event: Event, work: Path, *, parsing: bool) -> StepEvidence:
        status = event.get("status")
        number = os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None
        failed = event.get("exit_code") != 0
        early = failed and event.get("expected") is None and step.command != "runOperation"
        return StepEvidence(
            command=step.command,
            selection=selection(step),
            allow_empty=step.allow_empty,
            fail_on_warn=self._plan.fail_on_warn,
            exit_code=event.get("exit_code"),
            signal=number,
            out_of_memory=oom_kills(self._layout) > self._oom_kills,
            stopped=self.stopped,
            exception=event.get("exception", ()),
            message=event.get("message", ""),
            parsing=parsing or (early and number is None),
            invocation_id=event.get("invocation_id", ""),
            expected=event.get("expected"),
            empty=event.get("empty", False),
            errors=event.get("errors", ()),
            raised=event.get("raised", ()),
            earlier=self._earlier.results(step.name),
            run_results=read_json(work / RUN_RESULTS),
            sources=read_json(work / SOURCES),
        )

    # Waiting

    def _next(self, *wanted: str) -> Event:
        """Wait for one of these events, or for the process's end, which comes as ``ended`` with its
        status.

        Meanwhile dbt's output is passed on, signals and deadlines are acted on.
        """
        if self._child is None:
            raise RuntimeError("no process was started")
        with self._selector() as selector:
            while True:
                self._stop_if_due()
                event = self._received(*wanted)
                if event:
                    self._pass_on()
                    return event
                for key, _ in selector.select(soonest(self._remaining(), self.tally.flush())):
                    self._handle(key.fd, selector)

    def _pause(self, seconds: float) -> None:
        """Wait for so long, or until the run is to be stopped."""
        over = Deadline(seconds)
        with self._selector() as selector:
            while not over.passed:
                self._stop_if_due()
                if self.stopped:
                    break
                limits = (over.remaining(), self._timeout.remaining())
                for key, _ in selector.select(min(limit for limit in limits if limit is not None)):
                    self._handle(key.fd, selector)
        if self._gone():
            self.end_child()

    def _selector(self) -> selectors.BaseSelector:
        """All there is to wait for: signals, and what a process says."""
        selector = selectors.DefaultSelector()
        selector.register(self._signals.descriptor, selectors.EVENT_READ)
        if self._child:
            selector.register(self._child.events, selectors.EVENT_READ)
            selector.register(self._child.output, selectors.EVENT_READ)
        return selector

    def _received(self, *wanted: str) -> Event | None:
        child = self._child
        if child is None:
            return None
        self._learn_secrets(child)
        while child.received:
            event = child.received.popleft()
            if event["event"] in wanted:
                return event
            self.tally.take(event)
        return (
            {"event": "ended", "step": 0, "status": child.status}
            if child.status is not None
            else None
        )

    def _learn_secrets(self, child: Child) -> None:
        """Take in what has arrived; the secrets in it are exact, where the scan that they replace
        was only careful.
        """
        child.read_events()
        while child.received and child.received[0]["event"] == "secrets":
            self._redactor = Redactor(child.received.popleft()["values"], self._redactor.known)

    def _handle(self, descriptor: int, selector: selectors.BaseSelector) -> None:
        child = self._child
        if descriptor == self._signals.descriptor:
            self._signals.drain()
            ended = reap()
            if child:
                child.status = ended.get(child.pid, child.status)
        elif child is not None and descriptor == child.output:
            if not self._pass_on():
                selector.unregister(descriptor)
        elif child is not None and not child.read_events():
            selector.unregister(descriptor)

    def _stop_if_due(self) -> None:
        """Interrupt dbt once, and kill it when it has not ended in time."""
        if not self.stopped and (self._signals.stop or self._timeout.passed):
            self.stopped = "Cancelled" if self._signals.stop else "Timeout"
            grace = self._plan.grace_seconds
            self.say(
                f"{self.stopped}: interrupting dbt, which has {grace:g} s to cancel its queries"
            )
            self._kill = Deadline(grace)
            if self._child:
                self._child.signal(signal.SIGINT)
        elif self._kill.passed and not self._killed:
            self._killed = True
            self.say("dbt did not end in time: killing it")
            if self._child:
                self._child.signal(signal.SIGKILL)

    def _remaining(self) -> float | None:
        if self._killed:
            return None
        return self._kill.remaining() if self.stopped else self._timeout.remaining()

    def end_child(self) -> None:
        """Let the process end by itself, then make sure of it."""
        if self._child:
            self._child.finish()
            if self._child.status is None:
                self._next("ended")
            self._pass_on()
            self._child.close()
            self._child = None

    # Output

    def _pass_on(self) -> bool:
        """Print what dbt has printed, line by line and without secrets; False at the end of its
        output.
        """
        data = self._child.read_output() if self._child else None
        if self._child:
            # A process sends its secrets before it prints anything, so for this output they are
            # there by now.
            self._learn_secrets(self._child)
        complete, newline, self._line = (self._line + (data or b"")).rpartition(b"\n")
        if data is None or len(self._line) > _LINE_LIMIT:
            complete, self._line = complete + newline + self._line, b""
            newline = b"\n" if complete and not complete.endswith(b"\n") else b""
        if complete:
            sys.stdout.buffer.write(self._redactor.data(complete) + newline)
            sys.stdout.buffer.flush()
        return data is not None

    def say(self, text: str) -> None:
        """Print a line of the runner's own."""
        sys.stdout.buffer.write(f"dbt-operator: {self._redactor.text(text)}\n".encode())
        sys.stdout.buffer.flush()

    def _report(self, summary: Summary, steps: list[StepResult]) -> None:
        """Leave result.json, the termination message and the last line of the log, which names
        every failed node.
        """
        result = {**asdict(summary), "run": self._plan.run, "run_uid": self._plan.run_uid}
        result.update(attempt=self._plan.attempt, source=read_json(self._layout.source_info))
        result.update(parse=self.parse, steps=[asdict(step) for step in steps])
        merge.write(self._layout, steps, result)
        self._layout.report(summary.to_json())
        self.say(last_line(summary))


def _scan_profiles(layout: Layout, env: Mapping[str, str]) -> set[str]:
    try:
        return redact.scan_profiles(
            (layout.profiles / "profiles.yml").read_text(encoding="utf-8"), env
        )
    except (OSError, ValueError):
        return set()  # dbt will say that it is missing


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
