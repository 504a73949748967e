"""Conditions: setting one, and the three that kstatus (Argo CD, Flux, ``kubectl wait``) reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from dbt_operator.api.status import Condition, ConditionType
from dbt_operator.planning.common.durations import format_time

State = Literal["True", "False", "Unknown"]


@dataclass
class Conditions:
    """The conditions of an object while its new status is put together.

    ``lastTransitionTime`` moves only when the status of a condition does.
    """

    generation: int
    now: datetime
    _by_type: dict[str, Condition] = field(default_factory=dict)

    @classmethod
    def of(cls, existing: Iterable[Condition] | None, generation: int, now: datetime) -> Conditions:
        """Begin with those that the object has."""
        return cls(generation, now, {condition.type: condition for condition in existing or ()})

    def set(self, kind: ConditionType, status: State, reason: str, message: str = "") -> None:
        """Set one."""
        old = self._by_type.get(kind)
        same = old is not None and old.status == status
        self._by_type[kind] = Condition(
            type=kind,
            status=status,
            reason=reason,
            message=message,
            last_transition_time=old.last_transition_time
            if old and same
            else format_time(self.now),
            observed_generation=self.generation,
        )

    def remove(self, kind: ConditionType) -> None:
        """Take one away that has no meaning any more."""
        self._by_type.pop(kind, None)

    def ready(self, reason: str, message: str = "") -> None:
        """As it should be."""
        self._kstatus("True", "False", "False", reason, message)

    def progressing(self, reason: str, message: str = "") -> None:
        """On the way."""
        self._kstatus("False", "True", "False", reason, message)

    def stalled(self, reason: str, message: str = "") -> None:
        """Failed: it will not become ready by itself. For kstatus Ready=False alone would mean in
        progress.
        """
        self._kstatus("False", "False", "True", reason, message)

    def admit(self, message: str = "project and target are resolved into status.resolved") -> None:
        """Admitted: what it works with has been written down."""
        self.set(ConditionType.ADMITTED, "True", "Resolved", message)

    def finish(self, reason: str, message: str, *, succeeded: bool, as_wanted: bool) -> None:
        """Ended.

        Args:
            reason: how.
            message: the same for people.
            succeeded: whether all that was asked for has been done.
            as_wanted: whether it needs nobody's attention. Something that was left out on purpose
                does not, although it has not been done.
        """
        self.set(ConditionType.SUCCEEDED, "True" if succeeded else "False", reason, message)
        self.set(ConditionType.FINISHED, "True", reason, message)
        if as_wanted:
            self.ready(reason, message)
        else:
            self.stalled(reason, message)

    def _kstatus(
        self, ready: State, reconciling: State, stalled: State, reason: str, message: str
    ) -> None:
        self.set(ConditionType.READY, ready, reason, message)
        self.set(
            ConditionType.RECONCILING, reconciling, reason, message if reconciling == "True" else ""
        )
        self.set(ConditionType.STALLED, stalled, reason, message if stalled == "True" else "")

    def list(self) -> list[Condition]:
        """All of them, in a stable order."""
        order = [str(kind) for kind in ConditionType]
        known = [self._by_type[kind] for kind in order if kind in self._by_type]
        return known + [
            condition for kind, condition in sorted(self._by_type.items()) if kind not in order
        ]
