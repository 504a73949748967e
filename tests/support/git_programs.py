"""The programs that tests of Git need beside git itself: ``python -m tests.support.git_programs``
installs what is missing, which a test does too if need be.
"""

from __future__ import annotations

import sys

from tests.cluster import packages
from tests.cluster.progress import CommandError
from tests.cluster.state import ClusterError

SSHD = "/usr/sbin/sshd"
_PACKAGES = {"git-lfs": "git-lfs", "openssh-server": SSHD}


def install() -> None:
    """Install what is missing.

    Raises:
        ClusterError: that is not possible here.
    """
    packages.install(_PACKAGES)


def main() -> int:
    """Install what is missing; the exit code."""
    try:
        install()
    except (ClusterError, CommandError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
