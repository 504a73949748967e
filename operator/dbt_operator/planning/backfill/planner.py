"""The planner of a DbtBackfill.

Not admitted -> Queued, until it has a slot of its target -> Running -> Succeeded, Failed or
Cancelled; Suspended, or Queued again at a window's boundary where somebody of higher priority
waits. As for a run, a step is taken on what was observed: windows are given to a run by a write to
the ledger, then that run is created, then its UID is written down, and only then it begins. Its end
is read before its windows are anybody else's. So an operator that is killed anywhere repeats no
window and leaves none out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from dbt_operator.api.kinds.backfill import DbtBackfillStatus, Definition, WindowRun
from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import DbtRun, DbtRunSpec
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.api.parts.resolved import Resolved
from dbt_operator.api.status import BackfillPhase, ConditionType, Reason
from dbt_operator.planning.attempt import sizes
from dbt_operator.planning.backfill import ledger as ledgers
from dbt_operator.planning.backfill.children import Child, as_given, comparable, manifest, name_of
from dbt_operator.planning.backfill.facts import Seen
from dbt_operator.planning.backfill.ledger import Heard, Ledger
from dbt_operator.planning.backfill.status import (
    compose,
    conditions_of,
    finish,
    recorded,
    said_of_end,
)
from dbt_operator.planning.backfill.windows import Window, WindowsError, cut, span
from dbt_operator.planning.common import placeholders, window_states
from dbt_operator.planning.common.compose import changed
from dbt_operator.planning.common.durations import format_time, parse_time, seconds
from dbt_operator.planning.common.names import FORCE_RELEASE
from dbt_operator.planning.common.plan import CreateRun, DeleteRun, Plan, SettleSlots, fitted
from dbt_operator.planning.policy.refusals import COMMIT, refusal
from dbt_operator.planning.queueing import positions, waiting
from dbt_operator.planning.run import part
from dbt_operator.planning.run.admission import START_TIMEOUT, resolve, with_defaults
from dbt_operator.planning.state import compare
from dbt_protocol.window_codes import PENDING, SKIPPED, reason_of

_NOT_ENDED = "has not ended yet"
_LOOK_AGAIN = (
    5.0  # seconds; while the API server refuses a run, or something is waited for that wakes nobody
)

Stop = Literal["Boundary", "Now"]


def plan(seen: Seen, now: datetime) -> Plan:
    """Decide what to do next about a backfill.

    Raises:
        ValidationError: the status that was put together is none.
    """
    return fitted(_plan(seen, now))


def _plan(seen: Seen, now: datetime) -> Plan:
    status = seen.status
    if status.phase and status.phase.finished:
        return _clear(seen) or Plan()
    if seen.spec.cancel and status.cancel_requested_at is None:
        phase = status.phase or BackfillPhase.PENDING
        return compose(
            seen,
            conditions_of(seen, now),
            phase,
            "being cancelled",
            cancel_requested_at=format_time(now),
        )
    if status.definition is None or status.windows is None:
        return _define(seen, now)
    if (cleared := _clear(seen)) is not None:
        return cleared
    return _go_on(seen, status.definition, now)


def windows_of(definition: Definition) -> tuple[Window, ...]:
    """The windows of a backfill, in the order of time or as the keys are given.

    Raises:
        WindowsError: there are none.
    """
    windows = definition.windows
    if windows.keys:
        return tuple(Window(key) for key in windows.keys)
    if windows.dates is None or definition.start is None or definition.end is None:
        raise WindowsError("spec.windows: set exactly one of dates and keys")
    return cut(windows.dates, definition.start, definition.end, windows.date_format or "")


def _clear(seen: Seen) -> Plan | None:
    """Delete runs that nobody recorded: they begin nothing."""
    if not seen.strays:
        return None
    return Plan(
        actions=tuple(DeleteRun(stray.name, stray.uid) for stray in seen.strays),
        requeue_after=_LOOK_AGAIN,
    )


# Admission


def _define(seen: Seen, now: datetime) -> Plan:
    """Write down which windows there are: now, and once."""
    if seen.status.cancel_requested_at is not None:
        return finish(
            seen, BackfillPhase.CANCELLED, Reason.CANCELLED, "cancelled before it began", now
        )
    if waits := _waits_for_earlier(seen):
        return _wait(seen, waits, now)
    try:
        definition = _definition(seen, now)
        windows = windows_of(definition)
    except WindowsError as error:
        return _refuse(seen, str(error), now)
    names = placeholders.OF_KEYS if definition.windows.keys else placeholders.OF_DATES
    if misplaced := placeholders.wrong(seen.spec.run_template.spec, names):
        return _refuse(seen, misplaced, now)
    keys = [window.key for window in windows]
    ledger = Ledger(_first_states(seen, len(keys)))
    dry = bool(seen.spec.dry_run)
    message = f"{len(keys)} windows" + (", nothing is started (dryRun)" if dry else "")
    found = (
        finish(seen, BackfillPhase.PLANNED, None, message, now)
        if dry
        else compose(seen, conditions_of(seen, now), BackfillPhase.PENDING, message)
    )
    return changed(found, definition=definition, **recorded(seen, ledger, keys))


def _definition(seen: Seen, now: datetime) -> Definition:
    asked = seen.spec.windows
    earlier = seen.earlier.status.definition if seen.earlier and seen.earlier.status else None
    if seen.spec.resume_from is not None:
        if earlier is None:
            raise WindowsError(
                f"spec.resumeFrom: DbtBackfill {seen.spec.resume_from.name} has no windows to "
                "resume"
            )
        if asked is not None and asked != earlier.windows:
            raise WindowsError(
                f"spec.windows differ from those of DbtBackfill {seen.spec.resume_from.name}: "
                "leave them out, since"
                " resumeFrom has them"
            )
        return earlier
    if asked is None:
        raise WindowsError("spec: set windows, or resumeFrom, which has them")
    if asked.dates is None:
        return Definition(windows=asked)
    whole = span(asked.dates, now)
    return Definition(windows=asked, start=whole.start.isoformat(), end=whole.end.isoformat())


def _waits_for_earlier(seen: Seen) -> str:
    """What of the backfill that is resumed keeps this one from knowing its windows."""
    if seen.spec.resume_from is None:
        return ""
    name = f"DbtBackfill {seen.spec.resume_from.name}"
    if name in seen.unreadable:
        return f"{name} cannot be read: {seen.unreadable[name]}"
    if seen.earlier is None:
        return f"{name} not found in namespace {seen.identity.namespace}"
    phase = seen.earlier.status.phase if seen.earlier.status else None
    return "" if phase and phase.finished else f"{name} {_NOT_ENDED}"


def _first_states(seen: Seen, total: int) -> str:
    """All pending, but for what an earlier backfill has done."""
    resumed, earlier = seen.spec.resume_from, seen.earlier
    known = (
        earlier.status.windows.states
        if earlier and earlier.status and earlier.status.windows
        else ""
    )
    if resumed is None or resumed.windows == "All" or len(known) != total:
        return PENDING * total
    only_failed = resumed.windows == "Failed"
    again = [bool(reason_of(code)) or (code == PENDING and not only_failed) for code in known]
    return "".join(PENDING if each else SKIPPED for each in again)


def _refuse(seen: Seen, message: str, now: datetime) -> Plan:
    conditions = conditions_of(seen, now)
    conditions.set(ConditionType.ADMITTED, "False", Reason.INVALID_SPEC, message)
    return finish(seen, BackfillPhase.FAILED, Reason.INVALID_SPEC, message, now, conditions)


def _wait(seen: Seen, missing: str, now: datetime) -> Plan:
    """What is applied together arrives in any order; what never arrives ends the backfill. One that
    is resumed may take as long as it takes.
    """
    limit = seconds(seen.spec.run_template.spec.start_timeout or START_TIMEOUT)
    deadline = waiting.missing_since(seen, now) + timedelta(seconds=limit)
    if now >= deadline and not missing.endswith(_NOT_ENDED):
        message = f"{missing}: {waiting.remedy(seen, 'DbtBackfill')}"
        return finish(seen, BackfillPhase.FAILED, Reason.CONFIG_ERROR, message, now)
    conditions = conditions_of(seen, now)
    conditions.set(ConditionType.ADMITTED, "False", waiting.reason_of_missing(seen), missing)
    found = compose(seen, conditions, BackfillPhase.PENDING, f"waiting: {missing}")
    return replace(found, requeue_after=_LOOK_AGAIN)


def _missing(seen: Seen) -> str:
    template = seen.spec.run_template.spec
    return waiting.missing(template, seen)


def _template(seen: Seen) -> DbtRun:
    """The run of each window."""
    spec = DbtRunSpec.model_validate(seen.spec.run_template.spec.to_dict())
    run = DbtRun(spec=spec)
    return with_defaults(run, seen.project[0]) if seen.project else run


# At work


@dataclass(frozen=True)
class _Halt:
    """Why no further window is begun for now, and what becomes of those that have."""

    stop: Stop
    message: str


def _go_on(seen: Seen, definition: Definition, now: datetime) -> Plan:
    """Hear what runs say, create those that are due, and give windows to new ones."""
    windows = windows_of(definition)
    keys = [window.key for window in windows]
    ledger = _read(seen, keys)
    missing = [run for run in ledger.runs if run.uid is None and run.name not in seen.children]
    if missing and not seen.refusal:
        return Plan(actions=tuple(_creation(seen, run, windows) for run in missing))
    heard = _heard(seen, ledger, windows, now)
    seen = _with_conflicts(seen, heard)
    ledger = ledgers.advance(_adopted(seen, ledger), heard)
    halt = _halt(seen, ledger)
    if not ledger.runs and (over := _over(seen, ledger, keys, now)) is not None:
        return over
    if halt is None and ledger.free and _lanes(seen, ledger) > 0:
        if not waiting.may_begin(seen):
            return _without_slot(seen, ledger, keys, now)
        return _begin(seen, ledger, keys, now)
    if not ledger.runs and halt is not None:
        return _leave(seen, ledger, keys, halt, now)
    return _working(seen, ledger, keys, halt, now)


def _read(seen: Seen, keys: list[str]) -> Ledger:
    status = seen.status
    states = status.windows.states if status.windows else ""
    return ledgers.read(states, status.runs or (), status.ledger or (), keys)


def _creation(seen: Seen, run: WindowRun, windows: tuple[Window, ...]) -> CreateRun:
    mine = [windows[place] for place in run.windows]
    return CreateRun(manifest(seen.identity, seen.spec, run.name, mine))


def _adopted(seen: Seen, ledger: Ledger) -> Ledger:
    """With the UIDs of runs that have been created. One of somebody else is taken out again when it
    is heard.
    """

    def known(run: WindowRun) -> WindowRun:
        child = seen.children.get(run.name)
        return run.model_copy(update={"uid": child.uid}) if run.uid is None and child else run

    return replace(ledger, runs=[known(run) for run in ledger.runs])


def _is_another(seen: Seen, run: WindowRun, child: Child, windows: tuple[Window, ...]) -> bool:
    """Whether a run that has the name of one that is to be created is not that one, whatever it is.

    From a backfill whose status was lost there are runs of its own with the same names and other
    windows. Once its UID stands in the ledger a run has proved itself.
    """
    if run.uid is not None:
        return False
    return child.spec != comparable(_creation(seen, run, windows).manifest["spec"])


def _heard(
    seen: Seen, ledger: Ledger, windows: tuple[Window, ...], now: datetime
) -> dict[str, Heard]:
    """What is known of the runs. One that is gone took its result along: its windows are not done
    again.
    """
    heard: dict[str, Heard] = {}
    for run in ledger.runs:
        child = seen.children.get(run.name)
        if child is None and run.uid is None:
            if now >= parse_time(run.created_at) + timedelta(seconds=seconds(START_TIMEOUT)):
                heard[run.name] = Heard(
                    ended=True, reason=Reason.CONFIG_ERROR
                )  # refused all the time
        elif child is not None and (
            child.owner_uid != seen.identity.uid or _is_another(seen, run, child, windows)
        ):
            heard[run.name] = Heard(ended=True, reason=Reason.NAME_CONFLICT)
        elif child is not None and child.unreadable:
            continue  # what it has done is not known: its windows are neither done nor free
        elif child is None or run.uid not in (None, child.uid):
            last = "".join(ledger.states[place] for place in run.windows)
            heard[run.name] = Heard(last, ended=True, reason=Reason.UNKNOWN)
        else:
            heard[run.name] = Heard(child.states, child.ended, child.reason)
    return heard


def _with_conflicts(seen: Seen, heard: Mapping[str, Heard]) -> Seen:
    """The same, with runs that are not this backfill's saying so: they have ended for it, whatever
    they do.
    """
    conflicts = {name for name, news in heard.items() if news.reason is Reason.NAME_CONFLICT}
    told = {
        name: Child(
            uid=child.uid,
            owner_uid=child.owner_uid,
            ended=True,
            reason=Reason.NAME_CONFLICT,
            message=(
                f"a DbtRun {name} exists that is not the one to be created: delete it, and start a "
                "new DbtBackfill"
            ),
        )
        if name in conflicts
        else child
        for name, child in seen.children.items()
    }
    return replace(seen, children=told)


def _halt(seen: Seen, ledger: Ledger) -> _Halt | None:
    """Why nothing more is begun."""
    if seen.status.cancel_requested_at is not None:
        return _Halt("Now", "being cancelled")
    if seen.slot.released:
        return _Halt("Now", "its slot was released by force")
    if ledger.failed and seen.spec.on_failure == "StopNow":
        return _Halt(
            "Now", "a window failed: what runs beside it is being cancelled (onFailure: StopNow)"
        )
    if ledger.failed and seen.spec.on_failure != "Continue":
        return _Halt("Boundary", "a window failed: nothing more is begun (onFailure: Stop)")
    if seen.spec.suspend:
        return _Halt("Boundary", "suspended (spec.suspend)")
    if _yields(seen, ledger):
        return _Halt("Boundary", "its slot goes to a run of higher priority")
    return None


def _yields(seen: Seen, ledger: Ledger) -> bool:
    """Whether to give the slot to somebody of higher priority: not before a window has been done
    under it.
    """
    since = seen.slot.since
    begun_at = seen.status.ended_before_slot if seen.status.slot == since else ledger.ended
    left = bool(ledger.free) or any(len(run.windows) > 1 for run in ledger.runs)
    return bool(since) and seen.slot.outranked and left and ledger.ended > (begun_at or 0)


def _lanes(seen: Seen, ledger: Ledger) -> int:
    """How many runs may be created now. As long as nobody knows the commit, the first one finds it
    for all.
    """
    at_once = seen.spec.max_concurrent_windows or 1
    resolved = seen.status.resolved
    if resolved is None or _commit_is_open(seen.status, resolved):
        at_once = 1 if resolved is not None or _git_ref(seen) else at_once
    return at_once - len(ledger.runs)


def _git_ref(seen: Seen) -> bool:
    git = seen.project[0].spec.source.git if seen.project else None
    return git is not None and not COMMIT.fullmatch(git.ref or "")


def _commit_is_open(status: DbtBackfillStatus, resolved: Resolved) -> bool:
    git = resolved.source.git
    return git is not None and not status.commit and not COMMIT.fullmatch(git.ref or "")


def _begin(seen: Seen, ledger: Ledger, keys: list[str], now: datetime) -> Plan:
    """Give windows to new runs, under the slot."""
    resolved = seen.status.resolved or _resolved(seen, now)
    if isinstance(resolved, Plan):
        return resolved
    free = list(reversed(ledger.free)) if seen.spec.order == "NewestFirst" else ledger.free
    per_pod = seen.spec.windows_per_pod
    size = per_pod if isinstance(per_pod, int) else None
    shares = ledgers.shares(free, _lanes(seen, ledger), seen.spec.max_concurrent_windows or 1, size)
    number = seen.status.runs_started or 0
    new = [
        WindowRun(
            name=name_of(seen.identity, number + each), windows=share, created_at=format_time(now)
        )
        for each, share in enumerate(shares, start=1)
    ]
    conditions = conditions_of(seen, now)
    conditions.set(
        ConditionType.ADMITTED,
        "True",
        "Resolved",
        "project and target are resolved into status.resolved",
    )
    ledger = ledgers.give(ledger, new)
    return compose(
        seen,
        conditions,
        BackfillPhase.RUNNING,
        _progress(ledger),
        resolved=resolved,
        runs_started=number + len(new),
        started_at=seen.status.started_at or format_time(now),
        reason=None,
        **_under_slot(seen, ledger),
        **recorded(seen, ledger, keys),
    )


def _resolved(seen: Seen, now: datetime) -> Resolved | Plan:
    """What the runs' Jobs are built from; or what to do as long as that is not known."""
    missing = _missing(seen)
    if missing or seen.project is None or seen.target is None:
        return _wait(seen, missing, now)
    if too_large := _too_large(seen, seen.project, seen.target):
        return _refuse(seen, too_large, now)
    template, compared_with = _template(seen), None
    if compare.compares(template.spec):
        compared_with = compare.wanted(template, seen.project[0], seen.state_run)
        if compared_with is None and compare.missing_is_failure(template.spec):
            return finish(seen, BackfillPhase.FAILED, Reason.MISSING_STATE, compare.NONE_YET, now)
    found = resolve(
        template, seen.identity, seen.project, seen.target, seen.runner_image, compared_with
    )
    # A window is not the state of the whole project.
    return found.model_copy(update={"promote": None, "state_location": None})


