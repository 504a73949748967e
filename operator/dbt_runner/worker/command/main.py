"""Where the process begins that runs dbt as a program."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from dbt_protocol.plans import RunPlan
from dbt_runner.layout import Layout
from dbt_runner.secret_sources import make_scanning_redactor
from dbt_runner.worker.assignment import Assignment
from dbt_runner.worker.channel import Channel, Commands, Pipes
from dbt_runner.worker.command.dbt_program import DbtProgram
from dbt_runner.worker.command.packages import install_packages
from dbt_runner.worker.command.step_program import StepProgram
from dbt_runner.worker.command.validator import Validator
from dbt_runner.worker.failure import CannotRunError
from dbt_runner.worker.project_code import survey_words
from dbt_runner.worker.sharing import code
from dbt_runner.worker.validation import refuse_changing_variables
from dbt_runner.worker_messages import Began, Ready, RunStep, StepEnded


def main(assignment: Assignment, pipes: Pipes) -> int:
    """Run until the supervisor closes the pipe, or, with a step's number, this step alone."""
    layout, plan = assignment.narrow()
    channel = Channel(pipes.events)
    redactor = make_scanning_redactor(layout.profile, os.environ)
    program = DbtProgram(redactor.secrets)
    try:
        engine = program.engine
        if assignment.step is not None:
            _end_as(_run_alone(program, plan, layout, channel, assignment.step))
            return 0
        channel.send(Began("Program", engine.version, keeps_results=engine.leaves_truth))
        refuse_changing_variables()
        plan = install_packages(program, plan, layout)
        validator = Validator(program, plan, layout)
        validator.validate_steps()
    except CannotRunError as error:
        channel.send(error.make_message())
        return 0
    known = survey_words(redactor, layout, code(Path(plan.project_dir)))
    words, unasked = sorted(known.words), sorted(known.unasked)
    channel.send(Ready(engine.version, "Command", plan.project_dir, words=words, unasked=unasked))
    steps = StepProgram(program, plan, layout, channel, validator.expected)
    for command in Commands(pipes.commands):
        if isinstance(command, RunStep):
            channel.send(StepEnded(command.step, steps.run_step(command.step)))
    return 0


def _run_alone(
    program: DbtProgram, plan: RunPlan, layout: Layout, channel: Channel, number: int
) -> int:
    """Run a step whose turn has come after the process of those before it has died."""
    validator = Validator(program, plan, layout)
    if not program.engine.leaves_truth:
        validator.validate_step(number)
    return StepProgram(program, plan, layout, channel, validator.expected).run_step(number)


def _end_as(status: int) -> None:
    """End by the signal that has ended dbt, if there is one."""
    if status:
        with suppress(OSError):  # of SIGKILL, which has no handler
            signal.signal(status, signal.SIG_DFL)
        os.kill(os.getpid(), status)
