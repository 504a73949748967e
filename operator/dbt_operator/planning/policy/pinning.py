"""What a protected target takes of a project's code: nothing that could be another one tomorrow,
and nothing that is not the project's own.

What the specs say is judged here. What only the repository and the project's files tell is for the
pod to prove.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from dbt_operator.api.kinds.project import DbtProjectSpec
from dbt_operator.api.kinds.run import DbtRunSpec
from dbt_operator.api.kinds.target import DbtTargetSpec
from dbt_operator.api.parts.source import GitSource
from dbt_operator.planning.common.image_ids import is_pinned

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGITS = "40 hexadecimal digits"


@dataclass(frozen=True)
class Pins:
    """What the pod has to prove of the code before it runs any of it."""

    reachable_from: str | None = None  # the ref that has to reach the commit; None: none has to
    deps_locked: bool = False  # dbt deps installs what package-lock.yml pins, and nothing else

    @property
    def asks_for_proof(self) -> bool:
        """Whether a runner that knows nothing of this must not get the plan."""
        return self.reachable_from is not None or self.deps_locked


def find_pins(spec: DbtRunSpec, project: DbtProjectSpec, target: DbtTargetSpec) -> Pins:
    """What the pod has to prove: nothing, unless the target is protected."""
    if not target.protected:
        return Pins()
    git, asked = project.source.git, spec.source
    is_own = git is None or asked is None or asked.ref == git.ref
    return Pins(
        reachable_from=None if is_own or git is None else git.ref or "HEAD",
        deps_locked=project.deps != "Never",
    )


def find_unpinned(spec: DbtRunSpec, project: DbtProjectSpec) -> str:
    """What of the code could be another one tomorrow: a protected target takes a digest and a full
    commit only.
    """
    name = spec.project_ref.name
    if not is_pinned(project.image):
        return f"spec.image of the DbtProject {name} must be pinned by a digest (@sha256:...)"
    if project.source.config_map:
        return (
            f"spec.source.configMap of the DbtProject {name} can be edited: put the project into "
            "the image"
        )
    if (path := project.source.image) and (volume := _over(path.path, project)):
        return (
            f"{volume} of the DbtProject {name} would replace what is in the image: mount it "
            "elsewhere"
        )
    if project.source.git is None:
        return ""
    return _find_unpinned_commit(spec, project.source.git)


def _find_unpinned_commit(spec: DbtRunSpec, git: GitSource) -> str:
    of_project = f"spec.source.git.ref of the DbtProject {spec.project_ref.name}"
    if spec.source is None:
        return "" if is_commit(git.ref) else f"{of_project} must be a full commit ({_DIGITS})"
    if not is_commit(spec.source.ref):
        return f"spec.source.ref must be a full commit ({_DIGITS})"
    if is_commit(git.ref) and spec.source.ref != git.ref:
        # A server hands out the commits of forks as well.
        return (
            f"spec.source.ref must be the commit that stands in {of_project}, or a branch or tag "
            "that reaches it must stand there"
        )
    return ""


def is_commit(ref: str | None) -> bool:
    """Whether a ref is a whole commit's hash, which no other code can get."""
    return _COMMIT.fullmatch(ref or "") is not None


def _over(path: str, project: DbtProjectSpec) -> str:
    """A volume that is mounted over the project's folder, or into it."""
    folder = PurePosixPath(path)
    for number, volume in enumerate((project.pod.volumes if project.pod else None) or ()):
        mounted = PurePosixPath(volume.mount_path)
        if folder.is_relative_to(mounted) or mounted.is_relative_to(folder):
            return f"spec.pod.volumes[{number}].mountPath"
    return ""
