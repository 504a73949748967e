"""What a backfill hears of its runs, and which of those that have their names are not its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from dbt_operator.api.kinds.backfill import WindowRun
from dbt_operator.api.registry import RUN
from dbt_operator.api.status import Reason
from dbt_operator.planning.backfill import ledger as ledgers
from dbt_operator.planning.backfill.children import Child, manifest
from dbt_operator.planning.backfill.facts import BackfillFacts
from dbt_operator.planning.backfill.ledger import Heard, Ledger
from dbt_operator.planning.backfill.windows import Window
from dbt_operator.planning.common.durations import parse_time, seconds
from dbt_operator.planning.common.manifests import comparable
from dbt_operator.planning.common.plan import CreateRun
from dbt_operator.planning.run.admission import START_TIMEOUT


def read_ledger(facts: BackfillFacts, keys: list[str]) -> Ledger:
    """Read the ledger that stands in status."""
    status = facts.status
    states = status.windows.states if status.windows else ""
    return ledgers.read(states, status.runs or (), status.ledger or (), keys)


def create_run(facts: BackfillFacts, run: WindowRun, windows: tuple[Window, ...]) -> CreateRun:
    """What creates a run that stands in the ledger."""
    mine = [windows[place] for place in run.windows]
    return CreateRun(manifest(facts.identity, facts.spec, run.name, mine))


def adopt_runs(facts: BackfillFacts, ledger: Ledger) -> Ledger:
    """With the UIDs of runs that have been created. One of somebody else is taken out again when it
    is heard.
    """

    def known(run: WindowRun) -> WindowRun:
        child = facts.children.get(run.name)
        return run.model_copy(update={"uid": child.uid}) if run.uid is None and child else run

    return replace(ledger, runs=[known(run) for run in ledger.runs])


def hear_runs(
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


def _is_another(
    facts: BackfillFacts, run: WindowRun, child: Child, windows: tuple[Window, ...]
) -> bool:
    """Whether a run that has the name of one that is to be created is not that one, whatever it is.

    From a backfill whose status was lost there are runs of its own with the same names and other
    windows. Once its UID stands in the ledger a run has proved itself.
    """
    if run.uid is not None:
        return False
    return child.spec != comparable(RUN.kind, create_run(facts, run, windows).manifest["spec"])


def mark_conflicts(facts: BackfillFacts, heard: Mapping[str, Heard]) -> BackfillFacts:
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
