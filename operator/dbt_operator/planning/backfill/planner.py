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
from dbt_operator.planning.backfill.facts import BackfillFacts
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


def plan(facts: BackfillFacts, now: datetime) -> Plan:
    """Decide what to do next about a backfill.

    Raises:
        ValidationError: the status that was put together is none.
    """
    return fitted(_plan(facts, now))


def _plan(facts: BackfillFacts, now: datetime) -> Plan:
    status = facts.status
    if status.phase and status.phase.finished:
        return _clear(facts) or Plan()
    if facts.spec.cancel and status.cancel_requested_at is None:
        phase = status.phase or BackfillPhase.PENDING
        return compose(
            facts,
            conditions_of(facts, now),
            phase,
            "being cancelled",
            cancel_requested_at=format_time(now),
        )
    if status.definition is None or status.windows is None:
        return _define(facts, now)
    if (cleared := _clear(facts)) is not None:
        return cleared
    return _go_on(facts, status.definition, now)


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


def _clear(facts: BackfillFacts) -> Plan | None:
    """Delete runs that nobody recorded: they begin nothing."""
    if not facts.strays:
        return None
    return Plan(
        actions=tuple(DeleteRun(stray.name, stray.uid) for stray in facts.strays),
        requeue_after=_LOOK_AGAIN,
    )


# Admission


def _define(facts: BackfillFacts, now: datetime) -> Plan:
    """Write down which windows there are: now, and once."""
    if facts.status.cancel_requested_at is not None:
        return finish(
            facts, BackfillPhase.CANCELLED, Reason.CANCELLED, "cancelled before it began", now
        )
    if waits := _waits_for_earlier(facts):
        return _wait(facts, waits, now)
    try:
        definition = _definition(facts, now)
        windows = windows_of(definition)
    except WindowsError as error:
        return _refuse(facts, str(error), now)
    names = placeholders.OF_KEYS if definition.windows.keys else placeholders.OF_DATES
    if misplaced := placeholders.wrong(facts.spec.run_template.spec, names):
        return _refuse(facts, misplaced, now)
    keys = [window.key for window in windows]
    ledger = Ledger(_first_states(facts, len(keys)))
    dry = bool(facts.spec.dry_run)
    message = f"{len(keys)} windows" + (", nothing is started (dryRun)" if dry else "")
    found = (
        finish(facts, BackfillPhase.PLANNED, None, message, now)
        if dry
        else compose(facts, conditions_of(facts, now), BackfillPhase.PENDING, message)
    )
    return changed(found, definition=definition, **recorded(facts, ledger, keys))


