"""Telling what goes on, and running commands whose output is of interest only when they fail."""

import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

_BEGIN = time.monotonic()
_EVERY = 5.0  # seconds between two lines about the same command


class CommandError(Exception):
    """A command that failed, with the end of its output."""


def say(text: str) -> None:
    """Print a line with the time since the start."""
    print(f"[{time.monotonic() - _BEGIN:4.0f} s] {text}", flush=True)


def run(argv: Sequence[str | Path], *, check: bool = True, stdin: str | None = None) -> str:
    """Run a short command; returns what it printed."""
    done = subprocess.run(
        [str(word) for word in argv], input=stdin, capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        raise CommandError(
            f"{_title(argv)} failed ({done.returncode}):\n{done.stderr or done.stdout}".rstrip()
        )
    return done.stdout


def follow(
    argv: Sequence[str | Path],
    what: str,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    tell: Callable[[int, str], str] = lambda _, line: line[:100],
) -> None:
    """Run a long command, and say every few seconds how far it got: `tell` gets number and text of
    its last line.
    """
    say(what)
    with subprocess.Popen(
        [str(word) for word in argv],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        last = _watch(process.stdout, tell)
    if process.returncode:
        raise CommandError(f"{_title(argv)} failed ({process.returncode}):\n" + "\n".join(last))


def _watch(output: IO[str], tell: Callable[[int, str], str]) -> Sequence[str]:
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_pump, args=(output, lines), daemon=True).start()
    last: deque[str] = deque(maxlen=30)
    number, told = 0, time.monotonic()
    while True:
        try:
            line = lines.get(timeout=max(0.0, told + _EVERY - time.monotonic()))
        except queue.Empty:
            say(f"  … {tell(number, last[-1] if last else '')}")
            told = time.monotonic()
            continue
        if line is None:
            return last
        number += 1
        last.append(line)


def _pump(output: IO[str], lines: "queue.SimpleQueue[str | None]") -> None:
    for line in output:
        lines.put(line.rstrip())
    lines.put(None)


def wait_for(what: str, met: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until a condition is met that nothing reports by itself."""
    deadline = time.monotonic() + seconds
    told = time.monotonic()
    while not met():
        now = time.monotonic()
        if now > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for {what}")
        if now > told + _EVERY:
            say(f"  waiting for {what}")
            told = now
        time.sleep(0.1)


def _title(argv: Sequence[str | Path]) -> str:
    return " ".join(str(word) for word in argv[:4])