def _too_large(seen: Seen, project: tuple[DbtProject, int], target: tuple[DbtTarget, int]) -> str:
    """What of the run of any pod is too large, whether or not there is a state to compare with once
    it begins.
    """
    template = _template(seen)
    compared_with = sizes.UNKNOWN_STATE if compare.compares(template.spec) else None
    resolved = resolve(template, seen.identity, project, target, seen.runner_image, compared_with)
    windows = windows_of(seen.status.definition) if seen.status.definition else ()
    most = (
        seen.spec.windows_per_pod
        if isinstance(seen.spec.windows_per_pod, int)
        else ledgers.LARGEST_SHARE
    )
    largest = sorted(windows, key=lambda window: -sum(map(len, vars(window).values())))[:most]
    given = part.windows_of(as_given(largest))
    return sizes.refusal(template.spec, resolved, seen.identity, given, "spec.runTemplate.spec")


def _under_slot(seen: Seen, ledger: Ledger) -> dict[str, object]:
    """Which slot it works under, and how much was done before."""
    if not seen.slot.since or seen.status.slot == seen.slot.since:
        return {}
    return {"slot": seen.slot.since, "ended_before_slot": ledger.ended}


def _working(
    seen: Seen, ledger: Ledger, keys: list[str], halt: _Halt | None, now: datetime
) -> Plan:
    """Runs are at work: tell them where to stop, if they are to."""
    if ledger.runs and not seen.slot.since and not seen.slot.asked and not seen.slot.released:
        return Plan(
            actions=(SettleSlots(seen.spec.run_template.spec.target_ref.name),)
        )  # the target is a new one
    at_once = seen.spec.max_concurrent_windows or 1
    runs = [
        _ordered(run, halt.stop if halt else "Boundary" if place >= at_once else None)
        for place, run in enumerate(ledger.runs)
    ]
    ledger = replace(ledger, runs=runs)
    message = _progress(ledger) + (f"; {halt.message}" if halt else "")
    for name, child in seen.children.items():
        if child.unreadable:
            message += (
                f"; DbtRun {name} cannot be read, so nobody knows what it has done: "
                f"{child.unreadable}"
            )
    if seen.refusal:
        message = f"waiting: a DbtRun cannot be created: {seen.refusal}"
    found = compose(
        seen,
        conditions_of(seen, now),
        BackfillPhase.RUNNING,
        message,
        **_under_slot(seen, ledger),
        **recorded(seen, ledger, keys),
    )
    return replace(found, requeue_after=_LOOK_AGAIN if seen.refusal else None)


