"""What the API server says where a ResourceQuota leaves no room for a pod, or for its Job.

There is room again once others have ended, so this is waited for like a node that has room.
"""

from __future__ import annotations

# The words of its admission; what quota and how much comes behind them.
_EXCEEDED = "exceeded quota: "
_NOT_COUNTED = "status unknown for quota: "


def explain_quota(refusal: str) -> str:
    """Which quota is used up, and by how much, in words; empty if a refusal is none of a quota.

    A pod that lacks what a quota asks of all pods is none that there could be room for.
    """
    _, exceeded, rest = refusal.partition(_EXCEEDED)
    name, _, numbers = rest.partition(", ")
    if exceeded and name:
        said = f"the ResourceQuota {name} is used up"
        return f"{said} ({numbers})" if numbers else said
    _, not_counted, rest = refusal.partition(_NOT_COUNTED)
    name = rest.partition(",")[0]
    if not_counted and name:
        return f"nobody has counted yet how much of the ResourceQuota {name} is used"
    return ""
