"""Closes a process to others of the same user.

Where the containers of a pod share their processes (shareProcessNamespace, an ephemeral container
of kubectl debug), the project's code could read the bucket's keys in /proc/<pid>/environ of the
sidecar, or attach to it, if both run as the same user.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

_PR_SET_DUMPABLE = 4


def forbid_dumps() -> None:
    """Let nobody but root look into this process. Where that is not possible, it goes on."""
    with suppress(OSError, AttributeError):  # another system, or another C library
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
