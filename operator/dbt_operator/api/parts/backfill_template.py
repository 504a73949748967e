"""What a backfill does, be it a DbtBackfill itself or the template in a DbtSchedule."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from dbt_operator.api.base import Model, rules
from dbt_operator.api.parts.notify import Notifies
from dbt_operator.api.parts.run_template import (
    FULL_REFRESH,
    RUN_RULES,
    WITHOUT_FULL_REFRESH,
    RunTemplateSpec,
)
from dbt_operator.api.parts.windows import Windows

MOST_AT_ONCE = 50
BACKFILL_RULES = (
    (
        (
            "!has(self.windows) || !has(self.windows.keys) || "
            "!has(self.runTemplate.spec.eventTime)"
            " || !(self.runTemplate.spec.eventTime.start.startsWith('$')"
            " || self.runTemplate.spec.eventTime.end.startsWith('$'))"
        ),
        "keys have neither start nor end: eventTime must not refer to them",
    ),
)


class WindowRunSpec(RunTemplateSpec):
    """The run of each window. $(window.start), $(window.end) and $(window.key) in vars, eventTime
    and selections stand for the window's own. timeout is that of a window.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            *RUN_RULES,
            (f"!{FULL_REFRESH}", WITHOUT_FULL_REFRESH),
            (
                (
                    "!has(self.eventTime) || !(self.eventTime.start.startsWith('$(interval')"
                    " || self.eventTime.end.startsWith('$(interval'))"
                ),
                "$(interval.start) and $(interval.end) have a meaning in a DbtSchedule only",
            ),
            (
                "!has(self.state) || !has(self.state.promote) || self.state.promote != 'Always'",
                "a window is not the state of a whole project: leave out state.promote",
            ),
            (
                "!has(self.waitFor)",
                "the windows of a backfill wait for nothing: leave out waitFor",
            ),
        )
    )


class RunTemplate(Model):
    """What is done in each window."""

    spec: WindowRunSpec
    """The spec of a DbtRun."""


class BackfillTemplateSpec(Model):
    """What to run over which windows, wherever it is asked for."""

    run_template: RunTemplate
    """What is done in each window."""
    windows: Windows | None = None
    """The windows. They may be left out with resumeFrom, which has them."""
    order: Literal["OldestFirst", "NewestFirst"] | None = None
    """Which windows come first. Default: OldestFirst."""
    max_concurrent_windows: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] | None = None
    """How many windows may be worked on at a time. Default: 1, since windows of one model can get
    into each other's way in the warehouse. Lowering it lets windows that have begun come to their
    end."""
    windows_per_pod: (
        Annotated[
            int | Literal["Auto"],
            Field(
                json_schema_extra={
                    "x-kubernetes-int-or-string": True,
                    **rules(
                        (
                            "type(self) == int ? self >= 1 && self <= 100 : self == 'Auto'",
                            "must be Auto, or a number from 1 to 100",
                        )
                    ),
                }
            ),
        ]
        | None
    ) = None
    """How many windows a pod works through, one after another, with dbt loaded once. Auto, the
    default: as many as share the windows out evenly among maxConcurrentWindows pods, but at most
    50."""
    notify: Notifies | None = None
    """Who is told of the end, instead of whom runTemplate or the project's defaults name; empty:
    nobody. There is one message for the backfill, and none for its runs."""
    on_failure: Literal["Stop", "StopNow", "Continue"] | None = None
    """When a window fails. Stop, the default: begin nothing more. StopNow: also cancel the windows
    that are being worked on. Continue: go on with the others."""
