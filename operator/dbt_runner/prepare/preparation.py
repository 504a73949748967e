"""The init container: puts the runner, and the project unless the dbt image has it, where the other
containers find it.

It runs in the operator's runner image, without rights and with a read-only root. The containers of
the pod may run as different users; what they share is the fsGroup, so folders are made writable for
the group.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from dbt_protocol.plans import PreparePlan
from dbt_protocol.summaries import Summary
from dbt_runner.bucket import BucketError
from dbt_runner.layout import Layout
from dbt_runner.prepare import fingerprint, git, restore
from dbt_runner.prepare.config_map import unpack_config_map
from dbt_runner.prepare.fingerprint import list_files
from dbt_runner.prepare.git_command import Limits
from dbt_runner.prepare.git_messages import SourceError, Wanted
from dbt_runner.prepare.lfs_pointers import refuse_pointers
from dbt_runner.prepare.looked_into import list_looked_into
from dbt_runner.prepare.placing import place
from dbt_runner.prepare.project_folder import PROJECT_FILE, PrepareError, make_folder
from dbt_runner.volume import remove_folder

# What to do about a pointer of Git LFS.
_FETCH = "set source.git.lfs: true in the DbtProject"
_PACK = "pack a checkout that has the files"


class _Stopped(BaseException):
    """The pod is being deleted."""


def main(
    layout: Layout,
    plan: PreparePlan,
    env: Mapping[str, str],
    protocols: Sequence[str] = git.PROTOCOLS,
) -> int:
    """Prepare the shared volume; returns the container's exit code. ``protocols`` are those that
    git may use.
    """
    commit = ""
    try:
        with _stoppable():
            place(layout)
            if plan.source == "git":
                commit = _clone(layout, plan, protocols)
            _source(layout, plan, commit)
            restore.restore(layout, plan, env, _say)
    except PrepareError as error:
        return _failed(layout, Summary("ConfigError", str(error), exit_code=2, commit=commit))
    except SourceError as error:
        found = Summary("SourceError", str(error), exit_code=2, commit=commit, again=error.again)
        return _failed(layout, found)
    except restore.MissingStateError as error:
        return _failed(layout, Summary("MissingState", str(error), exit_code=2, commit=commit))
    except BucketError as error:
        message = f"the state cannot be fetched: {error}"
        reason = "ConfigError" if error.final else "Infrastructure"
        return _failed(layout, Summary(reason, message, exit_code=2, commit=commit))
    except _Stopped:
        return _failed(
            layout, Summary("Cancelled", "stopped while it was being prepared", exit_code=1)
        )
    layout.report(Summary(commit=commit).to_json())
    return 0


def _source(layout: Layout, plan: PreparePlan, commit: str) -> None:
    """Put the project where it is expected, and see that it is one."""
    if plan.source == "configMap":
        unpack_config_map(layout.source, layout.project)
        _identify(layout, None)
        whole = PurePosixPath()
        refuse_pointers(layout.project, [whole], "the project's ConfigMap", _PACK)
    elif plan.source == "git":
        _identify(layout, commit)
        _must_hold_project(layout.project, plan)
        if not plan.lfs:
            places = list_looked_into(layout.project, plan.sub_path)
            refuse_pointers(layout.project, places, str(Wanted(plan.url, plan.ref)), _FETCH)
    elif plan.source != "image":
        raise PrepareError(
            f"this runner does not know the source {plan.source!r}; operator and runner image must "
            "match"
        )


def _failed(layout: Layout, summary: Summary) -> int:
    _say(summary.message)
    layout.report(summary.to_json())
    return summary.exit_code


def _say(text: str) -> None:
    print(f"dbt-operator: {text}", flush=True)


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


def _identify(layout: Layout, commit: str | None) -> None:
    """Record what the project's files are."""
    found = {"commit": commit, "fingerprint": fingerprint.stamp(layout.project)}
    layout.source_info.write_text(json.dumps(found), encoding="utf-8")


def _clone(layout: Layout, plan: PreparePlan, protocols: Sequence[str]) -> str:
    """Check the repository out; the commit."""
    # Init containers run again when a pod's sandbox is lost.
    remove_folder(layout.project)
    make_folder(layout.project)
    wanted = Wanted(
        plan.url,
        plan.ref,
        plan.commit,
        plan.reachable_from,
        plan.sub_path,
        submodules=plan.submodules,
        lfs=plan.lfs,
    )
    limits = Limits(plan.timeout_seconds)
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
    where = (
        f"source.git.subPath {plan.sub_path}" if plan.sub_path else "the repository's top folder"
    )
    found = sorted(
        path.parent.relative_to(checkout).as_posix()
        for path in list_files(checkout)
        if path.name == PROJECT_FILE
    )
    hint = (
        f"set source.git.subPath to one of: {', '.join(found[:5])}"
        if found
        else "the repository holds none at all"
    )
    raise SourceError(
        f"{Wanted(plan.url, plan.ref)}: there is no {PROJECT_FILE} in {where}; {hint}"
    )
