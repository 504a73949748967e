"""Where the cluster keeps its things: a cache that outlives it, and inside it the state of the
running one.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.progress import say

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dbt-operator"

# For what is of use during one command only; what a killed one has left is removed by the next.
TEMPORARY = CACHE / "temporary"

# Everything below here belongs to one running cluster, and `down` removes it.
STATE = CACHE / "cluster"
LOGS = STATE / "logs"
KUBECONFIG = STATE / "kubeconfig"
NETNS = STATE / "netns"
BIN = STATE / "bin"
IMAGES = STATE / "images.json"

# The name of what it needs on the machine outside of this folder. Another folder makes another
# cluster.
NAME = f"dbt-operator-{hashlib.sha256(str(STATE).encode()).hexdigest()[:6]}"


class ClusterError(Exception):
    """Something that the user must know; its text is all that is shown."""


@contextmanager
def locked() -> Iterator[None]:
    """Let one invocation at a time change the cluster or the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another invocation to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write(path: Path, text: str, mode: int = 0o644) -> Path:
    """Write a file as a whole: a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text)
    unfinished.chmod(mode)
    unfinished.replace(path)
    return path


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Make a folder as a whole: it gets its name when all that belongs into it is there."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    yield unfinished
    unfinished.replace(path)
