"""dbt 2 as images/dbt/2.0 has it, in an environment of its own, and pods that run it."""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path

from tests.cluster.images import DBT_2_LOCK
from tests.dbt_versions import environment
from tests.support.pods import Pod

_DOCKERFILE = DBT_2_LOCK.with_name("Dockerfile")


@cache
def find_dbt_2() -> Path:
    """The environment; it is made if it is not there."""
    return environment("2.0", DBT_2_LOCK)


def make_pod(root: Path, files: dict[str, str], profiles: str, *, with_driver: bool = True) -> Pod:
    """A pod with dbt 2, and with the driver for PostgreSQL where it looks for that."""
    pod = Pod(root / "pod", files, profiles)
    caches = root / "cache"
    if with_driver:
        driver = caches / find_driver_place()
        driver.parent.mkdir(parents=True)
        package = find_dbt_2() / "lib"
        driver.symlink_to(next(package.rglob("libadbc_driver_postgresql.so")))
    pod.env.update(
        PATH=f"{find_dbt_2() / 'bin'}:/usr/bin:/bin",
        XDG_CACHE_HOME=str(caches),
        DBT_ALLOW_EXPERIMENTAL_ADAPTERS="true",
    )
    return pod


def find_driver_place() -> str:
    """Where the image has the driver, below the folder of caches."""
    words = shlex.split(_DOCKERFILE.read_text(), comments=True)
    found = next(word for word in words if word.endswith("dbt0.21.0.so"))
    return found.removeprefix("/opt/cache/")
