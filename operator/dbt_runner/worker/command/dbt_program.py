"""Runs dbt as a program, passes on what it prints and keeps the last of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dbt_protocol.flag_variables import overrule
from dbt_runner.outcome.sentences import first_lines
from dbt_runner.worker.command.engine import Engine, identify_engine
from dbt_runner.worker.command.node_events import NodeEvents, OnNode, ignore
from dbt_runner.worker.command.printer import Printer
from dbt_runner.worker.failure import CannotRunError
from dbt_runner.worker.profile_secrets import make_scrubbed
from dbt_runner.worker_messages import INTERRUPTED, DbtEnd

LINES = 400  # that are kept of what a command prints, where nobody reads all of it
# What it prints is read here, so it is to be there, as text without colours. A variable is
# preferred to flags in dbt_project.yml.
_PRINTED = {
    "DBT_LOG_FORMAT": "text",
    "DBT_LOG_LEVEL": "info",
    "DBT_LOG_LEVEL_FILE": "debug",  # it would follow the other
    "DBT_USE_COLORS": "false",
}
_SILENCING = ("DBT_QUIET", "DBT_ENGINE_QUIET")
# For dbt 2, which would ask the network for later releases; and which, where one of its threads
# breaks down, ends there and then in the middle of all nodes, unless it is to tell of that. dbt 1
# knows neither.
_STEADYING = {"DBT_DISABLE_VERSION_CHECK": "true", "RUST_BACKTRACE": "1"}
# dbt 1 looks on the network for its newest release, before it says which one it is: with nobody
# there to ask, it has its answer at once.
_NOBODY = "http://127.0.0.1:9"
_OFFLINE = {"http_proxy": _NOBODY, "https_proxy": _NOBODY, "HTTPS_PROXY": _NOBODY, "no_proxy": ""}
_REST_SECONDS = 5.0  # for output that is still in the pipe when dbt has ended


@dataclass(frozen=True)
class ProgramEnd:
    """How dbt's process has ended."""

    code: int  # negative: the signal that ended it
    lines: Sequence[str]  # the last that it printed, without the time
    events: NodeEvents | None = None  # what its log has told, where that is JSON


class DbtProgram:
    """dbt as the image brings it. From here on SIGINT ends no more than dbt."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Begin.

        Args:
            secrets: what dbt keeps out of its own log, which is uploaded as it is if the container
                is killed.
        """
        self._scrubbed = make_scrubbed(secrets)
        self._interrupted = False
        self._engine: Engine | None = None
        # Meant for dbt, which is in the same group; this process ends with the pipe.
        signal.signal(signal.SIGINT, self._note)

    def _note(self, *_: object) -> None:
        self._interrupted = True

    @property
    def engine(self) -> Engine:
        """What it is.

        Raises:
            CannotRunError: it does not say.
        """
        if self._engine is None:
            self._engine = self._identify()
        return self._engine

    def _identify(self) -> Engine:
        env = {**os.environ, **_STEADYING, **_OFFLINE}
        said, _ = _start([_find_program(), "--version"], env).communicate()
        answer = said.decode(errors="replace")
        if self._interrupted:
            raise CannotRunError(INTERRUPTED)
        engine = identify_engine(answer)
        if engine is None:
            told = first_lines(answer) or "nothing"
            raise _cannot_start(f"what is called dbt answers to --version: {told}")
        return engine

    def run(
        self,
        argv: Sequence[str],
        folder: Path,
        keep: int | None,
        shown: str = "",
        on_node: OnNode = ignore,
    ) -> ProgramEnd:
        """Run dbt with this target and log path.

        Args:
            argv: the command line, without the program's name.
            folder: dbt's target and log path.
            keep: how many lines are kept; None: all, and the answers among them are not printed.
            shown: a text of the project: what stands in it is not kept out of dbt's log, or of what
                else dbt stars.
            on_node: is told how far it is, where dbt tells that.

        Raises:
            CannotRunError: it cannot be started, or the run has been stopped, so it was not.
        """
        folder.mkdir(parents=True, exist_ok=True)
        argv = [_find_program(), *argv]
        if self._interrupted:
            raise CannotRunError(INTERRUPTED)
        env = self._make_environment(folder, shown)
        events = NodeEvents(on_node) if self.engine.tells_nodes else None
        if events is not None:
            env["DBT_LOG_FORMAT"] = "json"
        process = _start(argv, env)
        if self._interrupted:
            process.send_signal(signal.SIGINT)  # the group's came before this one belonged to it
        lines: deque[str] = deque(maxlen=keep)
        printer = Printer(lines, events, hides_answers=keep is None)
        reader = threading.Thread(target=printer.pass_on, args=(process.stdout,), daemon=True)
        reader.start()
        code = process.wait()
        _join(reader, printer)
        return ProgramEnd(code, list(lines), events)

    def _make_environment(self, folder: Path, shown: str) -> dict[str, str]:
        scrubbed = {name: secret for name, secret in self._scrubbed.items() if secret not in shown}
        env = {name: value for name, value in os.environ.items() if name not in _SILENCING}
        env.update(scrubbed)
        overrule(env, DBT_TARGET_PATH=str(folder), DBT_LOG_PATH=str(folder), **_PRINTED)
        env.update(_STEADYING)
        return env


def _join(reader: threading.Thread, printer: Printer) -> None:
    """Wait for the rest of the output, for as long as there comes some: a process that dbt has left
    behind may hold the pipe.
    """
    before = -1
    while reader.is_alive() and printer.count != before:
        before = printer.count
        reader.join(_REST_SECONDS)


def _find_program() -> str:
    program = shutil.which("dbt")
    if program is None:
        raise _cannot_start("there is no dbt on the PATH")
    return program


def _start(argv: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - an argv list, and the dbt that the image brings
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
        )
    except OSError as error:
        raise _cannot_start(str(error.strerror)) from error


def _cannot_start(why: str) -> CannotRunError:
    return CannotRunError(DbtEnd(reason="ConfigError", message=f"dbt cannot be started: {why}"))
