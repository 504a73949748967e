from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from dbt_runner.presence import Watch, held
from tests.support.pods import HOME, end_later

HOLD = """
import subprocess, sys
from pathlib import Path
from dbt_runner.presence import held
with held(Path(sys.argv[1])):
    child = subprocess.Popen(["sleep", "60"])
    print(child.pid, flush=True)
    sys.stdin.read()
"""


def test_nobody_is_gone_who_was_never_there(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "alive")
    assert not watch.over
    (tmp_path / "alive").touch()
    assert not watch.over


def test_the_end_of_the_holder_shows(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "alive")
    with held(tmp_path / "alive"):
        assert not watch.over
    assert watch.over


def test_the_end_shows_to_one_who_comes_after_it(tmp_path: Path) -> None:
    with held(tmp_path / "alive"):
        pass
    assert Watch(tmp_path / "alive").over


def test_where_locks_keep_nobody_out_a_free_one_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    with held(tmp_path / "alive"):
        assert not Watch(tmp_path / "alive").over


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_shows_however_the_holder_ends_and_whatever_it_has_started(
    tmp_path: Path, number: signal.Signals
) -> None:
    argv = [sys.executable, "-c", HOLD, str(tmp_path / "alive")]
    watch = Watch(tmp_path / "alive")
    env = {"PYTHONPATH": HOME}
    with subprocess.Popen(
        argv,
        text=True,
        env=env,
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        end_later(partial(os.killpg, holder.pid, signal.SIGKILL))  # the child is of its group
        assert holder.stdout.readline()
        assert not watch.over
        holder.send_signal(number)
        holder.wait()
        assert watch.over
