"""The steps of a run where dbt is no Python program: dbt Fusion, or a wrapper in another language.

It stands in for :mod:`dbt_runner.worker.zygote` and tells the supervisor the same events, but knows
dbt by its command line and its artifacts only. So each step loads dbt and parses for itself, in a
process of its own; there is no events.jsonl and no progress within a step; and of a failure that
left no results only what dbt printed is known.

What must hold all the same does. Environment validation asks ``dbt list`` for what a step selects,
and the manifest that this leaves for where it would be written, before any step runs; where it
cannot be done, nothing runs. And a step succeeds only with results that are proved to be its own:
in a folder that was empty before, stamped with this run's UID if dbt stamps at all, and not older
than the step.
"""

from __future__ import annotations

import calendar
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dbt_protocol import flag_variables
from dbt_protocol.json_input import parse_json
from dbt_protocol.plans import RunPlan, Step
from dbt_runner import redact
from dbt_runner.layout import Layout
from dbt_runner.outcome.steps import narrow_to_window
from dbt_runner.redact import Redactor, environment_secrets, scan_profiles
from dbt_runner.worker import deps, environment, full_refresh, sharing
from dbt_runner.worker.channel import Channel, Commands
from dbt_runner.worker_messages import Failed, Ready, RunStep, StepEnded, StepOutcome

# Of a step's flags these decide what ``dbt list`` lists ...
_SELECTING = frozenset(
    {
        "--select",
        "-s",
        "--models",
        "-m",
        "--exclude",
        "--selector",
        "--resource-type",
        "--resource-types",
        "--exclude-resource-type",
        "--exclude-resource-types",
        "--indirect-selection",
        "--vars",
        "--state",
    }
)
# ... and these do not, and ``dbt list`` does not know all of them. Any other cannot be judged.
_NOT_SELECTING = frozenset(
    {
        "--threads",
        "--fail-fast",
        "-x",
        "--full-refresh",
        "-f",
        "--empty",
        "--sample",
        "--store-failures",
        "--export-saved-queries",
        "--event-time-start",
        "--event-time-end",
        "--warn-error",
        "--warn-error-options",
        "--defer",
        "--defer-state",
        "--favor-state",
        "--quiet",
        "-q",
    }
)
# What a command builds of a selection, where it does not say so by a flag. ``build`` builds
# everything.
_TYPES = {
    "build": [],
    "run": ["model"],
    "seed": ["seed"],
    "snapshot": ["snapshot"],
    "test": ["test", "unit_test"],
    "clone": ["model", "seed", "snapshot"],
}
_ELSEWHERE = re.compile(
    r"--(target|profile|profiles-dir|project-dir|target-path|log-path)(=.*)?|-t.*", re.DOTALL
)
_TRUE = {"1", "true", "yes", "y", "on", "t"}

_TIME = re.compile(r"^\d\d:\d\d:\d\d(\.\d+)?\s+")
_EMPTY = re.compile(r"nothing to do|no nodes selected", re.IGNORECASE)
# What dbt printed, as the exception that its Python API would have raised.
_EXCEPTIONS = (
    (re.compile(r"does not have a target named", re.IGNORECASE), "DbtProfileError"),
    (re.compile(r"no such option|unexpected argument|usage: dbt", re.IGNORECASE), "UsageError"),
    (re.compile(r"profiles?\.yml|could not find profile", re.IGNORECASE), "DbtConfigError"),
)
_KEPT_LINES = 400
_SHOWN_LINES = 10
_REST_SECONDS = 5.0  # for output that is still in the pipe when dbt has ended


class _FailedError(Exception):
    """The run cannot begin; ``content`` goes to the supervisor."""

    def __init__(self, **content: Any) -> None:
        super().__init__(str(content))
        self.content = content


@dataclass
class _Ended:
    code: int  # negative: the signal that ended it
    lines: list[str]  # the last that it printed, without the time


def main(
    layout: Layout,
    plan: RunPlan,
    commands: int,
    events: int,
    step: int | None,
    window: int | None = None,
) -> int:
    """Run until the supervisor closes the pipe, or, with a step's number, this step alone."""
    channel = Channel(events)
    layout, plan = narrow_to_window(layout, plan, window)
    worker = _Worker(layout, plan, channel)
    if step is not None:
        return worker.alone(step)
    try:
        worker.prepare()
    except _FailedError as error:
        channel.send(Failed(step=worker.at, **error.content))
        return 0
    known = worker.survey()
    words, unasked = sorted(known.words), sorted(known.unasked)
    ready = Ready(worker.version, "Command", worker.project, words=words, unasked=unasked)
    channel.send(ready)
    for command in Commands(commands):
        if isinstance(command, RunStep):
            channel.send(StepEnded(command.step, worker.run(command.step)))
    return 0


