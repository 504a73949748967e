"""The operator as a process of this machine, beside the cluster: it can be killed as the kernel
kills, and measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.support.free_ports import find_free_port


class OperatorProcess(Protocol):
    """What tests do to an operator that they have started."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, number: int, /) -> None: ...

    def kill(self) -> None: ...


@contextmanager
def operator(
    namespace: str, runner_image: str = "runner:none", **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """An operator that watches one namespace. Its log goes to the file ``log``."""
    log = Path(environment.pop("log", os.devnull))
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dbt_operator"],
            env=os.environ | settings(namespace, runner_image) | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def settings(namespace: str, runner_image: str = "runner:none") -> dict[str, str]:
    """The environment of an operator that watches one namespace."""
    return {
        "DBT_OPERATOR_RUNNER_IMAGE": runner_image,
        "DBT_OPERATOR_NAMESPACES": namespace,
        "DBT_OPERATOR_HEALTH_PORT": str(find_free_port()),
    }
