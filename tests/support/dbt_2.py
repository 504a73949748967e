"""Releases of dbt 2, each in an environment of its own, and pods that run them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.cluster.images import DBT_2_LOCK
from tests.dbt_versions import environment
from tests.support.places import TESTS
from tests.support.pods import Pod

_DOCKERFILE = DBT_2_LOCK.with_name("Dockerfile")


@dataclass(frozen=True)
class Release:
    """A release of dbt 2."""

    version: str  # as it says itself
    name: str  # of its environment
    lock: Path


IN_IMAGE = Release("2.0.0-preview.196", "2.0", DBT_2_LOCK)
# It answers more commands with a warning and exit code 0.
FIRST = Release("2.0.0-alpha.4", "2.0.0a4", TESTS / "data/dbt-2.0.0a4/requirements.lock")


@cache
def find_dbt_2(release: Release = IN_IMAGE) -> Path:
    """The environment; it is made if it is not there."""
    return environment(release.name, release.lock)


def make_pod(
    root: Path,
    files: dict[str, str],
    profiles: str,
    release: Release = IN_IMAGE,
    *,
    with_driver: bool = True,
) -> Pod:
    """A pod with dbt 2, and with the driver for PostgreSQL where it looks for that."""
    pod = Pod(root / "pod", files, profiles)
    caches = root / "cache"
    if with_driver:
        driver = caches / find_driver_place()
        driver.parent.mkdir(parents=True)
        package = find_dbt_2(release) / "lib"
        driver.symlink_to(next(package.rglob("libadbc_driver_postgresql.so")))
    pod.env.update(
        PATH=f"{find_dbt_2(release) / 'bin'}:/usr/bin:/bin",
        XDG_CACHE_HOME=str(caches),
        DBT_ALLOW_EXPERIMENTAL_ADAPTERS="true",
    )
    return pod


def find_driver_place() -> str:
    """Where the image has the driver, below the folder of caches."""
    words = shlex.split(_DOCKERFILE.read_text(), comments=True)
    found = next(word for word in words if word.endswith("dbt0.21.0.so"))
    return found.removeprefix("/opt/cache/")
