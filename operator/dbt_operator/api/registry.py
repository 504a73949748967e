"""The kinds of the API: names, short names, the columns of ``kubectl get`` and the rules on the
whole object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, get_args

from dbt_operator.api.base import Model
from dbt_operator.api.kinds.backfill import DbtBackfill
from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import DbtRun
from dbt_operator.api.kinds.schedule import DbtSchedule
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.api.status import BackfillPhase, Phase


@dataclass(frozen=True)
class Column:
    """A column of ``kubectl get``; with priority 1 it is shown by ``-o wide`` only."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True)
class Kind:
    """A kind of the API: all that is said of it outside of its model and of what reconciles it
    (:mod:`dbt_operator.reconcile.kinds`).
    """

    kind: str
    plural: str
    short: str
    model: type[Model]
    columns: tuple[Column, ...]
    name_length: int
    # Fields of an immutable spec that may be changed all the same.
    mutable: frozenset[str] | None = None
    # Where the spec of the work stands, for kinds that ask for a slot of a target.
    work: tuple[str, ...] | None = None
    # The phases of such a kind.
    phases: type[Phase | BackfillPhase] | None = None
    # Whether there may be ten thousand that have ended, of which little is kept.
    is_projected: bool = False
    # Whether objects of it may follow on others (spec.triggers).
    has_triggers: bool = False

    @property
    def spec_model(self) -> type[Model]:
        """The model of its spec."""
        found: type[Model] = self.model.model_fields["spec"].annotation  # type: ignore[assignment]
        return found

    @property
    def status_model(self) -> type[Any]:
        """The model of its status."""
        found: type[Any] = get_args(self.model.model_fields["status"].annotation)[0]
        return found

    @property
    def singular(self) -> str:
        """As kubectl takes it."""
        return self.kind.lower()

    def work_of(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """The spec of the work that an object of this kind asks for.

        Raises:
            TypeError: objects of this kind ask for none.
        """
        if self.work is None:
            raise TypeError(f"a {self.kind} asks for no work")
        found: Mapping[str, Any] = reduce(lambda part, name: part[name], self.work, manifest)
        return found


_READY = Column("Ready", ".status.conditions[?(@.type=='Ready')].status")
_AGE = Column("Age", ".metadata.creationTimestamp", "date")

RUN = Kind(
    kind="DbtRun",
    plural="dbtruns",
    short="dbtr",
    model=DbtRun,
    columns=(
        Column("Project", ".spec.projectRef.name"),
        Column("Target", ".spec.targetRef.name"),
        Column("Phase", ".status.phase"),
        Column("Reason", ".status.reason"),
        Column("Nodes", ".status.nodes.done"),
        Column("Duration", ".status.duration"),
        _AGE,
        Column("Message", ".status.message", priority=1),
    ),
    name_length=63,
    mutable=frozenset({"cancel"}),
    work=("spec",),
    phases=Phase,
    is_projected=True,
)
PROJECT = Kind(
    kind="DbtProject",
    plural="dbtprojects",
    short="dbtp",
    model=DbtProject,
    columns=(Column("Image", ".spec.image"), _READY, _AGE),
    name_length=40,
)
TARGET = Kind(
    kind="DbtTarget",
    plural="dbttargets",
    short="dbtt",
    model=DbtTarget,
    columns=(
        Column("Target", ".spec.target"),
        Column("Schemas", ".spec.schemaPattern"),
        Column("Holder", ".status.holders[0].name"),
        Column("Queued", ".status.queued", "integer"),
        _READY,
        _AGE,
    ),
    name_length=40,
)
BACKFILL = Kind(
    kind="DbtBackfill",
    plural="dbtbackfills",
    short="dbtb",
    model=DbtBackfill,
    columns=(
        Column("Project", ".spec.runTemplate.spec.projectRef.name"),
        Column("Target", ".spec.runTemplate.spec.targetRef.name"),
        Column("Phase", ".status.phase"),
        Column("Windows", ".status.windows.done"),
        Column("Failed", ".status.windows.failed", "integer"),
        Column("Duration", ".status.duration"),
        _AGE,
        Column("Message", ".status.message", priority=1),
    ),
    name_length=40,
    mutable=frozenset({"suspend", "cancel", "maxConcurrentWindows"}),
    work=("spec", "runTemplate", "spec"),
    phases=BackfillPhase,
)
SCHEDULE = Kind(
    kind="DbtSchedule",
    plural="dbtschedules",
    short="dbts",
    model=DbtSchedule,
    columns=(
        Column("Schedule", ".spec.schedules[0]"),
        Column("Timezone", ".spec.timezone"),
        Column("Suspend", ".spec.suspend", "boolean"),
        Column("Active", ".status.active[0].name"),
        Column("Last run", ".status.history[0].phase"),
        Column("Next", ".status.nextRunTimes[0]"),
        _AGE,
        Column("Message", ".status.message", priority=1),
    ),
    name_length=40,
    has_triggers=True,
)
KINDS = (TARGET, PROJECT, RUN, BACKFILL, SCHEDULE)
BY_NAME = {kind.kind: kind for kind in KINDS}
