"""The zygote of a run over windows: dbt is imported once, and parses once for all windows where it
may.

Where nothing of what windows differ in can change what is parsed
(:mod:`dbt_runner.worker.sharing`), the first window's parse is kept, and the steps of all windows
are forked off the process that has it. Else this process parses nothing: it forks a zygote for each
window, which parses, runs the window's steps and is gone with all that dbt keeps in memory.

Upon ``EndWindow`` the zygote of a window ends, and upon ``BeginWindow`` this one gets the next one
ready.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from dbt_protocol.plans import RunPlan
from dbt_runner.layout import Layout
from dbt_runner.outcome.steps import narrow_to_window
from dbt_runner.redact import Redactor
from dbt_runner.worker import sharing
from dbt_runner.worker.channel import Channel, Commands
from dbt_runner.worker.forking import fork, leave, run_child
from dbt_runner.worker.zygote import Zygote
from dbt_runner.worker_messages import INTERRUPTED, BeginWindow, RunStep


class WindowZygote:
    """Gets one window after another ready, and runs its steps."""

    def __init__(
        self, dbt: Any, plan: RunPlan, layout: Layout, redactor: Redactor, channel: Channel
    ) -> None:
        self._dbt = dbt  # the module dbt_runner.worker.invocation
        self._plan = plan
        self._layout = layout
        self._redactor = redactor
        self._channel = channel
        self._kept: Zygote | None = None  # the one that has parsed in this process
        self._static_parser = (
            False  # has been started here, and its threads do not come along into a child
        )
        self._obstacle = ""  # why its parse does not do for the other windows

    def serve(self, commands: Commands, first: int) -> None:
        """Begin with this window and go on with those that the supervisor asks for."""
        self._obstacle = sharing.obstacle(self._plan, self._files([]))
        if not self._begin(first, commands):
            return
        for command in commands:
            if isinstance(command, BeginWindow):
                self._plan = replace(
                    self._plan,
                    project_dir=command.project_dir,
                    deps=command.deps,
                    cached=command.cached,
                )
                os.environ["DBT_PROJECT_DIR"] = self._plan.project_dir
                os.chdir(self._plan.project_dir)
                if not self._begin(command.window, commands):
                    return
            elif isinstance(command, RunStep) and self._kept:
                self._kept.step(command.step)

    def _begin(self, number: int, commands: Commands) -> bool:
        """Get a window ready; False if this process can do nothing more."""
        layout, plan = narrow_to_window(self._layout, self._plan, number)
        if self._obstacle:
            self._delegate(plan, layout, commands)
            return True
        if self._kept:
            self._kept.at(plan, layout, self._layout.parsed_manifest)
            if self._kept.prepare():
                self._kept.announce(count=self._kept.parses, obstacle="")
            return True
        return self._parse(plan, layout)

    def _parse(self, plan: RunPlan, layout: Layout) -> bool:
        """Parse for this window, and for all of them if what was parsed does not speak against
        it.
        """
        zygote = Zygote(self._dbt, plan, layout, self._redactor, self._channel)
        zygote.start_static_parser()
        self._static_parser = True
        zygote.at(plan, layout, self._layout.parsed_manifest)
        if not zygote.prepare():
            return False
        self._kept = zygote
        if zygote.by_step:
            self._obstacle = "the project looks at dbt's flags"
        elif zygote.of_invocation:
            # A window is a run of its own, and how many of them are in a pod must change nothing.
            self._obstacle = zygote.of_invocation
        elif not zygote.may_fork():
            self._obstacle = (
                "dbt's adapter has threads, so that each step needs a process of its own"
            )
        else:
            self._plan = replace(self._plan, project_dir=str(zygote.project))
            self._obstacle = sharing.obstacle(self._plan, self._files(zygote.manifests))
        return zygote.announce(count=zygote.parses, obstacle=self._obstacle)

    def _files(self, manifests: list[Any]) -> Iterator[Path]:
        """All files that can hold the project's code, also packages outside of its folder once they
        are known.
        """
        yield from sharing.code(Path(self._plan.project_dir))
        yield self._layout.profiles / "profiles.yml"
        for manifest in manifests:
            yield from self._dbt.files(manifest)

    def _delegate(self, plan: RunPlan, layout: Layout, commands: Commands) -> None:
        """Have a child parse for this window and run its steps, until that is over."""
        signal.signal(
            signal.SIGINT, lambda *_: None
        )  # meant for the child; this process ends with the pipe
        if self._kept:
            self._kept = None
            gc.unfreeze()
            gc.collect()

        def work() -> None:
            zygote = Zygote(self._dbt, plan, layout, self._redactor, self._channel)
            try:
                zygote.serve(
                    commands, static_parser=not self._static_parser, obstacle=self._obstacle
                )
            except KeyboardInterrupt:
                self._channel.send(INTERRUPTED)

        child = fork()
        if child == 0:
            run_child(work, parses=not self._static_parser)
        _, status = os.waitpid(child, 0)
        # What has ended it ends this process, too: a step of it may still be at work, whose reports
        # nobody could tell from those of the next window. The supervisor ends the whole group and
        # starts anew.
        if os.WIFSIGNALED(status):
            os.kill(os.getpid(), os.WTERMSIG(status))
        if os.WEXITSTATUS(status):
            leave(os.WEXITSTATUS(status))
