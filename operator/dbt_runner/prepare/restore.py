"""What the init container fetches from the bucket: the results of earlier attempts, and the state
to compare with.

The two differ in what their absence means. Without the earlier results everything runs again, which
is always right. A state that cannot be fetched must not look like one that does not exist, or a run
that was to build a few models would build all of them because of a lost packet; so that ends the
attempt, and the next one tries again.

A store whose objects the key may not list refuses what does not exist, too. So a refusal means that
there is nothing, except where something has to be there: the manifest of a state.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dbt_protocol.json_input import parse_json
from dbt_protocol.messages import ProtocolError
from dbt_protocol.paths import OVERWRITTEN
from dbt_protocol.plans import PreparePlan
from dbt_protocol.result_file import ResultFile, StepResult
from dbt_runner.artifact_files import FRESHNESS, MANIFEST, RUN_RESULTS, SOURCES, STATE_FILES
from dbt_runner.bucket import BucketError, DeniedError, MinioStore
from dbt_runner.contents import CONTENTS, find_fault
from dbt_runner.layout import Layout
from dbt_runner.outcome.merge import RESULT
from dbt_runner.volume import Volume, remove_folder

_NAME = re.compile(r"\w[^/\0]{0,200}")  # of a step or a window
_MOST_BYTES = 64 << 20  # of result.json
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds between tries


class MissingStateError(Exception):
    """The state is not in the bucket."""


def restore(
    layout: Layout, plan: PreparePlan, env: Mapping[str, str], say: Callable[[str], None]
) -> None:
    """Fetch what the plan asks for.

    Raises:
        MissingStateError: the state is required, and there is none.
        BucketError: nobody can tell whether the state exists.
    """
    if plan.bucket is None or not (plan.previous or plan.state):
        return
    if plan.previous:
        try:
            store = MinioStore(plan.bucket, env)
            names = [CONTENTS, RESULT, RUN_RESULTS]
            fetched = _fetch(store, plan.previous, layout, layout.previous, names)
            fetched += _fetch_sources(store, plan.previous, layout)
            told = ", ".join(fetched) or "there are none, or the bucket's key may not read them"
            say(f"fetched the results of earlier attempts: {told}")
        except BucketError as error:
            say(
                "the results of earlier attempts cannot be fetched, so everything runs again: "
                f"{error}"
            )
    if plan.state:
        _restore_state(MinioStore(plan.bucket, env), plan, layout, say)


def _restore_state(
    store: MinioStore, plan: PreparePlan, layout: Layout, say: Callable[[str], None]
) -> None:
    """Fetch the state, which is whole or none.

    Raises:
        MissingStateError: the state is required, and there is none.
        BucketError: nobody can tell whether there is.
    """
    run, _, last = plan.state.rpartition("/")
    found: list[str] = []
    why = ""
    if last == OVERWRITTEN:
        why = f"{run.rpartition('/')[2]} has built something else over it since"
    elif MANIFEST not in (
        found := _fetch(store, plan.state, layout, layout.state, [*STATE_FILES, CONTENTS])
    ):
        why = "it is not in the bucket: it was deleted there"
    elif CONTENTS in found:  # operators before it was written left states, too
        why = find_fault(layout.state, plan.state.rpartition("/")[2])
    if why and plan.state_required:
        raise MissingStateError(
            f"the state {plan.state} cannot be used: {why}; "
            "set state.onMissing: FullBuild, or run a full build first"
        )
    if why:
        remove_folder(layout.state)
        say(f"the state {plan.state} is not used, so everything is built: {why}")
    else:
        say(f"fetched the state {plan.state}: {', '.join(found)}")


def _fetch(
    store: MinioStore, prefix: str, layout: Layout, to: Path, names: Sequence[str]
) -> list[str]:
    """Download those of the objects that exist; their names.

    Raises:
        BucketError: nobody can tell whether one exists; of a manifest also if it is refused.
    """
    to.mkdir(parents=True, exist_ok=True)
    volume = Volume(layout.shared)

    def get(name: str) -> bool:
        try:
            return _persistently(lambda: store.get(f"{prefix}/{name}", volume, to / name))
        except DeniedError:
            if name == MANIFEST:
                raise
            return False

    return [name for name in names if get(name)]


def _fetch_sources(store: MinioStore, prefix: str, layout: Layout) -> list[str]:
    """Download what sourceFreshness steps have found, each from the attempt that it was run in; the
    names.
    """
    fetched = []
    for key, step in _list_freshness(layout):
        to = replace(layout, window=key).previous_sources(step.name).parent
        below = [part for part in (f"attempt-{step.attempt}", key, step.name) if part]
        found = _fetch(store, "/".join([prefix, *below]), layout, to, [SOURCES])
        fetched += [f"{step.name}/{name}" for name in found]
    return fetched


def _list_freshness(layout: Layout) -> list[tuple[str, StepResult]]:
    """The sourceFreshness steps that were run, each with the key of its window, if it has one.

    None where the results cannot be read: everything runs again then. They are what the project's
    code may have written, so their names are not taken for names of folders unseen.
    """
    try:
        text = Volume(layout.shared).read(layout.previous / RESULT, _MOST_BYTES)
        found = ResultFile.from_document(parse_json(text.decode()))
    except (OSError, ValueError, AttributeError, ProtocolError):
        return []
    rows = [("", found.steps or ())]
    rows += [(window.key, window.steps or ()) for window in found.windows or ()]
    return [
        (key, step)
        for key, steps in rows
        for step in steps
        if step.command == FRESHNESS and step.state != "Skipped"
        if isinstance(step.attempt, int) and _is_name(step.name) and (not key or _is_name(key))
    ]


def _is_name(text: object) -> bool:
    return isinstance(text, str) and bool(_NAME.fullmatch(text))


def _persistently(work: Callable[[], bool]) -> bool:
    for pause in _PAUSES:
        try:
            return work()
        except BucketError as error:
            if error.final:
                raise
            time.sleep(pause)
    return work()