def _ordered(run: WindowRun, stop: Stop | None) -> WindowRun:
    """An order that was given is not taken back: the run may have heard it."""
    if stop is None or run.stop in (stop, "Now"):
        return run
    return run.model_copy(update={"stop": stop})


def _progress(ledger: Ledger) -> str:
    at_work = len(ledger.runs)
    return (
        f"{ledger.ended} of {len(ledger.states)} windows have ended, {at_work} "
        f"pod{'s' * (at_work != 1)} at work"
    )


# Nothing is at work


def _over(seen: Seen, ledger: Ledger, keys: list[str], now: datetime) -> Plan | None:
    """The end, if this is it."""
    fields = recorded(seen, ledger, keys)
    told = seen.status.model_copy(update=fields)
    if seen.status.cancel_requested_at is not None:
        found = window_states.counts(ledger.states)
        message = f"cancelled: {found.done} windows had ended"
        return changed(
            finish(seen, BackfillPhase.CANCELLED, Reason.CANCELLED, message, now), **fields
        )
    if seen.slot.released:
        target = seen.spec.run_template.spec.target_ref.name
        message = f"the annotation {FORCE_RELEASE} of DbtTarget {target} has released its slot"
        return changed(
            finish(seen, BackfillPhase.FAILED, Reason.INFRASTRUCTURE, message, now), **fields
        )
    if ledger.failed and (seen.spec.on_failure != "Continue" or not ledger.free):
        reason = _reason(ledger)
        return changed(
            finish(seen, BackfillPhase.FAILED, reason, said_of_end(told, ledger), now), **fields
        )
    if not ledger.free:
        message = f"{window_states.counts(ledger.states).done} windows have ended"
        return changed(finish(seen, BackfillPhase.SUCCEEDED, None, message, now), **fields)
    return None


