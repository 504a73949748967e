"""The init container: puts the runner, and the project unless the dbt image has it, where the other containers find it.

It runs in the operator's runner image, without rights and with a read-only root. The containers of the pod may run as
different users; what they share is the fsGroup, so folders are made writable for the group.
"""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from dbt_runner import fingerprint, git, restore
from dbt_runner.bucket import BucketError
from dbt_runner.layout import Layout
from dbt_runner.protocol import PreparePlan, Summary

PROJECT_FILE = "dbt_project.yml"
_ARCHIVES = (".tar.gz", ".tgz")
_BROKEN_ARCHIVE = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)


class PrepareError(Exception):
    """The project cannot be prepared; the message says what is wrong with its source and what to do."""


class _Stopped(BaseException):
    """The pod is being deleted."""


def main(layout: Layout, plan: PreparePlan, env: Mapping[str, str], protocols: Sequence[str] = git.PROTOCOLS) -> int:
    """Prepare the shared volume; returns the container's exit code. ``protocols`` are those that git may use."""
    commit = ""
    try:
        with _stoppable():
            _folders(layout)
            if plan.source == "git":
                commit = _clone(layout, plan, protocols)
            _source(layout, plan, commit)
            restore.restore(layout, plan, env, _say)
    except PrepareError as error:
        return _failed(layout, Summary("ConfigError", str(error), exit_code=2, commit=commit))
    except git.SourceError as error:
        return _failed(layout, Summary("SourceError", str(error), exit_code=2, commit=commit))
    except restore.MissingStateError as error:
        return _failed(layout, Summary("MissingState", str(error), exit_code=2, commit=commit))
    except BucketError as error:
        message = f"the state cannot be fetched: {error}"
        return _failed(layout, Summary("Infrastructure", message, exit_code=2, commit=commit))
    except _Stopped:
        return _failed(layout, Summary("Cancelled", "stopped while it was being prepared", exit_code=1))
    layout.report(Summary(commit=commit).to_json())
    return 0


def _source(layout: Layout, plan: PreparePlan, commit: str) -> None:
    """Put the project where it is expected, and see that it is one."""
    if plan.source == "configMap":
        unpack_config_map(layout.source, layout.project)
        _identify(layout, None)
    elif plan.source == "git":
        _identify(layout, commit)
        _must_hold_project(layout.project, plan)
    elif plan.source != "image":
        raise PrepareError(
            f"this runner does not know the source {plan.source!r}; operator and runner image must match"
        )


def _failed(layout: Layout, summary: Summary) -> int:
    _say(summary.message)
    layout.report(summary.to_json())
    return summary.exit_code


def _say(text: str) -> None:
    print(f"dbt-operator: {text}", flush=True)  # noqa: T201 - the container's log


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM end this: as PID 1 it would be ignored, and a large checkout takes minutes."""

    def stop(*_: object) -> None:
        raise _Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _folders(layout: Layout) -> None:
    for folder in (layout.shared, layout.work, layout.artifacts, layout.cache, layout.new_cache):
        _make(folder)
    shutil.copyfile(layout.bundled_runner, layout.runner)
    layout.runner.chmod(0o644)


def _make(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o2775)  # what is made in it belongs to the group, too


def _identify(layout: Layout, commit: str | None) -> None:
    """Record what the project's files are."""
    found = {"commit": commit, "fingerprint": fingerprint.stamp(layout.project)}
    layout.source_info.write_text(json.dumps(found), encoding="utf-8")


def _clone(layout: Layout, plan: PreparePlan, protocols: Sequence[str]) -> str:
    """Check the repository out; the commit."""
    # Init containers run again when a pod's sandbox is lost.
    shutil.rmtree(layout.project, ignore_errors=True)
    _make(layout.project)
    wanted = git.Wanted(plan.url, plan.ref, plan.commit)
    limits = git.Limits(plan.timeout_seconds)
    return git.check_out(wanted, layout.project, layout.git, limits=limits, protocols=protocols)


