"""The order of a target's queue, which is kept and not made anew for each run that looks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.planning.queueing import claims as module
from dbt_operator.planning.queueing.claims import claim, claims
from dbt_operator.planning.queueing.positions import Slot, look
from dbt_operator.planning.queueing.ranking import TargetQueue
from dbt_operator.planning.queueing.slots import order
from dbt_operator.reconcile.loop import Reconciler
from tests.support.builders import NOW, later, project, run, stamp, target
from tests.support.fake_cluster import FakeCluster

SINCE = "2026-01-02T03:04:05.000000Z"


def queued(number: int, priority: int = 0, **status: Any) -> dict[str, Any]:
    manifest = run(priority=priority)
    manifest["metadata"] |= {"name": f"run-{number}", "uid": f"{number:04}-of-a-run"}
    manifest["metadata"]["creationTimestamp"] = stamp(number)
    queue = {"position": 1, "behind": [], "since": stamp(number), "at": stamp(number)}
    manifest["status"] = {"phase": "Queued", "queue": queue} | status
    return manifest


def begun(number: int) -> dict[str, Any]:
    attempts = [{"number": 1, "jobName": "x", "createdAt": stamp()}]
    return queued(number, phase="Pending", attempts=attempts)


def holding(*numbers: int) -> dict[str, Any]:
    manifest = target()
    manifest["status"]["holders"] = [
        {"kind": "DbtRun", "name": f"run-{number}", "uid": f"{number:04}-of-a-run", "since": SINCE}
        for number in numbers
    ]
    return manifest


def look_at_all(
    mine: dict[str, Any], where: dict[str, Any], runs: list[dict[str, Any]], now: datetime
) -> Slot:
    """What :func:`look` says, by putting all claims in order for this one."""
    own, held = claim(mine, now), {each["uid"]: each for each in where["status"]["holders"]}
    waiting = [each for each in claims(runs, now) if each.uid not in held and each.uid != own.uid]
    ranked = order([own, *waiting])
    before = [each.name for each in ranked[: ranked.index(own)]]
    return Slot(
        since=held[own.uid]["since"] if own.uid in held else "",
        free=len(held) < 1,
        position=len(before) + 1,
        behind=[*(each["name"] for each in held.values()), *before][:10],
        outranked=any(each.effective_priority > own.priority for each in waiting),
    )


CHANGES = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sampled_from(["queued", "urgent", "begun", "cancelled", "moved", "gone"]),
        st.sampled_from([0, 1, 59, 61, 1800]),
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(CHANGES, st.sets(st.integers(0, 5), max_size=2))
def test_whatever_changes_it_is_the_order_that_all_claims_have(
    changes: list[tuple[int, str, int]], holders: set[int]
) -> None:
    queue, now, ranked_at = TargetQueue(), NOW, NOW - timedelta(hours=1)
    runs: dict[str, dict[str, Any]] = {}
    where = holding(*holders)
    for number, change, seconds in changes:
        now += timedelta(seconds=seconds)
        uid = f"{number:04}-of-a-run"
        if change == "gone":
            queue.drop(uid)
            runs.pop(uid, None)
        else:
            runs[uid] = {
                "queued": queued(number),
                "urgent": queued(number, 1),
                "begun": begun(number),
                "cancelled": queued(number, cancelRequestedAt=stamp()),
                "moved": queued(number, queue={"position": 9, "since": stamp(number)}),
            }[change]
            queue.put(runs[uid])
        ranking = queue.rank(now)
        if now - ranked_at >= timedelta(seconds=60):
            ranked_at = now
        in_order = order(claims(runs.values(), ranked_at))
        assert list(ranking.claims) == in_order
        for mine in [*runs.values(), queued(7)]:
            expected = look_at_all(mine, where, list(runs.values()), ranked_at)
            assert look(mine, where, ranking, ranked_at, asked=False) == expected


def test_nobody_is_put_elsewhere_by_what_is_no_claim_of_theirs() -> None:
    queue = TargetQueue()
    for number in range(3):
        queue.put(queued(number))
    before = queue.rank(NOW)
    queue.put(queued(1, queue={"position": 7, "since": stamp(1), "at": stamp(9)}))
    assert queue.rank(later(30)) is before


def count_claims(runs: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many claims are read while each of so many queued runs is looked at twice."""
    store, now, read = Store(), [NOW], [0]
    manifests = [queued(number) for number in range(1, runs + 1)]
    cluster = FakeCluster(project(), holding(0), begun(0), *manifests)
    for (kind, _), manifest in cluster.objects.items():
        store.put(kind, manifest)
    reconciler = Reconciler(cluster, store, "runner:1", lambda: now[0])  # type: ignore[arg-type]

    def count(manifest: Any) -> bool:
        read[0] += 1
        return claims_slot(manifest)

    claims_slot = module.claims_slot
    with monkeypatch.context() as patched:
        patched.setattr(module, "claims_slot", count)
        for seconds in (0, 120):
            now[0] = later(seconds)
            for number in range(1, runs + 1):
                reconciler.reconcile(Key("DbtRun", "analytics", f"run-{number}"))
            reconciler.reconcile(Key("DbtTarget", "analytics", "prod"))
    assert cluster.objects["DbtRun", f"run-{runs}"]["status"]["queue"]["position"] == runs
    return read[0]


def test_four_times_the_runs_take_four_times_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = count_claims(10, monkeypatch), count_claims(40, monkeypatch)
    assert few <= 10 * 8
    assert many <= 4.5 * few
