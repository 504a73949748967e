"""What runs in the dbt container meets a Python that is not ours, from 3.9 on, and a dbt that
imports every top-level module whose name begins with ``dbt_``.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import IN_PODS, OPERATOR, ROOT, dotted, modules

OLDEST = (3, 9)
FILES = [path for package in IN_PODS for path in modules(OPERATOR / package)]
# Its modules import dbt, which a bare Python has not.
WITH_DBT = "dbt_runner.worker.invocation."

IMPORTED = """
import sys
before = set(sys.modules)
import {package}
print(*sorted(set(sys.modules) - before))
"""
IMPORT_ALL = """
import importlib, sys
assert sys.version_info[:2] == (3, 9), sys.version
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def works(python: str) -> bool:
    """Whether a program is Python 3.9: a shim of that name may stand for nothing."""
    tell = "import sys; sys.exit(sys.version_info[:2] != (3, 9))"
    try:
        return (
            subprocess.run([python, "-c", tell], capture_output=True, check=False).returncode == 0
        )
    except OSError:
        return False


def candidates() -> list[str]:
    """Where a Python 3.9 may be."""
    found = [shutil.which("python3.9") or ""]
    found += map(str, sorted(Path.home().glob(".pyenv/versions/3.9.*/bin/python3.9")))
    uv = Path(sys.executable).with_name("uv")
    if uv.exists():
        find = [str(uv), "python", "find", "--no-python-downloads", "3.9"]
        done = subprocess.run(find, capture_output=True, text=True, check=False)
        found.append(done.stdout.strip())
    return [path for path in found if path]


def oldest_python() -> str | None:
    """A Python 3.9, where this machine has one."""
    return next(filter(works, candidates()), None)


def bare(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python that sees our packages, and nothing that is installed beside them."""
    environment = os.environ | {"PYTHONPATH": str(OPERATOR), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [python, "-S", "-W", "error", *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("package", IN_PODS)
def test_the_import_of_a_package_costs_nothing(package: str) -> None:
    ended = bare(sys.executable, "-c", IMPORTED.format(package=package))
    assert ended.returncode == 0, ended.stderr
    # __future__ is an instruction to the compiler, and a module too.
    assert set(ended.stdout.split()) <= {package, "__future__"}


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_a_module_has_the_syntax_of_the_oldest_python(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=OLDEST)


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_annotations_are_never_evaluated(path: Path) -> None:
    """``str | None`` is an error in Python 3.9, unless it stays text."""
    tree = ast.parse(path.read_text())
    if any(isinstance(node, ast.AnnAssign | ast.FunctionDef) for node in ast.walk(tree)):
        futures = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        assert futures, "it imports no annotations"
        assert futures[0].module == "__future__"


def test_every_module_is_imported_by_the_oldest_python() -> None:
    """Where there is none, the syntax is checked all the same, above and by mypy and ruff."""
    python = oldest_python()
    if python is None:
        assert third_parties() == {}
        return
    names = [dotted(path) for path in FILES if path.stem != "__main__"]
    ended = bare(
        python, "-c", IMPORT_ALL, *(name for name in names if not name.startswith(WITH_DBT))
    )
    assert ended.returncode == 0, ended.stderr
    ended = bare(python, "-m", "dbt_runner", "--help")
    assert ended.returncode == 0, ended.stderr
    assert "prepare" in ended.stdout


def test_what_is_imported_is_the_standard_library() -> None:
    assert third_parties() == {}


def third_parties() -> dict[str, set[str]]:
    """What modules import of others at their top; the rest is there when a function asks for it."""
    known = sys.stdlib_module_names | {*IN_PODS}
    found = {
        dotted(path): set().union(*map(imported, ast.parse(path.read_text()).body)) - known
        for path in FILES
    }
    return {
        name: others for name, others in found.items() if others and not name.startswith(WITH_DBT)
    }


def imported(node: ast.stmt) -> set[str]:
    """The top-level packages that a statement imports."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]}
    return set()
