"""The programs of the cluster, built from their Go modules. The first time takes ten minutes on two
cores.
"""

from pathlib import Path

from tests.cluster.go_module import GoModule

_VERSION = "k8s.io/component-base/version"
_LINKS = {"kubectl": "cluster", "helm": "helm"}


def folder() -> Path:
    """Where the programs are, or will be once they are built."""
    return _MODULE.folder


def build() -> None:
    """Build them, if these sources have not been built before."""
    _MODULE.build()


def _link(programs: Path) -> None:
    """Make the folder that goes on the PATH: it has the programs people call, and not those they
    must not.
    """
    (programs / "bin").mkdir()
    for name, program in _LINKS.items():
        (programs / "bin" / name).symlink_to(f"../{program}")


_MODULE = GoModule(
    name="programs",
    what="building Kubernetes, Helm and MinIO",
    source=Path(__file__).parent / "programs",
    inputs=("go.mod", "go.sum", "main.go", "pause/main.go"),
    packages=(".", "./pause", "helm.sh/helm/v3/cmd/helm", "github.com/minio/minio"),
    linker_flags=(
        "-s",
        "-w",
        f"-X {_VERSION}.gitVersion=v1.34.4",
        f"-X {_VERSION}.gitMajor=1",
        f"-X {_VERSION}.gitMinor=34",
    ),
    complete=_link,
)
