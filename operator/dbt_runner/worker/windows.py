"""The zygote of a run over windows: dbt is imported once, and parses once for all windows where it
may.

Where the first window's parse has read nothing of what windows differ in
(:mod:`dbt_runner.worker.sharing`), it is kept, and the steps of all windows are forked off the
process that has it. Else this process forks a zygote for each of the others, which parses, runs the
window's steps and is gone with all that dbt keeps in memory.

Upon ``EndWindow`` the zygote of a window ends, and upon ``BeginWindow`` this one gets the next one
ready.
"""

from __future__ import annotations

import gc
import os
from dataclasses import replace

from dbt_protocol.plans import RunPlan
from dbt_runner.layout import Layout
from dbt_runner.outcome.steps import narrow_to_window
from dbt_runner.worker import sharing
from dbt_runner.worker.channel import Commands
from dbt_runner.worker.dbt_api import Means
from dbt_runner.worker.deps import enter_project
from dbt_runner.worker.forking import fork_child, leave, leave_interrupts_to_children
from dbt_runner.worker.zygote import Zygote
from dbt_runner.worker_messages import INTERRUPTED, BeginWindow, RunStep


class WindowZygote:
    """Gets one window after another ready, and runs its steps."""

    def __init__(self, means: Means, plan: RunPlan, layout: Layout) -> None:
        self._means = means
        self._plan = plan
        self._layout = layout
        self._kept: Zygote | None = None  # the one that has parsed in this process
        # Has been started here, and its threads do not come along into a child.
        self._static_parser = False
        self._obstacle = ""  # why its parse does not do for the other windows

    def serve(self, commands: Commands, first: int) -> None:
        """Begin with this window and go on with those that the supervisor asks for."""
        self._obstacle = sharing.find_obstacle(self._plan, ())
        if not self._begin(first, commands):
            return
        for command in commands:
            if isinstance(command, BeginWindow):
                self._take_over(command)
                if not self._begin(command.window, commands):
                    return
            elif isinstance(command, RunStep) and self._kept:
                self._kept.run_step(command.step)

    def _take_over(self, command: BeginWindow) -> None:
        """Keep what has changed in the plan since."""
        self._plan = replace(
            self._plan,
            project_dir=command.project_dir,
            deps=command.deps,
            cached=command.cached,
        )
        enter_project(self._plan.project_dir)

    def _begin(self, number: int, commands: Commands) -> bool:
        """Get a window ready; False if this process can do nothing more."""
        layout, plan = narrow_to_window(self._layout, self._plan, number)
        if self._obstacle:
            self._delegate(plan, layout, commands)
            return True
        if self._kept:
            self._kept.move_to_window(plan, layout)
            if self._kept.prepare():
                self._kept.announce(count=self._kept.parses, obstacle="")
            return True
        return self._parse(plan, layout)

    def _parse(self, plan: RunPlan, layout: Layout) -> bool:
        """Parse for this window, and for all of them if what was parsed does not speak against
        it.
        """
        zygote = Zygote(self._means, plan, layout, shared=self._layout)
        zygote.start_static_parser()
        self._static_parser = True
        if not zygote.prepare():
            return False
        self._kept = zygote
        self._obstacle = self._judge(zygote)
        return zygote.announce(count=zygote.parses, obstacle=self._obstacle)

    def _judge(self, zygote: Zygote) -> str:
        """Why what was parsed does not do for the other windows; empty if it does."""
        parsed = zygote.parsed
        if not zygote.may_fork():
            return "dbt's adapter has threads, so that each step needs a process of its own"
        self._plan = replace(self._plan, project_dir=str(parsed.project))
        reads = (loaded.record.reads for loaded in parsed.loaded)
        return sharing.find_obstacle(self._plan, reads)

    def _delegate(self, plan: RunPlan, layout: Layout, commands: Commands) -> None:
        """Have a child parse for this window and run its steps, until that is over."""
        leave_interrupts_to_children()
        if self._kept:
            self._kept = None
            gc.unfreeze()
            gc.collect()

        def work() -> None:
            zygote = Zygote(self._means, plan, layout)
            try:
                zygote.serve(
                    commands, static_parser=not self._static_parser, obstacle=self._obstacle
                )
            except KeyboardInterrupt:
                self._means.channel.send(INTERRUPTED)

        child = fork_child(work, parses=not self._static_parser)
        _, status = os.waitpid(child, 0)
        # What has ended it ends this process, too: a step of it may still be at work, whose reports
        # nobody could tell from those of the next window. The supervisor ends the whole group and
        # starts anew.
        if os.WIFSIGNALED(status):
            os.kill(os.getpid(), os.WTERMSIG(status))
        if os.WEXITSTATUS(status):
            leave(os.WEXITSTATUS(status))
