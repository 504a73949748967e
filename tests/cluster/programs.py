"""The programs of the cluster, built from their Go modules and kept by a hash of what they were
built from.
"""

import hashlib
import os
import shutil
from functools import cache
from pathlib import Path

from tests.cluster.progress import follow, say
from tests.cluster.state import CACHE, ClusterError, new_folder

_SOURCE = Path(__file__).parent / "programs"
_INPUTS = ("go.mod", "go.sum", "main.go", "pause/main.go")
_VERSION = "k8s.io/component-base/version"
_LINKER_FLAGS = (
    "-s",
    "-w",
    f"-X {_VERSION}.gitVersion=v1.34.4",
    f"-X {_VERSION}.gitMajor=1",
    f"-X {_VERSION}.gitMinor=34",
)
_FLAGS = (
    "-trimpath",
    "-buildvcs=false",
    f"-ldflags={' '.join(_LINKER_FLAGS)}",
)
_PACKAGES = (".", "./pause", "helm.sh/helm/v3/cmd/helm", "github.com/minio/minio")
_KEPT = 2
_LINKS = {"kubectl": "cluster", "helm": "helm"}


@cache
def folder() -> Path:
    """Where the programs are, or will be once they are built."""
    digest = hashlib.sha256("\n".join(_FLAGS + _PACKAGES).encode())
    for name in _INPUTS:
        digest.update((_SOURCE / name).read_bytes())
    return CACHE / "programs" / digest.hexdigest()[:12]


def build() -> None:
    """Build them, if these sources have not been built before. The first time takes ten minutes on
    two cores.
    """
    if folder().exists():
        return
    if shutil.which("go") is None:
        raise ClusterError("Go 1.25 or later is missing: the cluster's programs are built with it")
    with new_folder(folder()) as new:
        follow(
            ["go", "build", "-v", *_FLAGS, "-o", f"{new}/", *_PACKAGES],
            "building Kubernetes, Helm and MinIO",
            cwd=_SOURCE,
            env=os.environ | {"CGO_ENABLED": "0"},
            tell=lambda number, package: (
                f"{number} packages compiled, the last {package}" if number else "loading"
            ),
        )
        _link(new)
    for old in sorted(folder().parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
        shutil.rmtree(old)
    say(f"built the programs: {folder()}")


def _link(programs: Path) -> None:
    """Make the folder that goes on the PATH: it has the programs people call, and not those they
    must not.
    """
    (programs / "bin").mkdir()
    for name, program in _LINKS.items():
        (programs / "bin" / name).symlink_to(f"../{program}")
