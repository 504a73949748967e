"""Which labels and annotations a run may put on its pods, by their names.

Others act by them: queues, meshes, whoever adds up what pods cost. So a run sets none but those
that its target lists in ``allowedRunLabels``.
"""

from __future__ import annotations

from collections.abc import Iterable

from dbt_operator.api.parts.pod import RunPod
from dbt_operator.planning.policy.wildcards import is_among


def find_unlisted(
    pod: RunPod | None, target: str, allowed: Iterable[str] | None, path: str = "spec.pod"
) -> str:
    """The first label or annotation that a target does not let runs set, and the remedy; empty if
    there is none.

    Args:
        pod: what the run sets.
        target: the DbtTarget's name.
        allowed: the names that it allows.
        path: of what the run sets.
    """
    names = tuple(allowed or ())
    for field, given in (
        ("labels", pod.labels if pod else None),
        ("annotations", pod.annotations if pod else None),
    ):
        for name in given or ():
            if not is_among(name, names):
                return (
                    f"{path}.{field} ({name}) is none of the names that spec.allowedRunLabels of"
                    f" the DbtTarget {target} allows: leave it out, or name it there"
                )
    return ""
