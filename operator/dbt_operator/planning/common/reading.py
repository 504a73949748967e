"""Manifests to models, and what is said of an object that the models refuse.

An API server may hold what this operator does not understand: CEL sees less than the models do, and
another version wrote it or let it through. Spec and status are read apart, since they mean
different things. A spec that is wrong is the user's, and its status says so beside everything that
it says already. A status that cannot be read is the only record of what has been done, so its
object stands still and nothing of that record is touched. Neither is ever an error of a planner:
what a planner puts together wrongly is an error of ours, and goes into no object.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from dbt_operator.api.base import Model
from dbt_operator.api.registry import Kind
from dbt_operator.api.status import Condition, Reason
from dbt_operator.api.texts import MESSAGE, cut
from dbt_operator.planning.common.conditions import Conditions
from dbt_operator.planning.common.durations import format_time

INVALID_STATUS = "InvalidStatus"  # reason of the condition Stalled

Manifest = Mapping[str, Any]
Part = Literal["spec", "status"]
Known = TypeVar("Known", bound=Model)


class UnreadableError(Exception):
    """An object of ours that the models refuse."""

    def __init__(self, kind: str, manifest: Manifest, part: Part, why: str) -> None:
        metadata = manifest["metadata"]
        self.kind = kind
        self.namespace, self.name = metadata["namespace"], metadata["name"]
        self.uid = metadata["uid"]
        self.manifest = manifest
        self.part = part
        self.why = why  # names the field
        super().__init__(f"{kind} {self.name} cannot be read: {why}")


def read(model: type[Known], manifest: Manifest) -> Known:
    """An object as its model.

    Raises:
        UnreadableError: the model refuses its status or its spec.
    """
    status = read_part(model, manifest, "status")
    return model.model_construct(spec=read_part(model, manifest, "spec"), status=status)


def read_part(model: type[Model], manifest: Manifest, part: Part) -> Any:
    """One half of an object.

    Raises:
        UnreadableError: the model refuses it.
    """
    try:
        return _adapter(model, part).validate_python(manifest.get(part))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in (part, *first["loc"]))
        why = cut(f"{where}: {first['msg']}", MESSAGE // 2)
        raise UnreadableError(model.__name__, manifest, part, why) from error


@lru_cache(maxsize=32)
def _adapter(model: type[Model], part: Part) -> TypeAdapter[Any]:
    return TypeAdapter(model.model_fields[part].rebuild_annotation())


# What is said


def stalled(manifest: Manifest, why: str, reason: str, now: datetime) -> dict[str, Any]:
    """The conditions of an object that stands still.

    Like everything here it is what differs from the status, to be merged over it. Conditions that
    cannot be read stay as they are.
    """
    conditions, unread = _read_conditions(manifest, now)
    conditions.stalled(reason, why)
    wanted = {
        # Without this it would count as being worked on for whoever reads conditions.
        "observedGeneration": manifest["metadata"]["generation"],
        "conditions": _list_conditions(conditions, unread),
    }
    return _news(manifest, wanted)


def wrong_spec(manifest: Manifest, why: str, now: datetime) -> dict[str, Any]:
    """What an object says whose spec is wrong, while it has not ended or has no end."""
    return stalled(manifest, why, Reason.INVALID_SPEC, now)


def ended(kind: Kind, manifest: Manifest, why: str, now: datetime) -> dict[str, Any]:
    """The end of a run or backfill that can go no further, over all that it says already."""
    if kind.phases is None:
        return {}
    conditions, unread = _read_conditions(manifest, now)
    conditions.finish(Reason.INVALID_SPEC, why, succeeded=False, as_wanted=False)
    return _news(
        manifest,
        {
            "observedGeneration": manifest["metadata"]["generation"],
            "phase": str(kind.phases.FAILED),
            "reason": str(Reason.INVALID_SPEC),
            "message": cut(why, MESSAGE),
            "finishedAt": manifest.get("status", {}).get("finishedAt") or format_time(now),
            "conditions": _list_conditions(conditions, unread),
        },
    )


def _read_conditions(manifest: Manifest, now: datetime) -> tuple[Conditions, list[Manifest]]:
    """The conditions of an object, and those of them that cannot be read."""
    known, unread = [], []
    for given in manifest.get("status", {}).get("conditions") or ():
        try:
            known.append(Condition.model_validate(given))
        except ValidationError:
            unread.append(given)
    return Conditions.of(known, manifest["metadata"]["generation"], now), unread


def _list_conditions(conditions: Conditions, unread: list[Manifest]) -> list[Manifest]:
    known = conditions.list()
    types = {condition.type for condition in known}
    left = [each for each in unread if each.get("type") not in types]
    return [condition.to_dict() for condition in known] + left


def _news(manifest: Manifest, wanted: Mapping[str, Any]) -> dict[str, Any]:
    status = manifest.get("status", {})
    return {name: value for name, value in wanted.items() if status.get(name) != value}
