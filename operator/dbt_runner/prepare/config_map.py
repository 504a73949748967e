"""Unpacks a project from a ConfigMap."""

from __future__ import annotations

import shutil
from pathlib import Path

from dbt_runner.prepare.archive import ARCHIVES, unpack_archive
from dbt_runner.prepare.fingerprint import list_files
from dbt_runner.prepare.project_folder import PROJECT_FILE, PrepareError, make_folder


def unpack_config_map(source: Path, project: Path) -> None:
    """Copy the files of a mounted ConfigMap and unpack the archives among them.

    The keys of a ConfigMap hold no slashes, so a project with folders comes as an archive,
    ``kubectl create configmap shop --from-file=project.tgz``; or its keys are mapped to paths in
    the volume.

    Raises:
        PrepareError: an archive cannot be unpacked, or there is no dbt_project.yml in the end.
    """
    make_folder(project)
    archives = []
    for entry in _entries(source):
        if entry.name.endswith(ARCHIVES):
            archives.append(entry)
        elif entry.is_dir():
            shutil.copytree(entry, project / entry.name, dirs_exist_ok=True)
        else:
            shutil.copyfile(entry, project / entry.name)
    for archive in archives:
        unpack_archive(archive, project)
    if not (project / PROJECT_FILE).is_file():
        raise PrepareError(_explain_absence(source, project))


def _explain_absence(source: Path, project: Path) -> str:
    """The message about a ConfigMap that holds no project, or not where it has to be."""
    below = (path.parent for path in list_files(project) if path.name == PROJECT_FILE)
    if folder := min((path.relative_to(project).as_posix() for path in below), default=""):
        return (
            f"the project's ConfigMap holds {folder}/{PROJECT_FILE}, but also what is not in "
            f"{folder}: make the archive of the folder {folder} alone"
        )
    found = ", ".join(entry.name for entry in _entries(source)) or "nothing"
    return (
        f"the project's ConfigMap holds no {PROJECT_FILE} (found: {found}); create it from the "
        "project's files, or from an archive of the project's folder, named *.tgz or *.tar.gz"
    )


def _entries(source: Path) -> list[Path]:
    """The keys, without the ``..data`` links by which the kubelet swaps a ConfigMap's versions."""
    return (
        sorted(entry for entry in source.iterdir() if not entry.name.startswith(".."))
        if source.is_dir()
        else []
    )
