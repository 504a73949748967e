"""Programs that are built from a Go module of ours, and kept by a hash of what they were built
from.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.cluster.progress import follow, say
from tests.cluster.state import CACHE, ClusterError, new_folder

_KEPT = 2


@dataclass(frozen=True)
class GoModule:
    """A Go module whose programs the tests need."""

    name: str  # of its folder in the cache
    what: str  # is built, for people
    source: Path
    inputs: tuple[str, ...]  # the files of which a change makes other programs
    packages: tuple[str, ...]
    linker_flags: tuple[str, ...] = ("-s", "-w")
    complete: Callable[[Path], None] = field(default=lambda _: None)  # adds to what was built

    @property
    def flags(self) -> tuple[str, ...]:
        """Of `go build`."""
        return ("-trimpath", "-buildvcs=false", f"-ldflags={' '.join(self.linker_flags)}")

    @cached_property
    def folder(self) -> Path:
        """Where the programs are, or will be once they are built."""
        digest = hashlib.sha256("\n".join(self.flags + self.packages).encode())
        for name in self.inputs:
            digest.update((self.source / name).read_bytes())
        return CACHE / self.name / digest.hexdigest()[:12]

    def build(self) -> None:
        """Build the programs, if these sources have not been built before.

        Raises:
            ClusterError: Go is missing.
        """
        if self.folder.exists():
            return
        if shutil.which("go") is None:
            raise ClusterError(f"Go 1.25 or later is missing: {self.what} needs it")
        with self._alone():
            if not self.folder.exists():
                self._build()

    def _build(self) -> None:
        with new_folder(self.folder) as new:
            follow(
                ["go", "build", "-v", *self.flags, "-o", f"{new}/", *self.packages],
                self.what,
                cwd=self.source,
                env=os.environ | {"CGO_ENABLED": "0"},
                tell=lambda number, package: (
                    f"{number} packages compiled, the last {package}" if number else "loading"
                ),
            )
            self.complete(new)
        built = [path for path in self.folder.parent.iterdir() if path.is_dir()]
        for old in sorted(built, key=lambda path: path.stat().st_mtime)[:-_KEPT]:
            shutil.rmtree(old)
        say(f"built the programs: {self.folder}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process at a time build this module; the others find what it has built."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with (self.folder.parent / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
