"""The Debian packages that the local cluster is made of."""

import fcntl
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.progress import follow
from tests.cluster.state import CACHE, ClusterError

# A package, and a command or a file that it brings.
_PACKAGES = {
    "buildah": "buildah",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "debootstrap": "debootstrap",
    "iproute2": "ip",
    "iptables": "iptables",
    "mount": "umount",
    "openssl": "openssl",
    "procps": "sysctl",
    "runc": "runc",
    "util-linux": "nsenter",
}
CNI_PLUGINS = Path("/usr/lib/cni")


def add_sbin() -> None:
    """Make sure that the tools of an administrator are found, whoever started us."""
    path = os.environ["PATH"].split(":")
    os.environ["PATH"] = ":".join(
        path + [folder for folder in ("/usr/sbin", "/sbin") if folder not in path]
    )


def install(packages: Mapping[str, str] = _PACKAGES) -> None:
    """Install what is missing. Whatever service a package starts stays unused: ours have sockets of
    their own.

    Args:
        packages: those that are needed, each with a command or a file that it brings.

    Raises:
        ClusterError: that is not possible here.
    """
    if not _find_missing(packages):
        return
    # Suites that run side by side need different ones, and apt-get fails beside another.
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "packages.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _install(_find_missing(packages))


def _find_missing(packages: Mapping[str, str]) -> list[str]:
    return [package for package, brings in packages.items() if shutil.which(brings) is None]


def _install(missing: list[str]) -> None:
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(
            f"these Debian packages are missing, and there is no apt-get: {' '.join(missing)}"
        )
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    follow(["apt-get", "update"], "updating the package lists", env=environment)
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    follow(command, f"installing {' '.join(missing)}", env=environment)
