"""Runs dbt as a program, passes on what it prints and keeps the last of it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dbt_protocol.flag_variables import overrule
from dbt_runner.worker.failure import CannotRunError
from dbt_runner.worker.profile_secrets import make_scrubbed
from dbt_runner.worker_messages import INTERRUPTED, DbtEnd

LINES = 400  # that are kept of what a command prints, where nobody reads all of it
_TIME = re.compile(r"^\d\d:\d\d:\d\d(\.\d+)?\s+")
# What it prints is read here, so it is to be there, as text without colours. A variable is
# preferred to flags in dbt_project.yml.
_PRINTED = {
    "DBT_LOG_FORMAT": "text",
    "DBT_LOG_LEVEL": "info",
    "DBT_LOG_LEVEL_FILE": "debug",  # it would follow the other
    "DBT_USE_COLORS": "false",
}
_SILENCING = ("DBT_QUIET", "DBT_ENGINE_QUIET")
_REST_SECONDS = 5.0  # for output that is still in the pipe when dbt has ended


@dataclass(frozen=True)
class ProgramEnd:
    """How dbt's process has ended."""

    code: int  # negative: the signal that ended it
    lines: Sequence[str]  # the last that it printed, without the time


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
        # Meant for dbt, which is in the same group; this process ends with the pipe.
        signal.signal(signal.SIGINT, self._note)

    def _note(self, *_: object) -> None:
        self._interrupted = True

    def run(
        self, argv: Sequence[str], folder: Path, keep: int | None, shown: str = ""
    ) -> ProgramEnd:
        """Run dbt with this target and log path.

        Args:
            argv: the command line, without the program's name.
            folder: dbt's target and log path.
            keep: how many lines are kept; None: all, and the answers among them are not printed.
            shown: a text of the project: what stands in it is not kept out of dbt's log, or of what
                else dbt stars.

        Raises:
            CannotRunError: it cannot be started, or the run has been stopped, so it was not.
        """
        folder.mkdir(parents=True, exist_ok=True)
        program = shutil.which("dbt")
        if program is None:
            raise _cannot_start("there is no dbt on the PATH")
        if self._interrupted:
            raise CannotRunError(INTERRUPTED)
        try:
            process = self._start([program, *argv], folder, shown)
        except OSError as error:
            raise _cannot_start(str(error.strerror)) from error
        if self._interrupted:
            process.send_signal(signal.SIGINT)  # the group's came before this one belonged to it
        lines: deque[str] = deque(maxlen=keep)
        reader = threading.Thread(
            target=_pass_on,
            args=(process, lines),
            kwargs={"hide_answers": keep is None},
            daemon=True,
        )
        reader.start()
        code = process.wait()
        reader.join(_REST_SECONDS)  # not for ever: a process that dbt left behind may hold the pipe
        return ProgramEnd(code, list(lines))

    def _start(self, argv: Sequence[str], folder: Path, shown: str) -> subprocess.Popen[bytes]:
        scrubbed = {name: secret for name, secret in self._scrubbed.items() if secret not in shown}
        env = {name: value for name, value in os.environ.items() if name not in _SILENCING}
        env.update(scrubbed)
        overrule(env, DBT_TARGET_PATH=str(folder), DBT_LOG_PATH=str(folder), **_PRINTED)
        return subprocess.Popen(  # noqa: S603 - an argv list, and the dbt that the image brings
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
        )


def _cannot_start(why: str) -> CannotRunError:
    return CannotRunError(DbtEnd(reason="ConfigError", message=f"dbt cannot be started: {why}"))


def _pass_on(process: subprocess.Popen[bytes], lines: deque[str], *, hide_answers: bool) -> None:
    for data in process.stdout or ():
        text = _TIME.sub("", data.decode(errors="replace").rstrip())
        lines.append(text)
        if not (hide_answers and text.startswith("{")):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