def _definition(facts: BackfillFacts, now: datetime) -> Definition:
    asked = facts.spec.windows
    earlier = facts.earlier.status.definition if facts.earlier and facts.earlier.status else None
    if facts.spec.resume_from is not None:
        if earlier is None:
            raise WindowsError(
                f"spec.resumeFrom: DbtBackfill {facts.spec.resume_from.name} has no windows to "
                "resume"
            )
        if asked is not None and asked != earlier.windows:
            raise WindowsError(
                f"spec.windows differ from those of DbtBackfill {facts.spec.resume_from.name}: "
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


def _waits_for_earlier(facts: BackfillFacts) -> str:
    """What of the backfill that is resumed keeps this one from knowing its windows."""
    if facts.spec.resume_from is None:
        return ""
    name = f"DbtBackfill {facts.spec.resume_from.name}"
    if name in facts.unreadable:
        return f"{name} cannot be read: {facts.unreadable[name]}"
    if facts.earlier is None:
        return f"{name} not found in namespace {facts.identity.namespace}"
    phase = facts.earlier.status.phase if facts.earlier.status else None
    return "" if phase and phase.finished else f"{name} {_NOT_ENDED}"


def _first_states(facts: BackfillFacts, total: int) -> str:
    """All pending, but for what an earlier backfill has done."""
    resumed, earlier = facts.spec.resume_from, facts.earlier
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


def _refuse(facts: BackfillFacts, message: str, now: datetime) -> Plan:
    conditions = conditions_of(facts, now)
    conditions.set(ConditionType.ADMITTED, "False", Reason.INVALID_SPEC, message)
    return finish(facts, BackfillPhase.FAILED, Reason.INVALID_SPEC, message, now, conditions)


def _wait(facts: BackfillFacts, missing: str, now: datetime) -> Plan:
    """What is applied together arrives in any order; what never arrives ends the backfill. One that
    is resumed may take as long as it takes.
    """
    limit = seconds(facts.spec.run_template.spec.start_timeout or START_TIMEOUT)
    deadline = waiting.missing_since(facts, now) + timedelta(seconds=limit)
    if now >= deadline and not missing.endswith(_NOT_ENDED):
        message = f"{missing}: {waiting.remedy(facts, 'DbtBackfill')}"
        return finish(facts, BackfillPhase.FAILED, Reason.CONFIG_ERROR, message, now)
    conditions = conditions_of(facts, now)
    conditions.set(ConditionType.ADMITTED, "False", waiting.reason_of_missing(facts), missing)
    found = compose(facts, conditions, BackfillPhase.PENDING, f"waiting: {missing}")
    return replace(found, requeue_after=_LOOK_AGAIN)


def _missing(facts: BackfillFacts) -> str:
    template = facts.spec.run_template.spec
    return waiting.missing(template, facts)


def _template(facts: BackfillFacts) -> DbtRun:
    """The run of each window."""
    spec = DbtRunSpec.model_validate(facts.spec.run_template.spec.to_dict())
    run = DbtRun(spec=spec)
    return with_defaults(run, facts.project[0]) if facts.project else run


# At work


@dataclass(frozen=True)
class _Halt:
    """Why no further window is begun for now, and what becomes of those that have."""

    stop: Stop
    message: str


def _go_on(facts: BackfillFacts, definition: Definition, now: datetime) -> Plan:
    """Hear what runs say, create those that are due, and give windows to new ones."""
    windows = windows_of(definition)
    keys = [window.key for window in windows]
    ledger = _read(facts, keys)
    missing = [run for run in ledger.runs if run.uid is None and run.name not in facts.children]
    if missing and not facts.refusal:
        return Plan(actions=tuple(_creation(facts, run, windows) for run in missing))
    heard = _heard(facts, ledger, windows, now)
    facts = _with_conflicts(facts, heard)
    ledger = ledgers.advance(_adopted(facts, ledger), heard)
    halt = _halt(facts, ledger)
    if not ledger.runs and (over := _over(facts, ledger, keys, now)) is not None:
        return over
    if halt is None and ledger.free and _lanes(facts, ledger) > 0:
        if not waiting.may_begin(facts):
            return _without_slot(facts, ledger, keys, now)
        return _begin(facts, ledger, keys, now)
    if not ledger.runs and halt is not None:
        return _leave(facts, ledger, keys, halt, now)
    return _working(facts, ledger, keys, halt, now)


def _read(facts: BackfillFacts, keys: list[str]) -> Ledger:
    status = facts.status
    states = status.windows.states if status.windows else ""
    return ledgers.read(states, status.runs or (), status.ledger or (), keys)


def _creation(facts: BackfillFacts, run: WindowRun, windows: tuple[Window, ...]) -> CreateRun:
    mine = [windows[place] for place in run.windows]
    return CreateRun(manifest(facts.identity, facts.spec, run.name, mine))


def _adopted(facts: BackfillFacts, ledger: Ledger) -> Ledger:
    """With the UIDs of runs that have been created. One of somebody else is taken out again when it
    is heard.
    """

    def known(run: WindowRun) -> WindowRun:
        child = facts.children.get(run.name)
        return run.model_copy(update={"uid": child.uid}) if run.uid is None and child else run

    return replace(ledger, runs=[known(run) for run in ledger.runs])


def _is_another(
    facts: BackfillFacts, run: WindowRun, child: Child, windows: tuple[Window, ...]
) -> bool:
    """Whether a run that has the name of one that is to be created is not that one, whatever it is.

    From a backfill whose status was lost there are runs of its own with the same names and other
    windows. Once its UID stands in the ledger a run has proved itself.
    """
    if run.uid is not None:
        return False
    return child.spec != comparable(_creation(facts, run, windows).manifest["spec"])


def _heard(
    facts: BackfillFacts, ledger: Ledger, windows: tuple[Window, ...], now: datetime
) -> dict[str, Heard]:
    """What is known of the runs. One that is gone took its result along: its windows are not done
    again.
    """
    heard: dict[str, Heard] = {}
    for run in ledger.runs:
        child = facts.children.get(run.name)
        if child is None and run.uid is None:
            if now >= parse_time(run.created_at) + timedelta(seconds=seconds(START_TIMEOUT)):
                heard[run.name] = Heard(
                    ended=True, reason=Reason.CONFIG_ERROR
                )  # refused all the time
        elif child is not None and (
            child.owner_uid != facts.identity.uid or _is_another(facts, run, child, windows)
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


def _with_conflicts(facts: BackfillFacts, heard: Mapping[str, Heard]) -> BackfillFacts:
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
        for name, child in facts.children.items()
    }
    return replace(facts, children=told)


def _halt(facts: BackfillFacts, ledger: Ledger) -> _Halt | None:
    """Why nothing more is begun."""
    if facts.status.cancel_requested_at is not None:
        return _Halt("Now", "being cancelled")
    if facts.slot.released:
        return _Halt("Now", "its slot was released by force")
    if ledger.failed and facts.spec.on_failure == "StopNow":
        return _Halt(
            "Now", "a window failed: what runs beside it is being cancelled (onFailure: StopNow)"
        )
    if ledger.failed and facts.spec.on_failure != "Continue":
        return _Halt("Boundary", "a window failed: nothing more is begun (onFailure: Stop)")
    if facts.spec.suspend:
        return _Halt("Boundary", "suspended (spec.suspend)")
    if _yields(facts, ledger):
        return _Halt("Boundary", "its slot goes to a run of higher priority")
    return None


def _yields(facts: BackfillFacts, ledger: Ledger) -> bool:
    """Whether to give the slot to somebody of higher priority: not before a window has been done
    under it.
    """
    since = facts.slot.since
    begun_at = facts.status.ended_before_slot if facts.status.slot == since else ledger.ended
    left = bool(ledger.free) or any(len(run.windows) > 1 for run in ledger.runs)
    return bool(since) and facts.slot.outranked and left and ledger.ended > (begun_at or 0)


def _lanes(facts: BackfillFacts, ledger: Ledger) -> int:
    """How many runs may be created now. As long as nobody knows the commit, the first one finds it
    for all.
    """
    at_once = facts.spec.max_concurrent_windows or 1
    resolved = facts.status.resolved
    if resolved is None or _commit_is_open(facts.status, resolved):
        at_once = 1 if resolved is not None or _git_ref(facts) else at_once
    return at_once - len(ledger.runs)


def _git_ref(facts: BackfillFacts) -> bool:
    git = facts.project[0].spec.source.git if facts.project else None
    return git is not None and not COMMIT.fullmatch(git.ref or "")


def _commit_is_open(status: DbtBackfillStatus, resolved: Resolved) -> bool:
    git = resolved.source.git
    return git is not None and not status.commit and not COMMIT.fullmatch(git.ref or "")


def _begin(facts: BackfillFacts, ledger: Ledger, keys: list[str], now: datetime) -> Plan:
    """Give windows to new runs, under the slot."""
    resolved = facts.status.resolved or _resolved(facts, now)
    if isinstance(resolved, Plan):
        return resolved
    free = list(reversed(ledger.free)) if facts.spec.order == "NewestFirst" else ledger.free
    per_pod = facts.spec.windows_per_pod
    size = per_pod if isinstance(per_pod, int) else None
    shares = ledgers.shares(
        free, _lanes(facts, ledger), facts.spec.max_concurrent_windows or 1, size
    )
    number = facts.status.runs_started or 0
    new = [
        WindowRun(
            name=name_of(facts.identity, number + each), windows=share, created_at=format_time(now)
        )
        for each, share in enumerate(shares, start=1)
    ]
    conditions = conditions_of(facts, now)
    conditions.set(
        ConditionType.ADMITTED,
        "True",
        "Resolved",
        "project and target are resolved into status.resolved",
    )
    ledger = ledgers.give(ledger, new)
    return compose(
        facts,
        conditions,
        BackfillPhase.RUNNING,
        _progress(ledger),
        resolved=resolved,
        runs_started=number + len(new),
        started_at=facts.status.started_at or format_time(now),
        reason=None,
        **_under_slot(facts, ledger),
        **recorded(facts, ledger, keys),
    )


def _resolved(facts: BackfillFacts, now: datetime) -> Resolved | Plan:
    """What the runs' Jobs are built from; or what to do as long as that is not known."""
    missing = _missing(facts)
    if missing or facts.project is None or facts.target is None:
        return _wait(facts, missing, now)
    if too_large := _too_large(facts, facts.project, facts.target):
        return _refuse(facts, too_large, now)
    template, compared_with = _template(facts), None
    if compare.compares(template.spec):
        compared_with = compare.wanted(template, facts.project[0], facts.state_run)
        if compared_with is None and compare.missing_is_failure(template.spec):
            return finish(facts, BackfillPhase.FAILED, Reason.MISSING_STATE, compare.NONE_YET, now)
    found = resolve(
        template, facts.identity, facts.project, facts.target, facts.runner_image, compared_with
    )
    # A window is not the state of the whole project.
    return found.model_copy(update={"promote": None, "state_location": None})


def _too_large(
    facts: BackfillFacts, project: tuple[DbtProject, int], target: tuple[DbtTarget, int]
) -> str:
    """What of the run of any pod is too large, whether or not there is a state to compare with once
    it begins.
    """
    template = _template(facts)
    compared_with = sizes.UNKNOWN_STATE if compare.compares(template.spec) else None
    resolved = resolve(template, facts.identity, project, target, facts.runner_image, compared_with)
    windows = windows_of(facts.status.definition) if facts.status.definition else ()
    most = (
        facts.spec.windows_per_pod
        if isinstance(facts.spec.windows_per_pod, int)
        else ledgers.LARGEST_SHARE
    )
    largest = sorted(windows, key=lambda window: -sum(map(len, vars(window).values())))[:most]
    given = part.windows_of(as_given(largest))
    return sizes.refusal(template.spec, resolved, facts.identity, given, "spec.runTemplate.spec")


def _under_slot(facts: BackfillFacts, ledger: Ledger) -> dict[str, object]:
    """Which slot it works under, and how much was done before."""
    if not facts.slot.since or facts.status.slot == facts.slot.since:
        return {}
    return {"slot": facts.slot.since, "ended_before_slot": ledger.ended}


def _working(
    facts: BackfillFacts, ledger: Ledger, keys: list[str], halt: _Halt | None, now: datetime
) -> Plan:
    """Runs are at work: tell them where to stop, if they are to."""
    if ledger.runs and not facts.slot.since and not facts.slot.asked and not facts.slot.released:
        return Plan(
            actions=(SettleSlots(facts.spec.run_template.spec.target_ref.name),)
        )  # the target is a new one
    at_once = facts.spec.max_concurrent_windows or 1
    runs = [
        _ordered(run, halt.stop if halt else "Boundary" if place >= at_once else None)
        for place, run in enumerate(ledger.runs)
    ]
    ledger = replace(ledger, runs=runs)
    message = _progress(ledger) + (f"; {halt.message}" if halt else "")
    for name, child in facts.children.items():
        if child.unreadable:
            message += (
                f"; DbtRun {name} cannot be read, so nobody knows what it has done: "
                f"{child.unreadable}"
            )
    if facts.refusal:
        message = f"waiting: a DbtRun cannot be created: {facts.refusal}"
    found = compose(
        facts,
        conditions_of(facts, now),
        BackfillPhase.RUNNING,
        message,
        **_under_slot(facts, ledger),
        **recorded(facts, ledger, keys),
    )
    return replace(found, requeue_after=_LOOK_AGAIN if facts.refusal else None)


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


def _over(facts: BackfillFacts, ledger: Ledger, keys: list[str], now: datetime) -> Plan | None:
    """The end, if this is it."""
    fields = recorded(facts, ledger, keys)
    told = facts.status.model_copy(update=fields)
    if facts.status.cancel_requested_at is not None:
        found = window_states.counts(ledger.states)
        message = f"cancelled: {found.done} windows had ended"
        return changed(
            finish(facts, BackfillPhase.CANCELLED, Reason.CANCELLED, message, now), **fields
        )
    if facts.slot.released:
        target = facts.spec.run_template.spec.target_ref.name
        message = f"the annotation {FORCE_RELEASE} of DbtTarget {target} has released its slot"
        return changed(
            finish(facts, BackfillPhase.FAILED, Reason.INFRASTRUCTURE, message, now), **fields
        )
    if ledger.failed and (facts.spec.on_failure != "Continue" or not ledger.free):
        reason = _reason(ledger)
        return changed(
            finish(facts, BackfillPhase.FAILED, reason, said_of_end(told, ledger), now), **fields
        )
    if not ledger.free:
        message = f"{window_states.counts(ledger.states).done} windows have ended"
        return changed(finish(facts, BackfillPhase.SUCCEEDED, None, message, now), **fields)
    return None


def _reason(ledger: Ledger) -> Reason:
    """That of the first failure; what was cancelled because of it is none."""
    reasons = [Reason(reason_of(ledger.states[place])) for place in ledger.failed]
    real = [reason for reason in reasons if reason is not Reason.CANCELLED]
    return next(iter([*real, *reasons]), Reason.UNKNOWN)


def _leave(
    facts: BackfillFacts, ledger: Ledger, keys: list[str], halt: _Halt, now: datetime
) -> Plan:
    """At a boundary: suspended, or the slot is somebody else's for now."""
    fields = recorded(facts, ledger, keys)
    if facts.slot.since:
        fields["yielded_slot"] = facts.slot.since
    text = f"{_progress(ledger)}; {halt.message}"
    if facts.spec.suspend:
        return compose(facts, conditions_of(facts, now), BackfillPhase.SUSPENDED, text, **fields)
    entry = positions.entry(facts.status, facts.slot, now)
    return compose(
        facts, conditions_of(facts, now), BackfillPhase.QUEUED, text, queue=entry, **fields
    )


def _without_slot(facts: BackfillFacts, ledger: Ledger, keys: list[str], now: datetime) -> Plan:
    """Ask for a slot, or wait in the queue for no longer than allowed. What can be refused is
    refused before.
    """
    if facts.status.resolved is None:
        if missing := _missing(facts):
            return _wait(facts, missing, now)
        if facts.project and facts.target:
            refused = refusal(_template(facts).spec, facts.project[0].spec, facts.target[0].spec)
            if refused or (refused := _too_large(facts, facts.project, facts.target)):
                return _refuse(facts, refused, now)
    if waiting.asks(facts):
        return Plan(actions=(SettleSlots(facts.spec.run_template.spec.target_ref.name),))
    limit = facts.spec.run_template.spec.queue_timeout
    due = positions.deadline(facts.status, seconds(limit) if limit else None, now)
    target = facts.spec.run_template.spec.target_ref.name
    if due is not None and now >= due and not ledger.runs:
        message = (
            f"{waiting.message(target, facts.status, facts.slot)}, for longer than queueTimeout "
            "allows"
        )
        found = finish(facts, BackfillPhase.FAILED, Reason.QUEUE_TIMEOUT, message, now)
        return changed(found, **recorded(facts, ledger, keys))
    if ledger.runs:
        return _working(facts, ledger, keys, None, now)
    entry = positions.entry(facts.status, facts.slot, now)
    status = facts.status.model_copy(update={"queue": entry})
    message = waiting.message(target, status, facts.slot)
    found = compose(
        facts,
        conditions_of(facts, now),
        BackfillPhase.QUEUED,
        message,
        queue=entry,
        reason=Reason.SLOT_HELD_BY_LOST_NODE if facts.slot.lost_pod else None,
        **recorded(facts, ledger, keys),
    )
    wait = positions.LOOKS.total_seconds()
    return replace(found, requeue_after=min(wait, (due - now).total_seconds()) if due else wait)
