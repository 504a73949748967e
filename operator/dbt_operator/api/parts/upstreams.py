"""What a run waits for before it begins: loads, and other runs."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from dbt_operator.api.base import NAME_PATTERN, Duration, Model, Name, ObjectRef, RunName, rules
from dbt_operator.api.texts import Known, Moment, Note, Short

MOST_UPSTREAMS = 10

_DURATION = "([0-9]+h)?([0-9]+m)?([0-9]+s)?"
_BOUND = (
    "^([$][(](scheduled[.]time|interval[.]start|interval[.]end)[)]"
    f"|{_DURATION}"
    "|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2}))$"
)
_BOUND_PATTERN = re.compile(_BOUND)
_BOUND_WORDS = (
    "must be a duration such as 2h, a time such as 2024-01-31T06:00:00Z or, in a DbtSchedule,"
    " $(scheduled.time), $(interval.start) or $(interval.end)"
)
_LABEL = re.compile(
    r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)


def _check_bound(text: str) -> str:
    """CEL has said so in better words."""
    if not _BOUND_PATTERN.search(text):
        raise ValueError(_BOUND_WORDS)
    if "T" in text:
        datetime.fromisoformat(text)
    return text


def _check_labels(labels: dict[str, str]) -> dict[str, str]:
    """Of the keys of a map CEL does not know how long they are, so it cannot afford to look."""
    for name in labels:
        if not _LABEL.fullmatch(name):
            raise ValueError(f"{name[:100]!r} is no name of a label")
    return labels


Bound = Annotated[
    str,
    StringConstraints(min_length=2, max_length=40),
    Field(
        json_schema_extra=rules(
            (f"self.matches('{_BOUND}')", _BOUND_WORDS),
            (
                (
                    "self.startsWith('$') || self.contains('T')"
                    " || (duration(self) >= duration('1s') && duration(self) <= duration('720h'))"
                ),
                "a duration must be from 1s to 720h (30 days)",
            ),
            (
                "!self.contains('T') || timestamp(self) > timestamp('1970-01-01T00:00:00Z')",
                "is a time that no calendar has",
            ),
        )
    ),
    AfterValidator(_check_bound),
]
LabelValue = Annotated[
    str,
    StringConstraints(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"),
]


class JobSelector(Model):
    """Jobs by their labels."""

    match_labels: Annotated[
        dict[str, LabelValue], Field(min_length=1, max_length=10), AfterValidator(_check_labels)
    ]
    """Labels that such a Job has, all of them."""


class AwaitedJob(Model):
    """A Job of the same namespace, which may be created later."""

    name: Name | None = None
    """Its name."""
    selector: JobSelector | None = None
    """Its labels: the success of one such Job is enough."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.name) != has(self.selector)", "set exactly one of name and selector")
        )
    )


class AwaitedRun(Model):
    """A DbtRun of the same namespace, which may be created later."""

    name: RunName
    """Its name."""


class AwaitedObject(Model):
    """An object of the same namespace, of a kind that the operator's chart lists in
    waitFor.kinds.
    """

    api_group: Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=NAME_PATTERN)]
    """The group of its kind: argoproj.io."""
    kind: Annotated[
        str, StringConstraints(min_length=1, max_length=63, pattern=r"^[A-Z][A-Za-z0-9]*$")
    ]
    """Its kind: Workflow."""
    name: Name
    """Its name."""


class Upstream(Model):
    """Something whose success is waited for. That it fails does not end the wait: it may be tried
    again, or come anew.
    """

    job: AwaitedJob | None = None
    """A Job. It has to be there for some seconds after its end: one that was deleted before it was
    seen is lost."""
    schedule: ObjectRef | None = None
    """A DbtSchedule of the same namespace: the success of one of its runs."""
    run: AwaitedRun | None = None
    """A DbtRun."""
    object: AwaitedObject | None = None
    """An object of another kind that the operator is allowed to read. It is looked at once a
    minute."""
    newer_than: Bound | None = None
    """Only a success counts that was completed at this time or later: a time (RFC 3339), a
    duration before the creation of the run, or, in a DbtSchedule, $(scheduled.time),
    $(interval.start) or $(interval.end)."""
    begun_after: Bound | None = None
    """Only a success counts that began after this time: that of a Job which was created, or for
    a CronJob was due, after it, of a DbtRun which was created after it, or of an occurrence of a
    DbtSchedule after it. Default in a DbtSchedule, unless newerThan is set: $(interval.start), so
    that each occurrence waits for a success of its own. Else any success counts."""
    timeout: Duration | None = None
    """How long it is waited for. Default: 24h."""
    on_timeout: Literal["Fail", "Skip"] | None = None
    """What becomes of the run when it has not come by then. Fail, the default: it fails, as
    UpstreamMissing. Skip: it ends as Skipped, and nothing has failed."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "[has(self.job), has(self.schedule), has(self.run), has(self.object)]"
                    ".filter(set, set).size() == 1"
                ),
                "set exactly one of job, schedule, run and object",
            )
        )
    )


Upstreams = Annotated[list[Upstream], Field(min_length=1, max_length=MOST_UPSTREAMS)]


class UpstreamStatus(Model):
    """How something stands that a run waits for."""

    kind: Short
    """Job, DbtSchedule, DbtRun, or the kind of an object."""
    name: Note
    """Its name, or the labels that are looked for."""
    by: Known | None = None
    """The Job, DbtRun or object that has succeeded."""
    completed_at: Moment | None = None
    """When that was completed. Once this is said, nothing that becomes of it matters any more."""
    message: Note | None = None
    """Why it is still waited for."""


class Wait(Model):
    """The wait of a run for what has to be there before it."""

    since: Moment
    """When it began."""
    ended_at: Moment | None = None
    """When all had come. From then on the run is queued, and grows older."""
    upstreams: Annotated[list[UpstreamStatus], Field(max_length=MOST_UPSTREAMS)]
    """What is waited for, in the order of spec.waitFor."""
