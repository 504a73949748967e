"""That a test leaves nothing behind, however it ends."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.pods import Pod, Process, children, end_all, step

# A "dbt" that goes on when its runner is gone, in a group of its own, as one does that is in the
# middle of a query.
DEAF = f"""#!{sys.executable}
import os, signal, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
print("deaf", flush=True)
while True:
    signal.pause()
"""


def deaf(root: Path) -> tuple[Pod, Process]:
    pod = Pod(root / "pod", {})
    folder = root / "bin"
    folder.mkdir()
    (folder / "stub-python").write_text(DEAF)
    (folder / "dbt").write_text(f"#!{folder}/stub-python\n")
    for path in folder.iterdir():
        path.chmod(0o755)
    pod.env["PATH"] = str(folder)
    process = pod.start(step("build"))
    pod.wait_for(process, "deaf")
    return pod, process


def test_all_that_a_pod_has_started_ends_with_the_test(tmp_path: Path) -> None:
    _, process = deaf(tmp_path)
    (dbt,) = children(process.pid)
    (below,) = children(dbt)
    end_all()
    assert process.returncode == -9
    assert process.stdout is not None
    assert process.stdout.closed
    assert [pid for pid in (dbt, below) if _lives(pid)] == []


def test_also_what_its_runner_has_left_behind(tmp_path: Path) -> None:
    _, process = deaf(tmp_path)
    (dbt,) = children(process.pid)
    process.kill()
    process.wait()
    assert _lives(dbt)
    end_all()
    assert not _lives(dbt)


def _lives(pid: int) -> bool:
    """Whether it has an environment: what has ended and waits to be reaped has none."""
    try:
        return bool(Path(f"/proc/{pid}/environ").read_bytes())
    except OSError:
        return False
