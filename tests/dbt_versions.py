"""The tests that are marked ``dbt``, against the other minor versions of dbt that we support:
``make unit-versions``.

Each version has a lock in images/dbt, of which an image is made too. The tests themselves run in
the usual environment, which has the version of images/dbt/requirements.lock; what they start is the
dbt of another one, of its lock alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from packaging.requirements import Requirement

from tests.cluster.images import DBT_LOCKS
from tests.cluster.progress import CommandError, follow, run, say
from tests.cluster.state import CACHE, REPOSITORY

# What is ours, and what dbt has little part in, is repeated by `make test-full` alone.
_MARKS = "dbt or dbt_in_full" if os.environ.get("DBT_OPERATOR_TEST_FULL") else "dbt"
_ENVIRONMENTS = CACHE / "venvs"
_KEPT = 3  # environments of each version: those of another branch, or of tests that run meanwhile
_UV = Path(sys.executable).with_name("uv")


def environment(version: str, lock: Path, folder: Path = _ENVIRONMENTS) -> Path:
    """Return the environment with what the lock pins and nothing else; it is made if it is not
    there.

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
    """Make it in its final place, as its scripts hold its path; what a killed one has left goes
    first.
    """
    shutil.rmtree(target, ignore_errors=True)
    run([_UV, "venv", "--quiet", "--python", sys.executable, target])
    install: list[str | Path] = [_UV, "pip", "install", "--python", target / "bin" / "python"]
    follow(
        [*install, "--require-hashes", "--no-deps", "--requirement", lock],
        f"installing dbt {version}",
    )
    _check(target, lock.with_name("overrides.txt"))


def _check(target: Path, overrides: Path) -> None:
    """Check that nothing lacks what it asks for, but for what its overrides, if there are some, put
    in the place of that.
    """
    argv: list[str | Path] = [_UV, "pip", "check", "--python", target / "bin" / "python"]
    done = subprocess.run(argv, check=False, text=True, stderr=subprocess.PIPE)
    lines = [line for line in done.stderr.splitlines() if line.startswith("The package `")]
    chosen = {Requirement(line).name for line in _lines(overrides)} if overrides.exists() else set()
    wrong = [line for line in lines if Requirement(line.split("`")[3]).name not in chosen]
    if wrong or (done.returncode and not lines):
        raise CommandError(f"{target} cannot be used:\n{done.stderr}".rstrip())


def _lines(file: Path) -> list[str]:
    lines = file.read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def _remove_old(folder: Path, version: str) -> None:
    marks = sorted(
        folder.glob(f"{version}-*/ready"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    for mark in marks[_KEPT:]:
        say(f"removing {mark.parent}")
        shutil.rmtree(mark.parent)


def find_files() -> list[str]:
    """The files with tests that are marked as starting dbt. To look through all others for marks
    would keep each of the processes busy for longer than many of these.
    """
    return [
        str(path.relative_to(REPOSITORY))
        for path in sorted((REPOSITORY / "tests" / "unit").rglob("test_*.py"))
        if "pytest.mark.dbt" in path.read_text(encoding="utf-8")
    ]


@contextmanager
def _testing(version: str, folder: Path, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Have a version tested; what that prints comes once it is over, in one piece."""
    settings: Mapping[str, str] = {
        **os.environ,
        "DBT_BIN": str(folder / "bin"),
        "DBT_VERSION": version,
    }
    chosen = any(Path(argument.split("::")[0]).exists() for argument in arguments)
    argv = [sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider"]
    argv += [*(() if chosen else (*find_files(), "-m", _MARKS)), *arguments]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            argv, cwd=REPOSITORY, env=settings, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.terminate()  # nothing, if it has ended
            process.wait()
            output.seek(0)
            say(f"dbt {version}")
            shutil.copyfileobj(output, sys.stdout.buffer)
            sys.stdout.buffer.flush()


def _test_side_by_side(arguments: list[str]) -> list[str]:
    """Test all versions at once; the names of those that fail."""
    folders = {version: environment(version, lock) for version, lock in DBT_LOCKS.items()}
    say(f"testing dbt {' and '.join(folders)}, side by side")
    with ExitStack() as stack:
        tested = {
            version: stack.enter_context(_testing(version, folder, arguments))
            for version, folder in folders.items()
        }
        return [version for version, process in tested.items() if process.wait() != 0]


def main(arguments: list[str]) -> int:
    """Run these tests, or the usual ones, against each version, and say which of the versions fail.
    Other arguments are pytest's.
    """
    try:
        failed = _test_side_by_side(arguments)
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    if failed:
        say(f"tests fail with dbt {', '.join(failed)}")
    return 1 if failed or not DBT_LOCKS else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
