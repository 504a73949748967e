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

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dbt_protocol.plans import PreparePlan
from dbt_runner.artifact_files import MANIFEST, RUN_RESULTS, STATE_FILES
from dbt_runner.bucket import BucketError, DeniedError, MinioStore
from dbt_runner.layout import Layout
from dbt_runner.outcome.merge import RESULT
from dbt_runner.volume import Volume

_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds between tries


class MissingStateError(Exception):
    """The state is not in the bucket."""


def restore(
    layout: Layout, plan: PreparePlan, env: Mapping[str, str], say: Callable[[str], None]
) -> None:
    """Fetch what the plan asks for.

    Raises:
        MissingStateError: the state is required, and does not exist.
        BucketError: nobody can tell whether the state exists.
    """
    if plan.bucket is None or not (plan.previous or plan.state):
        return
    store = MinioStore(plan.bucket, env)
    if plan.previous:
        try:
            fetched = _fetch(store, plan.previous, layout, layout.previous, [RESULT, RUN_RESULTS])
            names = ", ".join(fetched) or "there are none, or the bucket's key may not read them"
            say(f"fetched the results of earlier attempts: {names}")
        except BucketError as error:
            say(
                "the results of earlier attempts cannot be fetched, so everything runs again: "
                f"{error}"
            )
    if plan.state:
        found = _fetch(store, plan.state, layout, layout.state, STATE_FILES)
        if MANIFEST not in found and plan.state_required:
            raise MissingStateError(
                f"the state {plan.state} is not in bucket {plan.bucket.name}: it was deleted "
                "there; "
                "set state.onMissing: FullBuild, or run a full build first"
            )
        say(f"fetched the state {plan.state}: {', '.join(found) or 'it does not exist'}")


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


def _persistently(work: Callable[[], bool]) -> bool:
    for pause in _PAUSES:
        try:
            return work()
        except BucketError as error:
            if error.final:
                raise
            time.sleep(pause)
    return work()
