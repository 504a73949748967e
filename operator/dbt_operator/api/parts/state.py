"""What a DbtRun is compared with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, WithJsonSchema, model_validator

from dbt_operator.api.base import Model, RunName, ShortName, rules


class StateOf(Model):
    """The state of another target or run: exactly one of the two."""

    target: ShortName | None = None
    """Name of another DbtTarget: the last run of this project against it that was promoted."""
    run: RunName | None = None
    """Name of a DbtRun of this project that has ended."""

    @model_validator(mode="after")
    def _exactly_one(self) -> StateOf:
        if (self.target is None) == (self.run is None):
            raise ValueError("set exactly one of target and run")
        return self


# A word or an object: more than a structural schema can say, so this part is checked by the
# operator.
_STATE_FROM = {
    "x-kubernetes-preserve-unknown-fields": True,
    "description": (
        "What to compare with: LastSuccess (the default), {target: NAME} or {run: NAME}."
    ),
}


class State(Model):
    """What earlier run this one is compared with, and whether later ones are compared with it."""

    from_: Annotated[Literal["LastSuccess"] | StateOf, WithJsonSchema(_STATE_FROM)] | None = Field(
        default=None, alias="from"
    )
    """What to compare with: LastSuccess (the default), {target: NAME} or {run: NAME}."""
    defer: bool | None = None
    """References to what is not selected lead to the relations of that state. Default: false."""
    favor_state: bool | None = None
    """Even where the own schema has them. Default: false."""
    on_missing: Literal["FullBuild", "Fail"] | None = None
    """Where there is no state yet. FullBuild: build everything that would be compared. Fail: end as
    MissingState. Default: FullBuild."""
    promote: Literal["Auto", "Always", "Never"] | None = None
    """Whether the state of this run, once it has succeeded, becomes the one to compare with. Auto:
    if it has built the whole project, with all that is enabled in it, or exactly state:modified+
    against the state of its own target, without env, vars, eventTime or source of its own; a
    selector may select as much, or more. Default: Auto."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.favorState) || !self.favorState || (has(self.defer) && self.defer)",
                "favorState needs defer",
            )
        )
    )
