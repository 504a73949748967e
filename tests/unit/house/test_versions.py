"""Whether docs/versions.md tells what the tests run with."""

from __future__ import annotations

import ast

import pytest

from tests.support.dbt_matrix import (
    DIFFERENCES,
    SUPPORT,
    TITLES,
    Difference,
    find_versions,
    make_features,
)
from tests.support.pages import check_part
from tests.support.places import ROOT, TESTS
from tests.support.pods import NEWEST

PAGE = ROOT / "docs" / "versions.md"


def make_row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def make_header(*cells: str) -> list[str]:
    return [make_row(*cells), make_row(*("---" for _ in cells))]


def test_the_page_tells_of_every_version() -> None:
    rows = [
        make_row(name, exact, folder(name), SUPPORT[name])
        for name, exact in find_versions().items()
    ]
    header = make_header("dbt", "tested as", "image", "what it is")
    check_part(PAGE, "versions", rows, header)


def folder(version: str) -> str:
    """Where the lock of its image is."""
    usual = next(iter(find_versions()))
    return "`images/dbt`" if version == usual else f"`images/dbt/{version}`"


def test_the_page_tells_of_everything_that_is_tested() -> None:
    rows = [make_row(title, *cells) for title, cells in make_features()]
    check_part(PAGE, "features", rows, make_header("what", *find_versions()))


def test_the_page_tells_of_every_difference() -> None:
    rows = [make_row(each.what, each.where, each.why) for each in DIFFERENCES]
    check_part(PAGE, "differences", rows, make_header("what", "with", "why"))


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda each: each.what)
def test_a_difference_is_shown_by_a_test(difference: Difference) -> None:
    path, _, name = difference.shown_by.partition("::")
    tree = ast.parse((TESTS / "unit" / path).read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert name in functions


@pytest.mark.parametrize("name", TITLES)
def test_a_title_is_of_a_file(name: str) -> None:
    assert (TESTS / "unit" / name).is_file()


def test_the_newest_version_with_an_api_is_known() -> None:
    # Against it the table of flags is compared as a whole.
    of_python = [version for version in find_versions() if version.startswith("1.")]
    assert max(of_python, key=lambda name: int(name.split(".")[1])) == NEWEST.rstrip(".")
