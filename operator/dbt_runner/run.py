"""The main container: a supervisor that is PID 1 of the user's dbt image and never imports dbt itself.

So it outlives what may happen to dbt (the OOM killer of cgroup v1 takes the biggest process) and always leaves a
termination message. The order of a run::

    interpreter -> zygote: secrets, parse, environment validation -> step, publish -> step, publish -> ... -> result

SIGTERM and the timeout become one SIGINT for dbt, which then cancels its queries and writes the results it has; after
the grace period everything of dbt is killed. What has been finished is kept, no further step runs, and a second SIGTERM
changes nothing. All waiting is done in one place, :meth:`Supervisor._next`.
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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dbt_runner import presence, redact, results
from dbt_runner.child import Child, Event, InterpreterError, entry_point
from dbt_runner.layout import Layout
from dbt_runner.progress import Tally, soonest
from dbt_runner.protocol import PLAN_VARIABLE, Failure, Nodes, RunPlan, Step, Summary
from dbt_runner.publish import LOGS, publish
from dbt_runner.redact import Redactor
from dbt_runner.results import Outcome, Seen
from dbt_runner.signals import Deadline, Signals, reap

_SELECTION_FLAGS = (
    "--select",
    "-s",
    "--models",
    "-m",
    "--exclude",
    "--selector",
    "--resource-type",
    "--resource-types",
)
_CONFIG_REASONS = ("ConfigError", "ParseError", "EnvironmentMismatch", "MissingState")
_LINE_LIMIT = 1 << 20  # bytes of output without a line's end that are passed on nevertheless


@dataclass(frozen=True)
class StepResult:
    """What result.json says about a step."""

    name: str
    command: str
    state: str  # Succeeded, Failed or Skipped
    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    allow_failure: bool = False
    started_at: str = ""
    finished_at: str = ""
    nodes: Nodes = field(default_factory=Nodes)
    failures: list[Failure] = field(default_factory=list)

    @property
    def fails_run(self) -> bool:
        """Whether the run fails by this."""
        return self.state == "Failed" and not self.allow_failure


def main(layout: Layout, plan: RunPlan, env: Mapping[str, str]) -> int:
    """Run the plan; returns the container's exit code, which is 0 only if the run succeeded."""
    with Signals() as signals, presence.held(layout.alive):
        return Supervisor(layout, plan, env, signals).run()


