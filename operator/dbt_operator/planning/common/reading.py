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
    """The conditions of an object that stands still; nothing where its conditions cannot be read.

    Like everything here it is what differs from the status, to be merged over it.
    """
    conditions = _conditions(manifest, now)
    if conditions is None:
        return {}
    conditions.stalled(reason, why)
    wanted = {
        # Without this it would count as being worked on for whoever reads conditions.
        "observedGeneration": manifest["metadata"]["generation"],
        "conditions": [each.to_dict() for each in conditions.list()],
    }
    return _news(manifest, wanted)


def wrong_spec(manifest: Manifest, why: str, now: datetime) -> dict[str, Any]:
    """What an object says whose spec is wrong, while it has not ended or has no end."""
    return stalled(manifest, why, Reason.INVALID_SPEC, now)


def ended(kind: Kind, manifest: Manifest, why: str, now: datetime) -> dict[str, Any]:
    """The end of a run or backfill that can go no further, over all that it says already."""
    conditions = _conditions(manifest, now)
    if conditions is None or kind.phases is None:
        return {}
    conditions.finish(Reason.INVALID_SPEC, why, succeeded=False, as_wanted=False)
    return _news(
        manifest,
        {
            "observedGeneration": manifest["metadata"]["generation"],
            "phase": str(kind.phases.FAILED),
            "reason": str(Reason.INVALID_SPEC),
            "message": cut(why, MESSAGE),
            "finishedAt": manifest.get("status", {}).get("finishedAt") or format_time(now),
            "conditions": [each.to_dict() for each in conditions.list()],
        },
    )


def _conditions(manifest: Manifest, now: datetime) -> Conditions | None:
    given = manifest.get("status", {}).get("conditions") or ()
    try:
        known = [Condition.model_validate(each) for each in given]
    except (ValidationError, TypeError):
        return None
    return Conditions.of(known, manifest["metadata"]["generation"], now)


def _news(manifest: Manifest, wanted: Mapping[str, Any]) -> dict[str, Any]:
    status = manifest.get("status", {})
    return {name: value for name, value in wanted.items() if status.get(name) != value}
