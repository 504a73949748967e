"""Programs that outlive the command that started them: started, recorded, found again and stopped.

A process is known by its id *and* its start time, so that a process that got the same id later is
never touched.
"""

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.cluster.state import LOGS, NETNS, STATE, write

_RECORDS = STATE / "processes"


def start(name: str, argv: Sequence[str]) -> None:
    """Start a program in the cluster's network, its output in a log file."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            ["nsenter", f"--net={NETNS}", "--", *argv],
            cwd=STATE,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    record = {"pid": process.pid, "started": _started(process.pid), "argv": list(argv)}
    write(_RECORDS / f"{name}.json", json.dumps(record))


def running(name: str, argv: Sequence[str] | None = None) -> bool:
    """Say whether a program runs; with `argv`, whether it runs with these arguments."""
    try:
        record = json.loads((_RECORDS / f"{name}.json").read_text())
    except FileNotFoundError:
        return False
    return _started(record["pid"]) == record["started"] is not None and argv in (
        None,
        record["argv"],
    )


def stop(names: Sequence[str], seconds: float = 10) -> None:
    """Stop programs, by force those that do not end in this time."""
    handles = [handle for name in names for handle in _handles(name)]
    try:
        _end(handles, seconds)
    finally:
        for handle in handles:
            os.close(handle)
    for name in names:
        (_RECORDS / f"{name}.json").unlink(missing_ok=True)


def names() -> list[str]:
    """Name the programs that were started and not stopped."""
    return sorted(path.stem for path in _RECORDS.glob("*.json"))


def kill(pids: Iterable[int]) -> None:
    """Kill processes at once, and wait for their end."""
    handles = [handle for pid in pids for handle in _open(pid)]
    try:
        _end(handles, 0)
    finally:
        for handle in handles:
            os.close(handle)


def all_arguments() -> Iterator[tuple[int, list[str]]]:
    """Yield id and arguments of every process of the machine."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield (
                int(folder.name),
                (folder / "cmdline").read_text(errors="replace").split("\0")[:-1],
            )
        except OSError:
            continue


def tail(name: str, lines: int = 20) -> str:
    """Return the end of a program's log."""
    return "\n".join((LOGS / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])


def _handles(name: str) -> list[int]:
    if not running(name):
        return []
    handles = _open(json.loads((_RECORDS / f"{name}.json").read_text())["pid"])
    # Opened first, checked again after: from here on the handle means this process and no other.
    return handles if running(name) else []


def _open(pid: int) -> list[int]:
    try:
        return [os.pidfd_open(pid)]
    except ProcessLookupError:
        return []


def _end(handles: Sequence[int], seconds: float) -> None:
    if seconds:
        _signal(handles, signal.SIGTERM)
    alive = _wait(handles, seconds)
    _signal(alive, signal.SIGKILL)
    _wait(alive, 60)


def _signal(handles: Iterable[int], number: signal.Signals) -> None:
    for handle in handles:
        try:
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            continue


def _wait(handles: Iterable[int], seconds: float) -> list[int]:
    """Wait for processes to end; returns those that did not. A handle becomes readable at the end
    of its process.
    """
    deadline = time.monotonic() + seconds
    alive = list(handles)
    while alive:
        ended, _, _ = select.select(alive, [], [], max(0.0, deadline - time.monotonic()))
        if not ended:
            break
        alive = [handle for handle in alive if handle not in ended]
    return alive


def _started(pid: int) -> int | None:
    """Return a process's start time, or nothing if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])
