"""Prometheus' tool, which checks rules and plays cases: of Debian's package prometheus, whose
server stays unused.
"""

from __future__ import annotations

import shutil

from tests.cluster import packages

_PROMTOOL = "promtool"


def install_promtool() -> str:
    """The program, which is installed if need be.

    Raises:
        ClusterError: that is not possible here.
    """
    packages.install({"prometheus": _PROMTOOL})
    found = shutil.which(_PROMTOOL)
    assert found is not None
    return found
