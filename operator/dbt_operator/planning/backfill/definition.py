"""Which windows a backfill has: written down once, before anything of it begins."""

from __future__ import annotations

from datetime import datetime

from dbt_operator.api.kinds.backfill import Definition
from dbt_operator.api.parts.windows import Dates
from dbt_operator.api.status import BackfillPhase
from dbt_operator.planning.backfill.facts import BackfillFacts
from dbt_operator.planning.backfill.ledger import Ledger
from dbt_operator.planning.backfill.resolving import NOT_ENDED, refuse, wait_for_references
from dbt_operator.planning.backfill.status import End, find_cancel_reason, finish, recorded
from dbt_operator.planning.backfill.windows import WindowsError, span, windows_of
from dbt_operator.planning.common import placeholders
from dbt_operator.planning.common.compose import changed, compose, conditions_of
from dbt_operator.planning.common.plan import Plan
from dbt_protocol.window_codes import PENDING, SKIPPED, reason_of


def define_windows(facts: BackfillFacts, now: datetime) -> Plan:
    """Write down which windows there are: now, and once."""
    if facts.status.cancel_requested_at is not None:
        reason = find_cancel_reason(facts)
        return finish(facts, End(BackfillPhase.CANCELLED, reason, "cancelled before it began"), now)
    if waits := _find_obstacle(facts):
        return wait_for_references(facts, waits, now)
    try:
        definition = _make_definition(facts, now)
        windows = windows_of(definition)
    except WindowsError as error:
        return refuse(facts, str(error), now)
    names = placeholders.find_known(definition.windows)
    run = facts.spec.run_template.spec
    if misplaced := placeholders.wrong(run, names):
        return refuse(facts, misplaced, now)
    if not placeholders.find_used(run):
        return refuse(facts, placeholders.missing(names), now)
    keys = [window.key for window in windows]
    ledger = Ledger(_find_first_states(facts, len(keys)))
    dry = bool(facts.spec.dry_run)
    message = f"{len(keys)} windows" + (", nothing is started (dryRun)" if dry else "")
    found = (
        finish(facts, End(BackfillPhase.PLANNED, None, message), now)
        if dry
        else compose(facts, conditions_of(facts, now), BackfillPhase.PENDING, message)
    )
    return changed(found, definition=definition, **recorded(facts, ledger, keys))


def _make_definition(facts: BackfillFacts, now: datetime) -> Definition:
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
    if asked.occurrences is not None:
        try:
            whole = span(Dates.model_validate(asked.occurrences.to_dict()), now)
        except WindowsError as error:
            raise WindowsError(str(error).replace(".dates", ".occurrences")) from error
    elif asked.dates is not None:
        whole = span(asked.dates, now)
    else:
        return Definition(windows=asked)
    return Definition(windows=asked, start=whole.start.isoformat(), end=whole.end.isoformat())


def _find_obstacle(facts: BackfillFacts) -> str:
    """What of the backfill that is resumed keeps this one from knowing its windows."""
    if facts.spec.resume_from is None:
        return ""
    name = f"DbtBackfill {facts.spec.resume_from.name}"
    if why := facts.references.unreadable.get(name):
        return f"{name} cannot be read: {why}"
    if facts.earlier is None:
        return f"{name} not found in namespace {facts.identity.namespace}"
    phase = facts.earlier.status.phase if facts.earlier.status else None
    return "" if phase and phase.finished else f"{name} {NOT_ENDED}"


def _find_first_states(facts: BackfillFacts, total: int) -> str:
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