def _reason(ledger: Ledger) -> Reason:
    """That of the first failure; what was cancelled because of it is none."""
    reasons = [Reason(reason_of(ledger.states[place])) for place in ledger.failed]
    real = [reason for reason in reasons if reason is not Reason.CANCELLED]
    return next(iter([*real, *reasons]), Reason.UNKNOWN)


def _leave(seen: Seen, ledger: Ledger, keys: list[str], halt: _Halt, now: datetime) -> Plan:
    """At a boundary: suspended, or the slot is somebody else's for now."""
    fields = recorded(seen, ledger, keys)
    if seen.slot.since:
        fields["yielded_slot"] = seen.slot.since
    text = f"{_progress(ledger)}; {halt.message}"
    if seen.spec.suspend:
        return compose(seen, conditions_of(seen, now), BackfillPhase.SUSPENDED, text, **fields)
    entry = positions.entry(seen.status, seen.slot, now)
    return compose(
        seen, conditions_of(seen, now), BackfillPhase.QUEUED, text, queue=entry, **fields
    )


def _without_slot(seen: Seen, ledger: Ledger, keys: list[str], now: datetime) -> Plan:
    """Ask for a slot, or wait in the queue for no longer than allowed. What can be refused is
    refused before.
    """
    if seen.status.resolved is None:
        if missing := _missing(seen):
            return _wait(seen, missing, now)
        if seen.project and seen.target:
            refused = refusal(_template(seen).spec, seen.project[0].spec, seen.target[0].spec)
            if refused or (refused := _too_large(seen, seen.project, seen.target)):
                return _refuse(seen, refused, now)
    if waiting.asks(seen):
        return Plan(actions=(SettleSlots(seen.spec.run_template.spec.target_ref.name),))
    limit = seen.spec.run_template.spec.queue_timeout
    due = positions.deadline(seen.status, seconds(limit) if limit else None, now)
    target = seen.spec.run_template.spec.target_ref.name
    if due is not None and now >= due and not ledger.runs:
        message = (
            f"{waiting.message(target, seen.status, seen.slot)}, for longer than queueTimeout "
            "allows"
        )
        found = finish(seen, BackfillPhase.FAILED, Reason.QUEUE_TIMEOUT, message, now)
        return changed(found, **recorded(seen, ledger, keys))
    if ledger.runs:
        return _working(seen, ledger, keys, None, now)
    entry = positions.entry(seen.status, seen.slot, now)
    status = seen.status.model_copy(update={"queue": entry})
    message = waiting.message(target, status, seen.slot)
    found = compose(
        seen,
        conditions_of(seen, now),
        BackfillPhase.QUEUED,
        message,
        queue=entry,
        reason=Reason.SLOT_HELD_BY_LOST_NODE if seen.slot.lost_pod else None,
        **recorded(seen, ledger, keys),
    )
    wait = positions.LOOKS.total_seconds()
    return replace(found, requeue_after=min(wait, (due - now).total_seconds()) if due else wait)
