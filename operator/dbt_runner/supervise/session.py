"""The process that runs dbt, from start to end, and the one loop in which the supervisor waits.

While it waits for a message of that process, it passes dbt's output on, counts the nodes, reaps
children, and acts on signals and deadlines. Nothing else in the supervisor waits for anything.
"""

from __future__ import annotations

import selectors
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from dbt_protocol.plans import PLAN_VARIABLE, RunPlan
from dbt_runner.deadline import Deadline
from dbt_runner.layout import Layout
from dbt_runner.supervise.child import Child
from dbt_runner.supervise.interpreter import find_entry_point
from dbt_runner.supervise.os_signals import Signals, reap
from dbt_runner.supervise.output import Output
from dbt_runner.supervise.progress import Tally, find_soonest
from dbt_runner.supervise.stopping import Stop
from dbt_runner.worker_messages import Began, Message, NodeProgress, Secrets, StepEnded

Wanted = TypeVar("Wanted", bound=Message)


class Session:
    """The process that runs dbt, and what it has told of itself.

    There may be none, or one after another: a run needs a new one when the last has died, and where
    each step has a process of its own.
    """

    def __init__(
        self,
        layout: Layout,
        plan: RunPlan,
        variables: Mapping[str, str],
        signals: Signals,
        output: Output,
    ) -> None:
        self.plan = plan  # with the project's folder where it is now
        self.output = output
        self.tally = Tally(layout.progress)
        self.child: Child | None = None
        self.logged_in = False  # the warehouse has answered in this attempt
        self.isolation = "Fork"  # of the process that was prepared last
        self.version = ""  # dbt's
        self.engine = ""  # what has run it, as in Summary
        self.keeps_results = True  # what it has left when it was stopped is true
        self.stop = Stop(plan, signals, output)
        self._root = layout.root
        self._variables = dict(variables)
        self._signals = signals

    @property
    def is_cancelled(self) -> bool:
        """Whether the pod is being deleted."""
        return self._signals.stop

    @property
    def has_died(self) -> bool:
        """Whether there was a process, which has ended without being asked to."""
        return self.child is not None and self.child.status is not None

    def restart_clock(self) -> None:
        """Begin with a window, which has a time limit of its own."""
        self.stop = Stop(self.plan, self._signals, self.output)

    def move_project(self, folder: str, *, to_share: bool) -> None:
        """Take this folder for the project: ``dbt deps`` may have needed one that it can write to.

        Args:
            folder: where the project is now.
            to_share: other windows follow, for which its packages and its first parse are there.
        """
        self.plan = replace(self.plan, project_dir=folder)
        if to_share:
            self.plan = replace(self.plan, deps="Never", cached=False)
        self._variables["DBT_PROJECT_DIR"] = folder

    def start_child(self, window: int | None, step: int | None = None) -> None:
        """Start a process, for the window if there is one, and for a single step if that is given.

        Raises:
            InterpreterError: there is nothing that could be started.
        """
        interpreter, entry = find_entry_point(self._variables.get("PATH"), self.plan.isolation)
        numbers = {"window": window, "step": step}
        options = [f"--{name}={number}" for name, number in numbers.items() if number is not None]
        self.child = Child(
            interpreter,
            [entry, f"--root={self._root}", *options],
            {**self._variables, PLAN_VARIABLE: self.plan.to_json()},
            self.plan.project_dir,
        )

    def end_child(self) -> None:
        """Let the process end by itself, then make sure of it."""
        if self.child:
            self.child.finish()
            if self.child.status is None:
                self.wait_for(StepEnded)
            self._pass_output_on(self.child)
            self.child.close()
            self.child = None

    def wait_for(self, *wanted: type[Wanted]) -> Wanted | StepEnded:
        """Wait for a message of one of these kinds, or for the process's end, which comes as
        ``StepEnded`` with its status.
        """
        child = self.child
        if child is None:
            raise RuntimeError("no process was started")
        with self._select() as selector:
            while True:
                self.stop_if_due()
                message = self._take_message(child, wanted)
                if message:
                    self._pass_output_on(child)
                    return message
                seconds = find_soonest(self.stop.seconds_left(), self.tally.flush())
                self._handle_next(selector, seconds)

    def pause(self, seconds: float) -> None:
        """Wait for so long, or until the run is to be stopped."""
        over = Deadline(seconds)
        with self._select() as selector:
            while not over.passed:
                self.stop_if_due()
                if self.stop.reason:
                    break
                self._handle_next(
                    selector, find_soonest(over.remaining(), self.stop.seconds_left())
                )
        if self.has_died:
            self.end_child()

    def stop_if_due(self) -> None:
        """Interrupt or kill dbt if it is time to."""
        self.stop.act_if_due(self.child)

    def _select(self) -> selectors.BaseSelector:
        """All there is to wait for: signals, and what a process says."""
        selector = selectors.DefaultSelector()
        selector.register(self._signals.descriptor, selectors.EVENT_READ)
        if self.child:
            selector.register(self.child.events, selectors.EVENT_READ)
            selector.register(self.child.output, selectors.EVENT_READ)
        return selector

    def _take_message(
        self, child: Child, wanted: tuple[type[Wanted], ...]
    ) -> Wanted | StepEnded | None:
        """The first of the wanted messages that has arrived; those before it are counted."""
        self._learn_secrets(child)
        while child.received:
            message = child.received.popleft()
            if isinstance(message, wanted):
                return message
            if isinstance(message, NodeProgress):
                self.tally.count(message)
            elif isinstance(message, Began):
                self.engine = message.engine
                self.version = message.dbt_version or self.version
                self.keeps_results = message.keeps_results
        return None if child.status is None else StepEnded(step=0, status=child.status)

    def _learn_secrets(self, child: Child) -> None:
        """Take in what has arrived. Secrets come before everything else."""
        child.read_messages()
        while child.received and isinstance(child.received[0], Secrets):
            self.output.learn_secrets(child.received[0].values)
            child.received.popleft()

    def _handle_next(self, selector: selectors.BaseSelector, seconds: float | None) -> None:
        """Wait for so long, or for something to happen, and act on that."""
        for key, _ in selector.select(seconds):
            if key.fd == self._signals.descriptor:
                self._reap()
            elif self.child and not self._read(self.child, key.fd):
                selector.unregister(key.fd)

    def _read(self, child: Child, descriptor: int) -> bool:
        """Read from one of the process's pipes; False at its end."""
        if descriptor == child.output:
            return self._pass_output_on(child)
        return child.read_messages()

    def _reap(self) -> None:
        self._signals.drain()
        ended = reap()
        if self.child:
            self.child.status = ended.get(self.child.pid, self.child.status)

    def _pass_output_on(self, child: Child) -> bool:
        """Print what dbt has printed since; False at the end of its output."""
        data = child.read_output()
        # A process sends its secrets before it prints anything, so for this output they are there
        # by now.
        self._learn_secrets(child)
        self.output.pass_on(data)
        return data is not None
