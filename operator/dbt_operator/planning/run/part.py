"""What is different for a run that works through windows, and for one that is part of a
backfill.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from dbt_operator.api.parts.windows import RunWindow
from dbt_operator.api.status import Phase, Reason
from dbt_operator.planning.attempt import sizes
from dbt_operator.planning.attempt.verdict import Verdict
from dbt_operator.planning.common import window_states
from dbt_operator.planning.common.compose import changed, conditions_of
from dbt_operator.planning.common.plan import LOOK_AGAIN, Plan, StopPod
from dbt_operator.planning.queueing import waiting
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.orders import Orders, resolved_for
from dbt_operator.planning.run.recording import wait_for_record
from dbt_operator.planning.run.status import compose, make_attempt
from dbt_protocol.plans import Window
from dbt_protocol.window_codes import PENDING, RUNNING, code_of


def admit(facts: RunFacts, orders: Orders, now: datetime) -> Plan | Verdict:
    """Begin under the backfill, once the run stands in its ledger; the verdict on a run that never
    will.
    """
    if (found := wait_for_record(facts, orders.record, now)) is not None:
        return found
    resolved = resolved_for(facts.identity, orders)
    if resolved and (
        large := sizes.refusal(
            facts.run.spec, resolved, facts.identity, windows_of(facts.run.spec.windows)
        )
    ):
        return Verdict(Reason.INVALID_SPEC, large)
    if not waiting.may_begin(facts):
        return wait_for_windows(facts, orders, now)
    conditions = conditions_of(facts, now)
    conditions.admit(f"{orders.record.owner} has resolved project and target")
    return compose(
        facts,
        conditions,
        Phase.PENDING,
        "the Job is being created",
        resolved=resolved,
        attempts=[make_attempt(facts.identity, 1, now)],
        commit=orders.commit or None,
        image_id=orders.image_id or None,
        reason=None,
    )


def wait_for_windows(facts: RunFacts, orders: Orders, now: datetime) -> Plan:
    """The backfill has lost its slot, as the target was created anew, and asks for another one."""
    phase = facts.status.phase if facts.status.phase is Phase.BACKING_OFF else Phase.PENDING
    text = (
        f"waiting for DbtBackfill {orders.parent} to have a slot of DbtTarget "
        f"{facts.run.spec.target_ref.name}"
    )
    return replace(compose(facts, conditions_of(facts, now), phase, text), requeue_after=LOOK_AGAIN)


def pass_on_stop(facts: RunFacts) -> Plan | None:
    """Pass on the order to begin no further window."""
    pod = facts.attempt.pod
    if facts.orders is None or not facts.orders.stop or not facts.run.spec.windows:
        return None
    if pod is None or pod.told_to_stop or pod.deleting or pod.ended:
        return None
    return Plan(actions=(StopPod(pod.name, pod.uid),))


def windows_of(given: Iterable[RunWindow] | None) -> list[Window]:
    """The windows as the pod gets them."""
    found: list[Window] = []
    for window in given or ():
        names = {
            "window.key": window.key,
            "window.start": window.start,
            "window.end": window.end,
            "window.date": window.date,
            "event.start": window.event_start,
            "event.end": window.event_end,
        }
        found.append(Window(window.key, {name: value for name, value in names.items() if value}))
    return found


def with_windows(found: Plan, facts: RunFacts, said: str, over: Reason | None = None) -> Plan:
    """A plan whose status tells how the windows stand, as of what the pod says.

    Args:
        found: the plan.
        facts: the run.
        said: a character for each window, or nothing.
        over: why the attempt is over, if a window was at work then.
    """
    total = len(facts.run.spec.windows or ())
    if not total:
        return found
    old = facts.status.windows.states if facts.status.windows else PENDING * total
    new = said if len(said) == total else old
    merged = "".join(
        before if before in window_states.DONE else after
        for before, after in zip(old, new, strict=True)
    )
    if over is not None:
        merged = merged.replace(RUNNING, code_of(over))
    return changed(found, windows=window_states.counts(merged))


def check_windows(verdict: Verdict, facts: RunFacts, said: str) -> Verdict:
    """A run has succeeded only if every window of it has."""
    windows = facts.run.spec.windows
    if verdict.reason is not None or not windows:
        return verdict
    if len(said) == len(windows) and not said.strip("".join(window_states.DONE)):
        return verdict
    message = f"dbt reported success, but its windows stand like this: {said or 'nothing is said'}"
    return Verdict(Reason.UNKNOWN, message, verdict.exit_code, verdict.summary)
