"""What a protected target takes of a project's code."""

from __future__ import annotations

from typing import Any

import pytest

from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import DbtRun
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.api.parts.pod import Pod, Volume
from dbt_operator.planning.policy.pinning import Pins, find_pins, find_unpinned
from tests.support.builders import project, run, target

PINNED = f"registry.example.com/dbt@sha256:{'0' * 64}"


def of_git(ref: str | None) -> dict[str, Any]:
    given = {"ref": ref} if ref else {}
    return {"git": {"url": "https://git.example.com/shop", **given}}


@pytest.mark.parametrize(
    ("mount", "refuses"),
    [
        ("/project", True),
        ("/project/models", True),
        ("/", True),
        ("/projects", False),
        ("/data", False),
    ],
)
def test_no_volume_replaces_the_code_of_a_protected_target(mount: str, refuses: bool) -> None:
    volume: dict[str, Any] = {"name": "x", "mountPath": mount, "emptyDir": {}}
    spec = DbtProject.model_validate(project(image=PINNED)).spec
    pod = Pod.model_construct(volumes=[Volume.model_construct(**{**volume, "mount_path": mount})])
    found = find_unpinned(DbtRun.model_validate(run()).spec, spec.model_copy(update={"pod": pod}))
    assert ("spec.pod.volumes[0].mountPath" in found) is refuses


@pytest.mark.parametrize(
    ("ref", "override", "words"),
    [
        ("a" * 40, None, ""),
        ("main", None, "spec.source.git.ref of the DbtProject shop must be a full commit"),
        ("a" * 39, None, "must be a full commit"),
        ("main", "b" * 40, ""),
        ("a" * 40, "feature", "spec.source.ref must be a full commit"),
        (None, "b" * 40, ""),
        ("a" * 40, "a" * 40, ""),
        ("a" * 40, "b" * 40, "spec.source.ref must be the commit that stands in spec.source.git"),
    ],
)
def test_a_protected_target_takes_full_commits_only(
    ref: str | None, override: str | None, words: str
) -> None:
    source = of_git(ref)
    of_project = DbtProject.model_validate(project(image=PINNED, source=source)).spec
    of_run = DbtRun.model_validate(run(**({"source": {"ref": override}} if override else {}))).spec
    message = find_unpinned(of_run, of_project)
    assert words in message
    assert bool(message) == bool(words)


@pytest.mark.parametrize(
    ("ref", "override", "expected"),
    [
        ("main", "b" * 40, "main"),
        ("v1.4.0", "b" * 40, "v1.4.0"),
        (None, "b" * 40, "HEAD"),
        ("HEAD", "b" * 40, "HEAD"),
        ("a" * 40, "a" * 40, None),
        ("a" * 40, None, None),
    ],
)
def test_what_a_run_asks_for_has_to_be_reached_by_what_its_project_names(
    ref: str | None, override: str | None, expected: str | None
) -> None:
    of_project = DbtProject.model_validate(project(source=of_git(ref))).spec
    of_run = DbtRun.model_validate(run(**({"source": {"ref": override}} if override else {}))).spec
    protected, open_to_all = (
        DbtTarget.model_validate(target(protected=each)).spec for each in (True, False)
    )
    assert find_pins(of_run, of_project, protected).reachable_from == expected
    assert find_pins(of_run, of_project, open_to_all) == Pins()


@pytest.mark.parametrize(
    ("deps", "expected"), [(None, True), ("IfMissing", True), ("Always", True), ("Never", False)]
)
def test_packages_are_pinned_by_their_lock_file(deps: str | None, expected: bool) -> None:
    of_project = DbtProject.model_validate(project(**({"deps": deps} if deps else {}))).spec
    of_run, protected = DbtRun.model_validate(run()).spec, target(protected=True)
    found = find_pins(of_run, of_project, DbtTarget.model_validate(protected).spec)
    assert (found.deps_locked, found.asks_for_proof) == (expected, expected)