def _must_hold_project(checkout: Path, plan: PreparePlan) -> None:
    """See that there is a project where it is said to be.

    Raises:
        SourceError: there is none; the message says where there are any.
    """
    folder = checkout / plan.sub_path
    whole = checkout.resolve()
    if (folder / PROJECT_FILE).is_file() and whole in (folder.resolve(), *folder.resolve().parents):
        return
    where = f"source.git.subPath {plan.sub_path}" if plan.sub_path else "the repository's top folder"
    found = sorted(path.parent.relative_to(checkout).as_posix() for path in checkout.glob(f"**/{PROJECT_FILE}"))
    hint = f"set source.git.subPath to one of: {', '.join(found[:5])}" if found else "the repository holds none at all"
    raise git.SourceError(f"{git.Wanted(plan.url, plan.ref)}: there is no {PROJECT_FILE} in {where}; {hint}")


def unpack_config_map(source: Path, project: Path) -> None:
    """Copy the files of a mounted ConfigMap and unpack the archives among them.

    The keys of a ConfigMap hold no slashes, so a project with folders comes as an archive, ``kubectl create configmap
    shop --from-file=project.tgz``; or its keys are mapped to paths in the volume.

    Raises:
        PrepareError: an archive cannot be unpacked, or there is no dbt_project.yml in the end.
    """
    _make(project)
    archives = []
    for entry in _entries(source):
        if entry.name.endswith(_ARCHIVES):
            archives.append(entry)
        elif entry.is_dir():
            shutil.copytree(entry, project / entry.name, dirs_exist_ok=True)
        else:
            shutil.copyfile(entry, project / entry.name)
    for archive in archives:
        _unpack(archive, project)
    if not (project / PROJECT_FILE).is_file():
        found = ", ".join(entry.name for entry in _entries(source)) or "nothing"
        raise PrepareError(
            f"the project's ConfigMap holds no {PROJECT_FILE} (found: {found}); create it from the project's files, or "
            f"from an archive of the project's folder, named *.tgz or *.tar.gz"
        )


def _entries(source: Path) -> list[Path]:
    """The keys, without the ``..data`` links by which the kubelet swaps a ConfigMap's versions."""
    return sorted(entry for entry in source.iterdir() if not entry.name.startswith("..")) if source.is_dir() else []


def _unpack(archive: Path, project: Path) -> None:
    try:
        with tarfile.open(archive, "r:gz") as tar:
            members = [member for member in tar.getmembers() if not member.isdir()]
            top = None if (project / PROJECT_FILE).exists() else _top_folder(members)
            for member in members:
                _extract(tar, member, project / _inside(archive, member, top))
    except _BROKEN_ARCHIVE as error:
        raise PrepareError(f"{archive.name} in the project's ConfigMap is no whole .tar.gz archive: {error}") from error


def _inside(archive: Path, member: tarfile.TarInfo, top: str | None) -> PurePosixPath:
    """Where a file of the archive belongs in the project's folder.

    Checked here, since the filters of tarfile are not in every Python 3.11. Links are refused: they can lead out, too.

    Raises:
        PrepareError: it is no file, or would lie outside.
    """
    path = PurePosixPath(member.name)
    if not member.isfile() or path.is_absolute() or ".." in path.parts:
        raise PrepareError(
            f"{archive.name} in the project's ConfigMap is refused: {member.name} is no plain file inside the project"
        )
    return PurePosixPath(*path.parts[1:]) if top and path.parts[0] == top else path


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    if source is not None:
        with source, to.open("wb") as file:
            shutil.copyfileobj(source, file)
        to.chmod(0o775 if member.mode & 0o100 else 0o664)


def _top_folder(members: Iterable[tarfile.TarInfo]) -> str | None:
    """The folder that holds the project within the archive, if it is not the archive's top itself."""
    paths = [PurePosixPath(member.name) for member in members]
    projects = [path for path in paths if path.name == PROJECT_FILE and len(path.parts) <= 2]
    if any(len(path.parts) == 1 for path in projects):
        return None
    tops = {path.parts[0] for path in paths if path.parts}
    return next(iter(tops)) if len(tops) == 1 and projects else None
