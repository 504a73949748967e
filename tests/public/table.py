"""The public projects, each at a commit, with the packages that they need in the place of a hub.

Another project is another row. A patch changes the files of a checkout, and has a reason.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.public import jaffle_orders

REPOSITORY, PACKAGES = "repository", "packages"  # the folders of what is put together


@dataclass(frozen=True)
class Repository:
    """A Git repository at a commit."""

    address: str
    commit: str


@dataclass(frozen=True)
class PublicProject:
    """A project that others have made, and what it takes to run it on PostgreSQL."""

    name: str
    repository: Repository
    profile: str  # the name that its dbt_project.yml asks for
    steps: tuple[str, ...]  # dbt's commands, one after another
    packages: Mapping[str, Repository] = field(default_factory=dict)
    inside: tuple[
        str, ...
    ] = ()  # packages of the repository itself: paths, as the project has them
    sub_path: str = "."
    variables: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()  # files of the repository that are not fetched
    patch: Callable[[Path], None] | None = None  # what is done to its files


def _github(name: str, commit: str) -> Repository:
    return Repository(f"https://github.com/{name}.git", commit)


DBT_UTILS = _github("dbt-labs/dbt-utils", "ef562bac8583a3dd041437d1a0ed926d356da4fd")  # 1.3.3


def _without_deprecated(project: Path) -> None:
    """dbt 1.11 cannot load what spark_utils has kept for dbt 1.2, whatever the warehouse."""
    deprecated = "spark_utils/macros/dbt_utils/cross_db_utils/deprecated"
    shutil.rmtree(project.parent / PACKAGES / deprecated)


PROJECTS = (
    # Three packages, the data as seeds, unit tests, a semantic layer.
    PublicProject(
        name="jaffle-shop",
        repository=_github("dbt-labs/jaffle-shop", "7be2c5838dbdeca8e915d4e46db70e910753d7f6"),
        packages={
            "dbt_utils": DBT_UTILS,
            "dbt_date": _github(
                "godatadriven/dbt-date", "9e2e119091aa6a34b93b0770aabe2a110d9f14b7"
            ),  # 0.17.1
            "audit_helper": _github(
                "dbt-labs/dbt-audit-helper", "3bd0ca4e9d79b7d740ad7e77384b3d03a16cf242"
            ),
        },
        profile="default",
        steps=("seed", "build", "docs"),
        variables={"load_source_data": True},
        left_out=jaffle_orders.WRITTEN,
        patch=jaffle_orders.write_orders,
    ),
    # Large: hundreds of models in several schemas, whose macros ask the warehouse while they run.
    PublicProject(
        name="shopify",
        repository=_github("fivetran/dbt_shopify", "d768d54a59fe1114939066da114b630c0c726f0b"),
        packages={
            "fivetran_utils": _github(
                "fivetran/dbt_fivetran_utils", "ccf3d58a6919cfd234699ef1f1143b65e05ef9ad"
            ),  # 0.4.10
            "spark_utils": _github(
                "dbt-labs/spark-utils", "f1771e7906b3c8fa5bc93b68174a9a5d5ddc2730"
            ),  # 0.3.3
            "dbt_utils": DBT_UTILS,
        },
        inside=("..",),
        sub_path="integration_tests",
        profile="integration_tests",
        steps=("seed", "run", "test"),
        patch=_without_deprecated,
    ),
    # Macros that ask the warehouse while dbt parses and compiles, and tests that are theirs.
    PublicProject(
        name="dbt-utils",
        repository=DBT_UTILS,
        inside=("..",),
        sub_path="integration_tests",
        profile="integration_tests",
        steps=("seed", "run", "test"),
    ),
    # Its models are made of dbt's graph, by statements that are sent while others run.
    PublicProject(
        name="project-evaluator",
        repository=_github(
            "dbt-labs/dbt-project-evaluator", "927abbd523b627f4f1595e2fb93ebf2244314bd6"
        ),
        packages={"dbt_utils": DBT_UTILS},
        inside=("..", "exclude_package/"),
        sub_path="integration_tests",
        profile="integration_tests",
        steps=("build",),
    ),
    # A hook at the end that writes all results, microbatch models, snapshots.
    PublicProject(
        name="dbt-artifacts",
        repository=_github(
            "brooklyn-data/dbt_artifacts", "6d37fa068c47de8ab85722047ca5af3f873cd508"
        ),
        inside=("..",),
        sub_path="integration_test_project",
        profile="dbt_artifacts",
        steps=("build",),
    ),
    # Hooks at both ends, materializations of its own, tables that other runs are compared with.
    PublicProject(
        name="elementary",
        repository=_github(
            "elementary-data/dbt-data-reliability", "ccb0de3409756b7c3d2a08a6216be7ba548c18ab"
        ),
        packages={"dbt_utils": DBT_UTILS},
        inside=("../../",),
        sub_path="integration_tests/dbt_project",
        profile="elementary_tests",
        steps=("build",),
    ),
)
