"""What is different for a run that works through windows, and for one that is part of a
backfill.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from dbt_operator.api.kinds.run import Attempt
from dbt_operator.api.parts.windows import RunWindow
from dbt_operator.api.status import ConditionType, Phase, Reason
from dbt_operator.planning.attempt import sizes
from dbt_operator.planning.attempt.verdict import Verdict
from dbt_operator.planning.common import window_states
from dbt_operator.planning.common.compose import changed
from dbt_operator.planning.common.conditions import State
from dbt_operator.planning.common.durations import format_time, parse_time, seconds
from dbt_operator.planning.common.names import job_name
from dbt_operator.planning.common.plan import Plan, StopPod
from dbt_operator.planning.queueing import waiting
from dbt_operator.planning.run.admission import START_TIMEOUT
from dbt_operator.planning.run.facts import Observed
from dbt_operator.planning.run.orders import Orders, resolved_for
from dbt_operator.planning.run.status import compose, conditions_of
from dbt_protocol.plans import Window
from dbt_protocol.window_codes import PENDING, RUNNING, code_of

_NOT_IN_LEDGER = "NotInLedger"  # reason of the condition Admitted
_LOOK_AGAIN = 5.0  # seconds


def admit(seen: Observed, orders: Orders, now: datetime) -> Plan | Verdict:
    """Begin under the backfill, once the run stands in its ledger; the verdict on a run that never
    will.
    """
    parent = f"DbtBackfill {orders.parent}"
    if orders.unreadable:
        text = f"waiting: {parent} cannot be read: {orders.unreadable}"
        return _wait(seen, text, now, waiting.UNREADABLE, "Unknown")
    if orders.gone or orders.resolved is None:
        text = (
            f"{parent} does not exist"
            if orders.gone
            else f"it does not stand in the ledger of {parent}"
        )
        limit = timedelta(seconds=seconds(seen.run.spec.start_timeout or START_TIMEOUT))
        if now >= _left_out_since(seen, now) + limit:
            return Verdict(Reason.INVALID_SPEC, f"{text}: only that one creates such runs")
        return _wait(seen, f"waiting: {text}", now, _NOT_IN_LEDGER, "False")
    resolved = resolved_for(seen.identity, orders)
    if resolved and (
        large := sizes.refusal(
            seen.run.spec, resolved, seen.identity, windows_of(seen.run.spec.windows)
        )
    ):
        return Verdict(Reason.INVALID_SPEC, large)
    if not waiting.may_begin(seen):
        return without_slot(seen, orders, now)
    name = job_name(seen.identity.name, seen.identity.uid, 1)
    conditions = conditions_of(seen, now)
    conditions.set(
        ConditionType.ADMITTED, "True", "Resolved", f"{parent} has resolved project and target"
    )
    return compose(
        seen,
        conditions,
        Phase.PENDING,
        "the Job is being created",
        resolved=resolved,
        attempts=[Attempt(number=1, job_name=name, created_at=format_time(now))],
        commit=orders.commit or None,
        image_id=orders.image_id or None,
        reason=None,
    )


def without_slot(seen: Observed, orders: Orders, now: datetime) -> Plan:
    """The backfill has lost its slot, as the target was created anew, and asks for another one."""
    phase = seen.status.phase if seen.status.phase is Phase.BACKING_OFF else Phase.PENDING
    text = (
        f"waiting for DbtBackfill {orders.parent} to have a slot of DbtTarget "
        f"{seen.run.spec.target_ref.name}"
    )
    return replace(compose(seen, conditions_of(seen, now), phase, text), requeue_after=_LOOK_AGAIN)


def _left_out_since(seen: Observed, now: datetime) -> datetime:
    """Since when its backfill, as far as that could be read, has not known of it."""
    found = {condition.type: condition for condition in seen.status.conditions or ()}
    admitted = found.get(ConditionType.ADMITTED)
    if admitted is None:
        return seen.created_at
    return parse_time(admitted.last_transition_time) if admitted.reason == _NOT_IN_LEDGER else now


def _wait(seen: Observed, text: str, now: datetime, reason: str, state: State) -> Plan:
    conditions = conditions_of(seen, now)
    conditions.set(ConditionType.ADMITTED, state, reason, text)
    return replace(compose(seen, conditions, Phase.PENDING, text), requeue_after=_LOOK_AGAIN)


def stop(seen: Observed) -> Plan | None:
    """Pass on the order to begin no further window."""
    pod = seen.pod
    if seen.orders is None or not seen.orders.stop or not seen.run.spec.windows:
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
            "event.start": window.event_start,
            "event.end": window.event_end,
        }
        found.append(Window(window.key, {name: value for name, value in names.items() if value}))
    return found


def with_windows(found: Plan, seen: Observed, said: str, over: Reason | None = None) -> Plan:
    """A plan whose status tells how the windows stand, as of what the pod says.

    Args:
        found: the plan.
        seen: the run.
        said: a character for each window, or nothing.
        over: why the attempt is over, if a window was at work then.
    """
    total = len(seen.run.spec.windows or ())
    if not total:
        return found
    old = seen.status.windows.states if seen.status.windows else PENDING * total
    new = said if len(said) == total else old
    merged = "".join(
        before if before in window_states.DONE else after
        for before, after in zip(old, new, strict=True)
    )
    if over is not None:
        merged = merged.replace(RUNNING, code_of(over))
    return changed(found, windows=window_states.counts(merged))


def checked(verdict: Verdict, seen: Observed, said: str) -> Verdict:
    """A run has succeeded only if every window of it has."""
    windows = seen.run.spec.windows
    if verdict.reason is not None or not windows:
        return verdict
    if len(said) == len(windows) and not said.strip("".join(window_states.DONE)):
        return verdict
    message = f"dbt reported success, but its windows stand like this: {said or 'nothing is said'}"
    return Verdict(Reason.UNKNOWN, message, verdict.exit_code, verdict.summary)
