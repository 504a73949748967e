"""What is tested with which version of dbt, as docs/versions.md shows it: found in the locks of
images/dbt and in the marks of the tests.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.images import DBT_2_LOCK, DBT_LOCKS
from tests.support.places import ROOT, TESTS, modules
from tests.support.scenarios import OTHER_DBT

_USUAL_LOCK = ROOT / "images" / "dbt" / "requirements.lock"
_PACKAGES = ("dbt-core==", "dbt==")
_MARKS = ("dbt", "dbt_in_full", "one_dbt")
_NOT = "-"
_PREVIEW = DBT_2_LOCK.parent.name
# Its tests are apart, since it does not do what the others do.
_OF_PREVIEW = "dbt_runner/worker/command/test_dbt_2.py"

# What dbt Labs says of a minor version; a folder in images/dbt needs a row.
SUPPORT = {
    "1.11": "the usual one; gets fixes until December 2026",
    "1.12": "in maintenance, until July 2027",
    "1.13": "a beta: try it, and run nothing on it that matters",
    "2.0": "a preview: try it, and run nothing on it that matters",
}

# The title of a test file's row; that of others is what their docstrings begin with.
TITLES = {
    "dbt_operator/planning/attempt/test_dbt_args.py": "The options of every step, taken by dbt",
    "dbt_protocol/test_flag_table.py": "[All flags and variables that dbt reads](flags.md)",
    "dbt_runner/outcome/test_resume.py": "A second attempt: only what is not done runs again",
    "dbt_runner/supervise/test_progress.py": "Progress while dbt works",
    _OF_PREVIEW: "[What dbt 2 does, and what it does not](dbt-2.md)",
    "dbt_runner/worker/command/test_main.py": "A dbt that is no Python program",
    "dbt_runner/worker/test_absent_state.py": "Selectors that compare with a state, without one",
    "dbt_runner/worker/test_bare_dbt.py": (
        "Three projects in the shape of real ones, as with bare dbt"
    ),
    "dbt_runner/upload/test_digesting.py": "Who owns what failed, and what depends on it",
    "dbt_runner/worker/test_counting.py": "What each command selects, and the verdict on it",
    "dbt_runner/worker/test_deps.py": "`dbt deps` before the first step",
    "dbt_runner/worker/test_emptiness.py": "Empty selections where warnings are errors",
    "dbt_runner/worker/test_flags.py": "Flags of projects, profiles, images and home folders",
    "dbt_runner/worker/test_hook_errors.py": "Hooks that raise while they are rendered",
    "dbt_runner/worker/test_hooks.py": "Hooks of a project and of its packages",
    "dbt_runner/worker/test_invocation.py": (
        "All commands, their results, failures, cancel, what is redacted"
    ),
    "dbt_runner/worker/test_parse_cache.py": "The parse cache",
    "dbt_runner/worker/test_postgres_errors.py": "[How PostgreSQL's errors end](endings.md)",
    "dbt_runner/worker/test_source_status.py": "Selecting by fresher sources",
    "dbt_runner/worker/test_state.py": "State comparison, defer and clone",
    "dbt_runner/worker/test_unreadable.py": "Files that dbt cannot read",
    "dbt_runner/worker/test_windows.py": "Backfills: windows, microbatch, what is done again",
}


@dataclass(frozen=True)
class Difference:
    """Something that comes out otherwise with some versions."""

    what: str
    where: str  # in which versions
    why: str
    shown_by: str  # a test: its file in tests/unit, and its name


DIFFERENCES = (
    Difference(
        "dbt takes in the project's `.env`",
        "1.12 and later",
        "dbt has it since then; flags in it are refused as those of the image are",
        "dbt_runner/worker/test_invocation.py"
        "::test_a_flag_in_the_projects_own_variables_is_refused_where_dbt_reads_them",
    ),
    Difference(
        "flags in `~/.dbt/user_settings.yml` of the image that change what is built are refused",
        "1.12 and later",
        "1.11 does not read the file",
        "dbt_runner/worker/test_flags.py::test_a_home_folder_cannot_ask_for_a_full_refresh",
    ),
    Difference(
        "`manage_state` (dbt State) is off, and the log says so where a project asks for it",
        "1.13 and later",
        "a service would say what is left out, and most of that be reported as built; earlier"
        " versions do not have it",
        "dbt_runner/worker/test_flags.py::test_no_service_says_what_is_left_out",
    ),
)


def find_versions() -> Mapping[str, str]:
    """The exact version that each minor version is tested as; the usual one comes first."""
    usual = _read_version(_USUAL_LOCK)
    others = sorted(DBT_LOCKS, key=lambda name: [int(part) for part in name.split(".")])
    minor = usual.rpartition(".")[0]
    with_api = {minor: usual, **{name: _read_version(DBT_LOCKS[name]) for name in others}}
    return {**with_api, _PREVIEW: _read_version(DBT_2_LOCK)}


def _read_version(lock: Path) -> str:
    for line in lock.read_text().splitlines():
        for package in _PACKAGES:
            if line.startswith(package):
                return line.removeprefix(package).split()[0]
    raise AssertionError(f"{lock} pins no dbt")


def make_features() -> Iterator[tuple[str, list[str]]]:
    """What is tested, and for each version by which suite."""
    versions = list(find_versions())
    for path in modules(TESTS / "unit"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        marks = set(_find_marks(tree))
        if marks:
            name = str(path.relative_to(TESTS / "unit"))
            title = TITLES.get(name) or (ast.get_docstring(tree) or name).split(". ")[0]
            if name == _OF_PREVIEW:
                yield title, [*(_NOT for _ in versions[1:]), "test"]
            else:
                yield title, ["test", *(_tell_suite(version, marks) for version in versions[1:])]
    yield "Runs in a cluster", ["test", *(_tell_scenarios(each) for each in versions[1:])]
    yield "Everything else that needs a cluster", ["test", *(_NOT for _ in versions[1:])]


def _find_marks(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in _MARKS:
            value = node.value
            if isinstance(value, ast.Attribute) and value.attr == "mark":
                yield node.attr


def _tell_suite(version: str, marks: set[str]) -> str:
    """The suite that runs tests with these marks on one of the other versions."""
    if not version.startswith("1.") or marks == {"one_dbt"}:
        return _NOT
    if "dbt" not in marks:
        return "test-full"
    if "dbt_in_full" in marks:
        return "test; the rest: test-full"
    return "test, some of it" if "one_dbt" in marks else "test"


def _tell_scenarios(version: str) -> str:
    if version == _PREVIEW:
        return "test: green, failing-model, freshness"
    found = [scenario for scenario in OTHER_DBT if scenario.dbt == version]
    names = [scenario.name.removesuffix(f"-{version.replace('.', '-')}") for scenario in found]
    return f"test: {', '.join(names)}" if names else _NOT
