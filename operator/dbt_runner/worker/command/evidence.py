"""What is known of a dbt that has ended: by what it has printed, and by artifacts of its own."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dbt_runner.artifact_files import RUN_RESULTS, SOURCES
from dbt_runner.json_files import read_results
from dbt_runner.outcome.classify import LACKS_DRIVER, LACKS_STATE
from dbt_runner.outcome.steps import find_values
from dbt_runner.worker.command.dbt_program import ProgramEnd
from dbt_runner.worker.unreadable import name_unreadable_file
from dbt_runner.worker_messages import DbtEnd

_EMPTY = re.compile(r"nothing to do|no nodes selected", re.IGNORECASE)
# What dbt printed, as the exception that its Python API would have raised.
_EXCEPTIONS = (
    (re.compile(r"does not have a target named", re.IGNORECASE), "DbtProfileError"),
    # The following four are of dbt 2.
    (re.compile(r"InvalidConfig.{0,20}target '.{0,200}' not found"), "DbtProfileError"),
    (re.compile(r"DbDriverFailed.{0,1000}HTTP error", re.DOTALL), LACKS_DRIVER),
    (re.compile(r"ManifestLoadFailed"), "DbtRuntimeError"),
    (re.compile(r"InvalidConfig \(dbt"), "DbtConfigError"),
    (re.compile(r"no such option|unexpected argument|usage: dbt", re.IGNORECASE), "UsageError"),
    (re.compile(r"profiles?\.yml|could not find profile", re.IGNORECASE), "DbtConfigError"),
)
_LACKS_STATE = re.compile(r"no comparison (?:manifest|run_results)", re.IGNORECASE)
# What dbt 2 warns of, and nothing else comes of it.
_UNHANDLED = re.compile(r"^\[warning\].{0,99}(?:Unhandled command|`dbt [^`]{0,40}` is not supp)")
# What a command leaves whatever is selected.
_LEAVES = {"source freshness": SOURCES, "docs generate": "catalog.json"}
_SHOWN_LINES = 10
# Commands that have nothing more to do where nothing is selected.
_ENDS_EMPTY = ("build", "run", "seed", "snapshot", "test", "clone", "compile", "list", "source")


def gather_end(
    ended: ProgramEnd, argv: Sequence[str], folder: Path, started: float, run_uid: str
) -> DbtEnd:
    """What the supervisor needs to know of a step that dbt has ended with an exit code.

    Args:
        ended: dbt's end.
        argv: dbt's arguments.
        folder: dbt's target path.
        started: when the step began, in seconds since the epoch.
        run_uid: of the run, by which its artifacts are known.
    """
    artifacts = [read_results(folder / name) or {} for name in (RUN_RESULTS, SOURCES)]
    own = [
        artifact for artifact in artifacts if is_own(artifact.get("metadata", {}), started, run_uid)
    ]
    results = [result for artifact in own for result in artifact.get("results", ())]
    nodes = [str(result.get("unique_id", "")) for result in results]
    end = DbtEnd(
        exit_code=ended.code,
        invocation_id=_find_text(own, "invocation_id"),
        dbt_version=_find_text(own, "dbt_version"),
        expected=nodes or None,  # no more is known than what has a result
        empty=any(_EMPTY.search(line) for line in ended.lines) or _lists_nothing(ended, argv),
    )
    if not ended.code:
        return _refuse_undone(end, ended, argv, folder)
    said = explain_failure(ended, argv)
    if not own and argv[0] in _ENDS_EMPTY and _has_selected_nothing(said.message, argv):
        # Whether that is a failure is for onEmptySelection to say, not for --warn-error.
        return replace(end, exit_code=0, empty=True)
    end = replace(end, errors=said.errors)
    # Of dbt 2 the results may lack what has failed.
    says_all = bool(own) and ended.events is None
    return end if says_all else replace(end, exception=said.exception, message=said.message)


def _lists_nothing(ended: ProgramEnd, argv: Sequence[str]) -> bool:
    """Whether dbt 2 was to list something: where there is nothing, it does not say so."""
    return argv[0] == "list" and ended.events is not None and not ended.events.printed


def _refuse_undone(end: DbtEnd, ended: ProgramEnd, argv: Sequence[str], folder: Path) -> DbtEnd:
    """Take it for no success that dbt 2 has warned of a command that it does not do, or that what
    the command is there for has not come of it.
    """
    if ended.events is None:
        return end
    said = next((line for line in ended.lines if _UNHANDLED.search(line)), "")
    artifact = _LEAVES.get(" ".join(argv[:2]))
    if not said and artifact and not (folder / artifact).exists():
        said = f"dbt {' '.join(argv[:2])} ended as if it had succeeded, and left no {artifact}"
    return replace(end, reason="ConfigError", message=said) if said else end


def _has_selected_nothing(text: str, argv: Sequence[str]) -> bool:
    """Whether dbt has failed because of an empty selection: by its words, or because they are
    about the only criterion that there is.
    """
    selected = find_values(argv, "--select")
    criterion = f"The selection criterion '{selected[0]}' does not match" if selected else ""
    is_only = len(selected) == 1 and " " not in selected[0] and criterion in text
    return is_only or bool(_EMPTY.search(text))


def _find_text(artifacts: Sequence[Mapping[str, Any]], name: str) -> str:
    """What the first artifact's metadata has under a name."""
    return next((str(artifact["metadata"].get(name) or "") for artifact in artifacts), "")


def is_own(metadata: Mapping[str, Any], started: float, run_uid: str) -> bool:
    """Whether an artifact is of this run and not from before the step's start. dbt writes its times
    in UTC.
    """
    stamp = (metadata.get("env") or {}).get("RUN_UID", run_uid)
    moment = str(metadata.get("invocation_started_at") or metadata.get("generated_at") or "")
    try:
        at = calendar.timegm(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return False
    return stamp == run_uid and at >= int(started)


def explain_failure(ended: ProgramEnd, argv: Sequence[str]) -> DbtEnd:
    """What dbt had to say about its failure, and the exception that this tells of."""
    logged = ended.events.errors[:1] if ended.events else []
    text = "\n".join(logged or find_telling_lines(ended.lines))
    if "--state" not in argv and _LACKS_STATE.search(text):
        text = LACKS_STATE
    known = next((name for words, name in _EXCEPTIONS if words.search(text)), "DbtRuntimeError")
    exception = [known, "DbtBaseException"] if ended.code > 0 else []
    errors = [text] if text else []
    end = DbtEnd(message=text, exit_code=abs(ended.code), exception=exception, errors=errors)
    return name_unreadable_file(end)


def find_telling_lines(lines: Sequence[str]) -> Sequence[str]:
    """The lines after dbt's "Encountered an error", else those from the first that speaks of one,
    else the last.
    """
    said = [line for line in lines if line.strip() and not line.startswith("{")]
    for number in range(len(said) - 1, -1, -1):
        if "encountered an error" in said[number].lower():
            rest = said[number + 1 : number + 1 + _SHOWN_LINES]
            return rest or said[number : number + 1]
    first = next((number for number, line in enumerate(said) if "error" in line.lower()), None)
    return said[-_SHOWN_LINES // 2 :] if first is None else said[first : first + _SHOWN_LINES]
