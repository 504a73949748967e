"""Runs git, with no configuration but its own, for as long as there is time."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from dbt_runner.deadline import Deadline
from dbt_runner.prepare.git_access import Access
from dbt_runner.prepare.git_messages import CommandError, SourceError, say, shorten, tidy
from dbt_runner.redact import Redactor

# Objects of any size are streamed and packs are made by one thread, so that a large repository fits
# into little memory.
_CONFIG = """
[core]
    hooksPath = /dev/null
    bigFileThreshold = 8m
    autocrlf = false
[pack]
    threads = 1
    windowMemory = 32m
[http]
    lowSpeedLimit = 1000
    lowSpeedTime = 30
[gc]
    auto = 0
[maintenance]
    auto = false
[advice]
    detachedHead = false
"""


@dataclass(frozen=True)
class Limits:
    """How long things may take."""

    total_seconds: float = 300
    answer_seconds: float = 30  # until a server has told its refs
    pauses: Sequence[float] = (1, 3)  # before another try, where the network failed


class Git:
    """Runs git in one folder."""

    def __init__(
        self, folder: Path, private: Path, access: Access, protocols: Sequence[str], limits: Limits
    ) -> None:
        self.limits = limits
        self._folder = folder
        self._protocols = protocols
        self._redactor = Redactor(access.secrets)
        self._deadline = Deadline(limits.total_seconds)
        config = private / "config"
        config.write_text("\n".join([_CONFIG, *access.ca, *access.config]) + "\n", encoding="utf-8")
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(private),
            "LC_ALL": "C",  # its messages are looked at
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(config),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "GIT_ALLOW_PROTOCOL": ":".join(protocols),  # also of redirects
            "GIT_SSH_COMMAND": shlex.join(access.ssh),
            "GIT_SSH_VARIANT": "ssh",
        }

    def move(self, folder: Path, private: Path, access: Access) -> Git:
        """The same in another folder, for as long as there is time left for this one."""
        limits = replace(self.limits, total_seconds=self._deadline.remaining() or 0)
        return Git(folder, private, access, self._protocols, limits)

    def local(self, *arguments: str) -> str:
        """Run a command that needs no network, and gets none: git would fetch what is missing in a
        repository that holds only a part of the other.
        """
        return self._run(arguments, self._deadline.remaining() or 0, {"GIT_ALLOW_PROTOCOL": "none"})

    def remote(self, *arguments: str, seconds: float | None = None) -> str:
        """Run a command that talks to the server, again if the network fails."""
        for pause in (*self.limits.pauses, None):
            left = self._deadline.remaining() or 0
            try:
                return self._run(arguments, left if seconds is None else min(seconds, left))
            except CommandError as error:
                if (
                    error.cause != "unreachable"
                    or pause is None
                    or (self._deadline.remaining() or 0) <= pause
                ):
                    raise
                say(f"{error.said}: trying again in {pause:g} s")
                time.sleep(pause)
        raise AssertionError  # not reached

    def fetch(self, *arguments: str) -> None:
        """Fetch from a server, and nothing but what is asked for."""
        self.remote("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", *arguments)

    def remove(self) -> None:
        """Remove the repository, and leave the files that were checked out."""
        shutil.rmtree(self._folder / ".git", ignore_errors=True)

    def commit(self, name: str) -> str:
        """The whole hash of the commit that a hash or a tag stands for."""
        return self.local("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}").strip()

    def has(self, commit: str) -> bool:
        """Whether it has been fetched."""
        with suppress(CommandError):
            return bool(self.commit(commit))
        return False

    def is_shallow(self) -> bool:
        """Whether history is cut off somewhere."""
        return (self._folder / ".git" / "shallow").exists()

    def _run(
        self, arguments: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None
    ) -> str:
        try:
            # An argv list; the API has checked what comes from a spec.
            process = subprocess.Popen(  # noqa: S603
                ["git", "-C", str(self._folder), *arguments],  # noqa: S607 - the image's own
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**self._environment, **(environment or {})},
                start_new_session=True,  # so that its helpers end with it
                umask=0o002,  # the dbt container may be another user of the same group
                text=True,
                errors="replace",
            )
        except FileNotFoundError as error:
            raise SourceError(
                "there is no git here: the runner image is not the operator's"
            ) from error
        try:
            output, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"git {arguments[0]} timed out after {seconds:.0f} s") from error
        finally:
            _end(process)
        if process.returncode:
            short = self._redactor.text(shorten(said))
            raise CommandError(short or f"git {arguments[0]} failed", tidy(said))
        return output


def _end(process: subprocess.Popen[str]) -> None:
    """Make an end of the command and of what it has started, if that is still necessary."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
