"""What package-lock.yml pins."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbt_runner.worker.deps import LOCK_FILE
from dbt_runner.worker.failure import CannotRunError
from dbt_runner.worker.lock_file import find_unpinned, read_lock, require_unchanged

PINNED = f"""\
packages:
  - git: https://git.example.com/audit.git
    name: audit
    revision: {"a" * 40}
    subdirectory: dbt
  - name: dbt_utils
    package: dbt-labs/dbt_utils
    version: 1.3.0
  - local: ../shared
    name: shared
sha1_hash: {"b" * 40}
"""


@pytest.mark.parametrize(
    ("lock", "words"),
    [
        (PINNED, ""),
        (PINNED.replace("\n  ", "\n"), ""),  # as dbt 1.7 indents it
        (f"packages: []\nsha1_hash: {'b' * 40}\n", ""),
        (PINNED.replace("1.3.0", "1.3.0-rc.1"), ""),
        (PINNED.replace("a" * 40, "a" * 64), ""),
        (PINNED.replace("a" * 40, "main"), "names no commit of audit"),
        (PINNED.replace("a" * 40, "a" * 39), "names no commit of audit"),
        (PINNED.replace("a" * 40, "main # " + "a" * 40), "names no commit of audit"),
        (PINNED.replace(f"    revision: {'a' * 40}\n", ""), "names no commit of audit"),
        (PINNED.replace("1.3.0", "'>=1.3.0'"), "names no version of dbt_utils"),
        (PINNED.replace("    version: 1.3.0\n", ""), "names no version of dbt_utils"),
        (PINNED.replace("version: 1.3.0", "version: ['>=1.0.0', '<2.0.0']"), "names no version"),
        (PINNED.replace("local: ../shared", "tarball: https://x/y.tgz"), "shared comes as a tarb"),
        (PINNED.replace("local: ../shared", "elsewhere: x"), "names no commit of shared"),
        ("packages: [{git: x, revision: main}]\n", "not as dbt deps writes it"),
        ("packages:\n  - {git: x, revision: main}\n", "not as dbt deps writes it"),
        ('packages:\n  - git: x\n    "revision": main\n', "not as dbt deps writes it"),
        ("packages:\n  - git: x\n    revision: >-\n      main\n", "not as dbt deps writes it"),
        ("  git: x\n", "not as dbt deps writes it"),
    ],
)
def test_what_a_lock_file_leaves_open_is_told(lock: str, words: str) -> None:
    found = find_unpinned(lock)
    assert words in found
    assert bool(found) == bool(words)


def test_packages_are_installed_from_a_lock_file_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(
        CannotRunError, match=r"no package-lock\.yml.* commit .*deps: Never"
    ) as error:
        read_lock(tmp_path)
    assert error.value.end.reason == "ConfigError"
    (tmp_path / LOCK_FILE).write_text(PINNED)
    before = read_lock(tmp_path)
    require_unchanged(tmp_path, before)
    (tmp_path / LOCK_FILE).write_text(PINNED.replace("1.3.0", "1.3.1"))
    with pytest.raises(CannotRunError, match=r"was not made for the packages .* run dbt deps"):
        require_unchanged(tmp_path, before)