def environment(layout: Layout, plan: RunPlan, env: Mapping[str, str]) -> dict[str, str]:
    """The variables that dbt gets: ``DBT_*`` names, which all of 1.10 to 1.12 understand."""
    dbt = {name: value for name, value in env.items() if not name.startswith("DBT_OPERATOR_")}
    dbt.setdefault("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
    dbt.setdefault("DBT_USE_COLORS", "false")
    dbt.setdefault("DBT_USE_COLORS_FILE", "false")
    dbt.update(
        DBT_PROJECT_DIR=plan.project_dir,
        DBT_PROFILES_DIR=str(layout.profiles),
        DBT_TARGET=plan.target,
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
    """Runs one plan."""

    def __init__(self, layout: Layout, plan: RunPlan, env: Mapping[str, str], signals: Signals) -> None:
        self._layout = layout
        self._plan = plan
        self._env = environment(layout, plan, env)
        self._signals = signals
        self._redactor = Redactor(redact.environment_secrets(env) | _scan_profiles(layout, env))
        self._timeout = Deadline(plan.timeout_seconds)
        self._kill = Deadline(None)  # when the grace period of the stop is over
        self._stopped = ""  # Timeout or Cancelled
        self._killed = False
        self._oom_kills = _oom_kills(layout)
        self._child: Child | None = None
        self._interpreter = self._entry = ""
        self._isolation = "Fork"
        self._version = ""
        self._tally = Tally(layout.progress)
        self._line = b""  # output that has not got its line's end yet

    def run(self) -> int:
        """Run the steps and report; returns the exit code."""
        steps = self._steps()
        summary = summarize(steps, self._version, self._stopped)
        self._report(summary, steps)
        return summary.exit_code

    def _steps(self) -> list[StepResult]:
        refused = self._prepare()
        done: list[StepResult] = []
        for number, step in enumerate(self._plan.steps):
            self._stop_if_due()
            blocked = any(each.fails_run for each in done) and not step.always
            if refused and refused.name == step.name:
                done.append(refused)
            elif refused or self._stopped or blocked:
                done.append(StepResult(step.name, step.command, "Skipped", allow_failure=step.allow_failure))
            else:
                done.append(self._run_step(number, step))
        self._end_child()
        return done

    # --- before the first step ---------------------------------------------------------------------------------------

    def _prepare(self) -> StepResult | None:
        """Parse and validate. If that fails, the failure is the first step's: it ends the run, whatever may fail."""
        started = _now()
        try:
            self._interpreter, self._entry = entry_point(self._env.get("PATH"), self._plan.isolation)
            self._start([])
        except InterpreterError as error:
            event: Event = {"event": "failed", "step": 0, "reason": "ConfigError", "message": str(error)}
        else:
            event = self._next("ready", "failed")
        if event["event"] == "ready":
            self._version = event["dbt_version"]
            self._isolation = event["isolation"]
            return None
        self._end_child()
        step = self._plan.steps[event.get("step", 0)]
        return replace(self._ended(step, event, started, parsing=True), allow_failure=False)

    def _start(self, arguments: list[str]) -> None:
        start = [self._entry, f"--root={self._layout.root}", *arguments]
        env = {**self._env, PLAN_VARIABLE: self._plan.to_json()}
        self._child = Child(self._interpreter, start, env, self._plan.project_dir)

    # --- a step ------------------------------------------------------------------------------------------------------

    def _run_step(self, number: int, step: Step) -> StepResult:
        started = _now()
        of = f"{number + 1} of {len(self._plan.steps)}"
        self._say(f"step {step.name} ({of}): dbt {shlex.join(step.argv)}")
        self._tally.begin(counts=step.command not in results.NOT_COUNTED)
        self._ask(number)
        outcome: Event = {}
        event = self._next("outcome", "ended", "failed")
        if event["event"] in ("outcome", "failed"):
            outcome, event = event, self._next("ended")
        self._version = outcome.get("dbt_version") or self._version
        if self._isolation == "Process" or self._gone():
            self._end_child()  # also of what it has left behind
        outcome.setdefault("invocation_id", self._tally.invocation_id)
        result = self._ended(step, {**outcome, "status": event["status"]}, started, parsing=False)
        self._tally.end(result.nodes)
        return result

    def _ask(self, number: int) -> None:
        """Have the step run by the process that is there, or by one of its own where that is wanted or it is gone."""
        if self._child and self._isolation != "Process":
            self._child.ask(number)
        else:
            self._end_child()
            self._start([f"--step={number}"])

    def _gone(self) -> bool:
        return self._child is not None and self._child.status is not None

    def _ended(self, step: Step, event: Event, started: str, *, parsing: bool) -> StepResult:
        """Draw the verdict on a step that is over, and publish its folder."""
        work = self._layout.work / step.name
        if parsing:
            self._keep_logs(work)
        if event.get("reason"):
            outcome = Outcome(event["reason"], event.get("message", ""))
        else:
            outcome = results.classify(self._seen(step, event, work, parsing=parsing))
        publish(work, self._layout.artifacts / step.name, self._redactor, self._layout.parsed_manifest)
        result = StepResult(
            name=step.name,
            command=step.command,
            state="Failed" if outcome.reason else "Succeeded",
            exit_code=_exit_code(event),
            reason=outcome.reason,
            message=self._redactor.text(outcome.message),
            allow_failure=step.allow_failure,
            started_at=started,
            finished_at=_now(),
            nodes=outcome.nodes,
            failures=[replace(each, message=self._redactor.text(each.message)) for each in outcome.failures],
        )
        self._say(f"step {step.name}: {_verdict(result)}")
        return result

    def _keep_logs(self, work: Path) -> None:
        """Put the logs of the last parse, which has failed, into the step's folder."""
        work.mkdir(parents=True, exist_ok=True)
        for name in LOGS:
            for path in sorted(self._layout.parse.glob(f"*/{name}"))[-1:]:
                shutil.copyfile(path, work / name)

    def _seen(self, step: Step, event: Event, work: Path, *, parsing: bool) -> Seen:
        status = event.get("status")
        number = os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None
        early = event.get("announced") is None and step.command != "runOperation" and event.get("exit_code") != 0
        return Seen(
            command=step.command,
            selection=_selection(step),
            allow_empty=step.allow_empty,
            exit_code=event.get("exit_code"),
            signal=number,
            out_of_memory=_oom_kills(self._layout) > self._oom_kills,
            stopped=self._stopped,
            exception=event.get("exception", ()),
            message=event.get("message", ""),
            parsing=parsing or (early and number is None),
            invocation_id=event.get("invocation_id", ""),
            announced=event.get("announced"),
            empty=event.get("empty", False),
            errors=event.get("errors", ()),
            raised=event.get("raised", ()),
            run_results=_read_json(work / "run_results.json"),
            sources=_read_json(work / "sources.json"),
        )

    # --- waiting -----------------------------------------------------------------------------------------------------

    def _next(self, *wanted: str) -> Event:
        """Wait for one of these events, or for the process's end, which comes as ``ended`` with its status.

        Meanwhile dbt's output is passed on, signals and deadlines are acted on.
        """
        child = self._child
        if child is None:
            raise RuntimeError("no process was started")
        with selectors.DefaultSelector() as selector:
            for descriptor in (child.events, child.output, self._signals.descriptor):
                selector.register(descriptor, selectors.EVENT_READ)
            while True:
                self._stop_if_due()
                event = self._received(*wanted)
                if event:
                    self._pass_on()
                    return event
                for key, _ in selector.select(soonest(self._remaining(), self._tally.flush())):
                    self._handle(key.fd, selector)

    def _received(self, *wanted: str) -> Event | None:
        child = self._child
        if child is None:
            return None
        self._learn_secrets(child)
        while child.received:
            event = child.received.popleft()
            if event["event"] in wanted:
                return event
            self._tally.take(event)
        return {"event": "ended", "step": 0, "status": child.status} if child.status is not None else None

    def _learn_secrets(self, child: Child) -> None:
        """Take in what has arrived; the secrets in it are exact, where the scan that they replace was only careful."""
        child.read_events()
        while child.received and child.received[0]["event"] == "secrets":
            self._redactor = Redactor(child.received.popleft()["values"])

    def _handle(self, descriptor: int, selector: selectors.BaseSelector) -> None:
        child = self._child
        if child is None:
            return
        if descriptor == child.output:
            if not self._pass_on():
                selector.unregister(descriptor)
        elif descriptor == self._signals.descriptor:
            self._signals.drain()
            child.status = reap().get(child.pid, child.status)
        elif not child.read_events():
            selector.unregister(descriptor)

    def _stop_if_due(self) -> None:
        """Interrupt dbt once, and kill it when it has not ended in time."""
        if not self._stopped and (self._signals.stop or self._timeout.passed):
            self._stopped = "Cancelled" if self._signals.stop else "Timeout"
            grace = self._plan.grace_seconds
            self._say(f"{self._stopped}: interrupting dbt, which has {grace:g} s to cancel its queries")
            self._kill = Deadline(grace)
            if self._child:
                self._child.signal(signal.SIGINT)
        elif self._kill.passed and not self._killed:
            self._killed = True
            self._say("dbt did not end in time: killing it")
            if self._child:
                self._child.signal(signal.SIGKILL)

    def _remaining(self) -> float | None:
        if self._killed:
            return None
        return self._kill.remaining() if self._stopped else self._timeout.remaining()

    def _end_child(self) -> None:
        """Let the process end by itself, then make sure of it."""
        if self._child:
            self._child.finish()
            if self._child.status is None:
                self._next("ended")
            self._pass_on()
            self._child.close()
            self._child = None

    # --- output ------------------------------------------------------------------------------------------------------

    def _pass_on(self) -> bool:
        """Print what dbt has printed, line by line and without secrets; False at the end of its output."""
        data = self._child.read_output() if self._child else None
        if self._child:
            # A process sends its secrets before it prints anything, so for this output they are there by now.
            self._learn_secrets(self._child)
        complete, newline, self._line = (self._line + (data or b"")).rpartition(b"\n")
        if data is None or len(self._line) > _LINE_LIMIT:
            complete, self._line = complete + newline + self._line, b""
            newline = b"\n" if complete and not complete.endswith(b"\n") else b""
        if complete:
            sys.stdout.buffer.write(self._redactor.data(complete) + newline)
            sys.stdout.buffer.flush()
        return data is not None

    def _say(self, text: str) -> None:
        sys.stdout.buffer.write(f"dbt-operator: {self._redactor.text(text)}\n".encode())
        sys.stdout.buffer.flush()

    def _report(self, summary: Summary, steps: list[StepResult]) -> None:
        """Leave result.json, the termination message and the last line of the log, which names every failed node."""
        result = {**asdict(summary), "run": self._plan.run, "run_uid": self._plan.run_uid}
        result.update(attempt=self._plan.attempt, steps=[asdict(step) for step in steps])
        path = self._layout.result
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(".result.json")
        partial.write_text(json.dumps(result, indent=1, ensure_ascii=False), encoding="utf-8")
        partial.replace(path)
        self._layout.report(summary.to_json())
        self._say(last_line(summary))


def summarize(steps: list[StepResult], version: str, stopped: str) -> Summary:
    """The run's verdict: the first failure that counts decides, failures that are allowed are mentioned."""
    nodes = Nodes()
    for step in steps:
        nodes += step.nodes
    failures = [failure for step in steps for failure in step.failures]
    allowed = [step for step in steps if step.state == "Failed" and step.allow_failure]
    decisive = next((step for step in steps if step.fails_run), None)
    if decisive is None and stopped:
        reason = stopped
        message = f"the run was stopped ({stopped}) between two steps" if not allowed else allowed[-1].message
        code = 1
    elif decisive is None:
        reason, message, code = "", _success(steps), 0
    else:
        reason, message = decisive.reason, decisive.message
        message = f"step {decisive.name}: {message}" if len(steps) > 1 else message
        code = decisive.exit_code or (2 if reason in _CONFIG_REASONS else 1)
    for step in allowed:
        message += f"; step {step.name}, which may fail, failed ({step.reason}: {step.message})"
    return Summary(reason, message, code, version, nodes, failures, len(failures))


def _success(steps: list[StepResult]) -> str:
    succeeded = sum(1 for step in steps if step.state == "Succeeded")
    return f"{succeeded} of {len(steps)} steps succeeded"


def last_line(summary: Summary) -> str:
    """The last line of the container's log."""
    failed = [failure.unique_id for failure in summary.failures if failure.status != "skipped"]
    if not summary.reason:
        nodes = summary.nodes
        counts = f"{nodes.total} nodes: {nodes.success} success, {nodes.passed} pass, {nodes.warn} warn"
        return f"Succeeded: {counts}" + (f"; allowed to fail: {', '.join(failed)}" if failed else "")
    if not failed:
        return f"Failed ({summary.reason}): {summary.message}"
    return f"Failed ({summary.reason}): {len(failed)} node{'s' * (len(failed) > 1)} failed: {', '.join(failed)}"


def _verdict(result: StepResult) -> str:
    if result.reason:
        return f"failed ({result.reason}): {result.message}"
    nodes = {name: count for name, count in asdict(result.nodes).items() if count and name != "total"}
    return "succeeded" + "".join(f", {count} {name}" for name, count in nodes.items())


def _exit_code(event: Event) -> int | None:
    """dbt's, or 128 and the signal, as a shell has it."""
    status = event.get("status")
    if status is not None and os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    if "exit_code" in event:
        return int(event["exit_code"])
    return os.WEXITSTATUS(status) if status is not None else None


def _selection(step: Step) -> str:
    """The part of the command line that selects nodes."""
    words: list[str] = []
    keep = False
    for word in step.argv:
        if word.startswith("-"):
            keep = word.split("=")[0] in _SELECTION_FLAGS
        if keep:
            words.append(word)
    return shlex.join(words)


def _scan_profiles(layout: Layout, env: Mapping[str, str]) -> set[str]:
    try:
        return redact.scan_profiles((layout.profiles / "profiles.yml").read_text(encoding="utf-8"), env)
    except (OSError, ValueError):
        return set()  # dbt will say that it is missing


def _oom_kills(layout: Layout) -> int:
    """How often the OOM killer has taken a process of this container; 0 where the kernel does not tell."""
    for name in ("memory.events", "memory/memory.oom_control"):  # cgroup v2, v1
        try:
            lines = (Path(layout.root) / "sys/fs/cgroup" / name).read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return 0


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