class _Worker:
    def __init__(self, layout: Layout, plan: RunPlan, channel: Channel) -> None:
        self._layout = layout
        self._plan = plan
        self._channel = channel
        self._interrupted = False
        # Meant for dbt, which is in the same group; this process ends with the pipe.
        signal.signal(signal.SIGINT, self._note)
        self._secrets = _secrets(layout)
        self._listed: dict[tuple[str, ...], tuple[set[str], Any]] = {}
        # By step: the nodes that write it selects, where that was asked.
        self._expected: dict[str, set[str]] = {}
        self.at = 0  # the step that is being prepared
        self.version = ""
        self.project = plan.project_dir

    def _note(self, *_: object) -> None:
        self._interrupted = True

    # Before the first step

    def prepare(self) -> None:
        """Validate the environment of all steps.

        Raises:
            _FailedError: the run must not begin.
        """
        if names := flag_variables.find_changing(os.environ):
            raise _FailedError(reason="ConfigError", message=flag_variables.complaint(names))
        self._install()
        for number, step in enumerate(self._plan.steps):
            self.at = number
            _refuse_other_places(step.argv, self._plan.target)
            self._refuse_full_refresh(step)
            try:
                self._validate(step)
            except environment.PatternError as error:
                raise _FailedError(reason="ConfigError", message=str(error)) from error

    def survey(self) -> redact.Known:
        """What the project says, by which its words are told from secrets."""
        redactor = Redactor(self._secrets.values())
        texts = map(redact.read_text, sharing.code(Path(self.project)))
        profile = redact.read_text(self._layout.profiles / "profiles.yml")
        return redact.survey(redactor, texts, profile, os.environ)

    def _install(self) -> None:
        """Run ``dbt deps`` where packages are declared; if need be in a copy, which then is the
        project.
        """
        project = Path(self._plan.project_dir)
        if not deps.needed_by_command(project, self._plan.deps):
            return
        self.project = str(deps.writable(project, self._layout.project))
        os.environ["DBT_PROJECT_DIR"] = self.project
        os.chdir(self.project)
        try:
            ended = self._dbt(
                deps.command(self._plan.steps[0].argv), self._layout.deps, keep=_KEPT_LINES
            )
        except OSError as error:
            raise _FailedError(
                reason="ConfigError", message=f"dbt cannot be started: {error.strerror}"
            ) from error
        except KeyboardInterrupt:
            raise _FailedError(
                exit_code=2, exception=["KeyboardInterrupt"], message="interrupted"
            ) from None
        if ended.code:
            said = "; ".join(_telling(ended.lines)) or "its log says no more"
            raise _FailedError(
                reason="DepsFailed", message=f"dbt deps ended with exit code {ended.code}: {said}"
            )

    def _validate(self, step: Step) -> None:
        wanted = (self._plan.schema_pattern, self._plan.database_pattern)
        writes = step.argv[0] in environment.WRITING_COMMANDS or step.argv[0].startswith("-")
        if not any(wanted) or not writes:
            return
        allowed = environment.Allowed.of(*wanted)
        selected, manifest = self._list(step)
        try:
            places = list(
                environment.written(
                    manifest,
                    store_failures=_is_set(step.argv, "--store-failures"),
                    exports=_is_set(step.argv, "--export-saved-queries"),
                )
            )
        except (AttributeError, TypeError) as error:
            raise _cannot_tell(f"dbt's manifest.json is not as expected: {error}") from error
        writing = {place.unique_id for place in places} & manifest.nodes.keys()
        self._expected[step.name] = writing & selected
        found = environment.offenders(iter(places), allowed)
        # A list that names nothing proves nothing: it may be that this dbt answers in another form.
        complaint = environment.complaint(
            found, selected or {place.unique_id for place, _ in found}
        )
        if complaint:
            raise _FailedError(reason="EnvironmentMismatch", message=complaint)

    def _refuse_full_refresh(self, step: Step) -> None:
        """Have dbt list what the step selects, where a full refresh would lose what it does not
        build again.
        """
        windows = bool(self._plan.windows)
        writes = step.argv[0] in environment.WRITING_COMMANDS
        if not writes or not full_refresh.would_matter(step, windows=windows):
            return
        selected, manifest = self._list(step)
        found = set(full_refresh.find_losing(manifest, step, windows=windows))
        # A list that names nothing proves nothing, as for the places.
        if losing := sorted(found.intersection(selected or found)):
            raise _FailedError(reason="ConfigError", message=full_refresh.complaint(losing))

    def _list(self, step: Step) -> tuple[set[str], Any]:
        """What a step selects, and the manifest that it selects from."""
        argv = listing(step.argv)
        if argv is None:
            raise _cannot_tell(f"what dbt {' '.join(step.argv)} writes cannot be asked of dbt list")
        key = tuple(argv)
        if key not in self._listed:
            self._listed[key] = self._ask(argv, self._layout.parse / str(len(self._listed)))
        return self._listed[key]

    def _ask(self, argv: list[str], folder: Path) -> tuple[set[str], Any]:
        try:
            ended = self._dbt(argv, folder, keep=None)
        except OSError as error:
            raise _FailedError(
                reason="ConfigError", message=f"dbt cannot be started: {error.strerror}"
            ) from error
        except KeyboardInterrupt:
            raise _FailedError(
                exit_code=2, exception=["KeyboardInterrupt"], message="interrupted"
            ) from None
        if ended.code:
            raise _FailedError(exit_code=abs(ended.code), **_complaint(ended))
        manifest = _read(folder / "manifest.json")
        if manifest is None:
            raise _cannot_tell("dbt list left no manifest.json")
        self.version = str(manifest.get("metadata", {}).get("dbt_version", ""))
        shutil.copyfile(
            folder / "manifest.json", self._layout.parsed_manifest
        )  # for steps that leave none
        try:
            answers = (parse_json(line) for line in ended.lines if line.startswith("{"))
            selected = {str(answer["unique_id"]) for answer in answers}
            return selected, _objects(manifest)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _cannot_tell(f"dbt list answered something unexpected: {error!r}") from error

    # A step

    def run(self, number: int) -> int:
        """Run a step and report on it; the wait status of dbt's process."""
        step = self._plan.steps[number]
        folder = self._layout.work / step.name
        shutil.rmtree(folder, ignore_errors=True)
        started = time.time()
        try:
            ended = self._dbt(step.argv, folder, keep=_KEPT_LINES)
        except OSError as error:
            message = f"dbt cannot be started: {error.strerror}"
            self._channel.send(StepOutcome("ConfigError", message, step=number))
            return 0
        except KeyboardInterrupt:
            self._channel.send(
                StepOutcome(exit_code=2, exception=["KeyboardInterrupt"], step=number)
            )
            return 0
        if ended.code < 0:
            return -ended.code
        content = outcome(ended.code, ended.lines, folder, started, self._plan.run_uid)
        content["left_out"] = self._left_out(step)
        expected = self._expected.get(step.name, set()) | set(content["expected"] or ())
        content["expected"] = sorted(expected) or None
        self._channel.send(StepOutcome(step=number, **content))
        return 0

    def _left_out(self, step: Step) -> int | None:
        """None of the nodes that a build is asked for, where no selector can be the default; else
        that is not known.

        There is no YAML parser here: a mention is enough of a doubt.
        """
        if step.argv[0] != "build" or "--selector" in step.argv:
            return None
        try:
            selectors = Path(self.project, "selectors.yml").read_text(encoding="utf-8")
        except FileNotFoundError:
            return 0
        except (OSError, ValueError):
            return None
        return None if "default" in selectors else 0

    def alone(self, number: int) -> int:
        """Run a step in a process that is there for nothing else, and end as dbt did."""
        status = self.run(number)
        if status:
            with suppress(OSError):  # of SIGKILL, which has no handler
                signal.signal(status, signal.SIG_DFL)
            os.kill(os.getpid(), status)
        return 0

    def _dbt(self, argv: Sequence[str], folder: Path, keep: int | None) -> _Ended:
        """Run dbt with this target and log path, pass on what it prints and keep the last of it.

        Raises:
            OSError: it cannot be started.
            KeyboardInterrupt: the run has been stopped, so it was not started.
        """
        folder.mkdir(parents=True, exist_ok=True)
        env = {
            **os.environ,
            **self._secrets,
            "DBT_TARGET_PATH": str(folder),
            "DBT_LOG_PATH": str(folder),
        }
        program = shutil.which("dbt")
        if program is None:
            raise FileNotFoundError(2, "there is no dbt on the PATH")
        if self._interrupted:
            raise KeyboardInterrupt
        process = subprocess.Popen(  # noqa: S603 - an argv list, and the dbt that the image brings
            [program, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
        )
        if self._interrupted:
            process.send_signal(signal.SIGINT)  # the group's came before this one belonged to it
        lines: deque[str] = deque(maxlen=keep)
        reader = threading.Thread(
            target=_pass_on,
            args=(process, lines),
            kwargs={"hide_answers": keep is None},
            daemon=True,
        )
        reader.start()
        code = process.wait()
        reader.join(_REST_SECONDS)  # not for ever: a process that dbt left behind may hold the pipe
        return _Ended(code, list(lines))


def _pass_on(process: subprocess.Popen[bytes], lines: deque[str], *, hide_answers: bool) -> None:
    for data in process.stdout or ():
        text = _TIME.sub("", data.decode(errors="replace").rstrip())
        lines.append(text)
        if not (hide_answers and text.startswith("{")):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


def _secrets(layout: Layout) -> dict[str, str]:
    """Variables whose values dbt keeps out of its own log, which is uploaded as it is if the
    container is killed.

    The supervisor redacts by the same scan: there is no YAML parser here that could read the
    profile better.
    """
    found = environment_secrets(os.environ)
    with suppress(OSError, ValueError):
        found |= scan_profiles(
            (layout.profiles / "profiles.yml").read_text(encoding="utf-8"), os.environ
        )
    return {
        f"{redact.OWN_VARIABLES}{n}": secret
        for n, secret in enumerate(sorted(Redactor(found).secrets))
    }


def _refuse_other_places(argv: Sequence[str], target: str) -> None:
    """The target is set by the environment; without dbt's API nobody would see what a flag makes of
    it.

    Raises:
        _FailedError: a flag names another one, or another profile or project.
    """
    for number, word in enumerate(argv):
        if not _ELSEWHERE.fullmatch(word):
            continue
        value = word.partition("=")[2] if "=" in word else "".join(argv[number + 1 : number + 2])
        if word.split("=")[0] not in ("--target", "-t") or value != target:
            message = (
                f"a step must not set {word.split('=')[0]}: the DbtTarget allows only the target "
                f'"{target}"'
            )
            raise _FailedError(reason="EnvironmentMismatch", message=message)


def listing(argv: Sequence[str]) -> list[str] | None:
    """The ``dbt list`` that names what a command line selects; None if there is none that surely
    does.
    """
    command, words = argv[0], argv[1:]
    if command not in _TYPES:
        return None
    kept: list[str] = []
    keep = False
    for word in words:
        if word.startswith("-"):
            flag = word.split("=")[0]
            if flag not in _SELECTING | _NOT_SELECTING:
                return None
            keep = flag in _SELECTING
        if keep:
            kept.append(word)
    types = [] if any(word.startswith("--resource-type") for word in kept) else _TYPES[command]
    chosen = [part for kind in types for part in ("--resource-type", kind)]
    return ["list", "--quiet", "--output", "json", "--output-keys", "unique_id", *chosen, *kept]


def _is_set(argv: Sequence[str], flag: str) -> bool:
    variable = "DBT_" + flag.strip("-").replace("-", "_").upper()
    return flag in argv or os.environ.get(variable, "").lower() in _TRUE


def _cannot_tell(why: str) -> _FailedError:
    message = (
        "nothing was sent to the warehouse, because where the run would write cannot be "
        f"validated: {why}"
    )
    return _FailedError(reason="ConfigError", message=message)


def _objects(manifest: Mapping[str, Any]) -> Any:
    """The parts of manifest.json that are validated, with attributes as dbt's own manifest has
    them.
    """
    parts = {name: manifest.get(name) or {} for name in ("functions", "saved_queries")}
    parts["nodes"] = manifest["nodes"]
    return SimpleNamespace(
        **{
            name: {key: _object(value) for key, value in found.items()}
            for name, found in parts.items()
        }
    )


def _object(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{key: _object(inner) for key, inner in value.items()})
    return [_object(inner) for inner in value] if isinstance(value, list) else value


def outcome(
    code: int, lines: Sequence[str], folder: Path, started: float, run_uid: str
) -> dict[str, Any]:
    """What the supervisor needs to know of a step that dbt has ended with an exit code."""
    artifacts = [_read(folder / name) or {} for name in ("run_results.json", "sources.json")]
    own = [
        artifact
        for artifact in artifacts
        if is_own(artifact.get("metadata") or {}, started, run_uid)
    ]
    results = [result for artifact in own for result in artifact.get("results") or ()]
    nodes = [str(result.get("unique_id", "")) for result in results]
    content: dict[str, Any] = {
        "exit_code": code,
        "invocation_id": next(
            (str(artifact["metadata"].get("invocation_id") or "") for artifact in own), ""
        ),
        "dbt_version": next(
            (str(artifact["metadata"].get("dbt_version") or "") for artifact in own), ""
        ),
        "expected": nodes or None,  # no more is known than what has a result
        "empty": any(_EMPTY.search(line) for line in lines),
    }
    if code:
        said = _complaint(_Ended(code, list(lines)))
        content["errors"] = said["errors"]
        if not own:
            content.update(said)
    return content


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


def _complaint(ended: _Ended) -> dict[str, Any]:
    """What dbt had to say about its failure, and the exception that this tells of."""
    text = "\n".join(_telling(ended.lines))
    known = next((name for words, name in _EXCEPTIONS if words.search(text)), "DbtRuntimeError")
    exception = [known, "DbtBaseException"] if ended.code > 0 else []
    return {"exception": exception, "message": text, "errors": [text] if text else []}


def _telling(lines: Sequence[str]) -> Sequence[str]:
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


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
