"""The tests that start dbt, against the other minor versions of dbt that we support: ``make unit-versions``.

Each version has a lock in images/dbt, of which an image is made too. The tests themselves run in the usual environment,
which has the version of images/dbt/requirements.lock; what they start is the dbt of another one, of its lock alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.images import DBT_LOCKS
from tests.cluster.progress import CommandError, follow, run, say
from tests.cluster.state import CACHE, REPOSITORY

TESTS = (
    "tests/unit/runner/test_dbt.py",
    "tests/unit/runner/test_flag_variables.py",
    "tests/unit/runner/test_resume.py",
    "tests/unit/runner/test_state.py",
    "tests/unit/runner/test_windows.py",
    "tests/unit/operator/test_dbt_args.py",
)
_ENVIRONMENTS = CACHE / "venvs"
_KEPT = 3  # environments of each version: those of another branch, or of tests that run meanwhile
_UV = Path(sys.executable).with_name("uv")


def environment(version: str, lock: Path, folder: Path = _ENVIRONMENTS) -> Path:
    """Return the environment with what the lock pins and nothing else; it is made if it is not there.

    Raises:
        CommandError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made_of = lock.read_bytes() + sys.version.encode() + sys.base_prefix.encode()
    found = folder / f"{version}-{hashlib.sha256(made_of).hexdigest()[:12]}"
    mark = found / "ready"
    with (folder / f"{version}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not mark.exists():
            _make(found, version, lock)
        mark.touch()
        _remove_old(folder, version)
    return found


def _make(target: Path, version: str, lock: Path) -> None:
    """Make it in its final place, as its scripts hold its path; what a killed one has left goes first."""
    shutil.rmtree(target, ignore_errors=True)
    run([_UV, "venv", "--quiet", "--python", sys.executable, target])
    install = [_UV, "pip", "install", "--python", target / "bin" / "python"]
    follow([*install, "--require-hashes", "--no-deps", "--requirement", lock], f"installing dbt {version}")
    run([_UV, "pip", "check", "--python", target / "bin" / "python"])


def _remove_old(folder: Path, version: str) -> None:
    marks = sorted(folder.glob(f"{version}-*/ready"), key=lambda path: path.stat().st_mtime, reverse=True)
    for mark in marks[_KEPT:]:
        say(f"removing {mark.parent}")
        shutil.rmtree(mark.parent)


def _tested(version: str, lock: Path, arguments: list[str]) -> bool:
    say(f"dbt {version}")
    settings: Mapping[str, str] = {
        **os.environ,
        "DBT_BIN": str(environment(version, lock) / "bin"),
        "DBT_VERSION": version,
    }
    tests = () if any(Path(argument.split("::")[0]).exists() for argument in arguments) else TESTS
    argv = [sys.executable, "-m", "pytest", "--quiet", *tests, *arguments]
    return subprocess.run(argv, cwd=REPOSITORY, env=settings, check=False).returncode == 0


def main(arguments: list[str]) -> int:
    """Run these tests, or the usual ones, against each version, and say which of the versions fail. Other arguments are
    pytest's.
    """
    try:
        failed = [version for version, lock in DBT_LOCKS.items() if not _tested(version, lock, arguments)]
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    if failed:
        say(f"tests fail with dbt {', '.join(failed)}")
    return 1 if failed or not DBT_LOCKS else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
