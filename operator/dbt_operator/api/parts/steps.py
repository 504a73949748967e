"""The steps of a DbtRun: one typed dbt command each, never a shell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from dbt_operator.api.base import Model, rules

# A value that begins with a dash would be read as another option of dbt.
Selection = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^-\s]")]
Selections = Annotated[list[Selection], Field(min_length=1, max_length=100)]
Selector = Annotated[
    str, StringConstraints(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9_.][-A-Za-z0-9_. ]*$")
]
ResourceType = Literal[
    "analysis",
    "exposure",
    "function",
    "metric",
    "model",
    "saved_query",
    "seed",
    "semantic_model",
    "snapshot",
    "source",
    "test",
    "unit_test",
]
OutputKey = Annotated[
    str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$")
]
ResourceTypes = Annotated[list[ResourceType], Field(min_length=1, max_length=12)]
MOST_LEVELS = 50  # of maps and lists within each other


def _check_levels(value: Any) -> Any:
    """Refuse what is nested so deeply that whoever walks over it would fail. The API server takes
    10,000 levels, and no schema can say fewer.
    """
    layer = [value] if isinstance(value, (Mapping, list)) else []
    for _ in range(MOST_LEVELS):
        contents = (each.values() if isinstance(each, Mapping) else each for each in layer)
        layer = [item for each in contents for item in each if isinstance(item, (Mapping, list))]
        if not layer:
            return value
    message = "is nested more than {levels} levels deep: make it flatter"
    raise PydanticCustomError("nested", message, {"levels": MOST_LEVELS})


FreeForm = Annotated[
    dict[str, Any],
    BeforeValidator(_check_levels),
    Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}),
]

_MOMENT = r"['\"]\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}:\d{2})?['\"]"
Sample = Annotated[
    str,
    StringConstraints(
        min_length=5,
        max_length=100,
        pattern=r"^([1-9][0-9]{0,3} (hour|day|month|year)s?"
        rf"|\{{ ?['\"]?start['\"]?: {_MOMENT}, ?['\"]?end['\"]?: {_MOMENT} ?\}})$",
    ),
]
_SELECTOR_RULE = (
    "!has(self.selector) || (!has(self.select) && !has(self.exclude))",
    "selector replaces select and exclude: set one or the other",
)
_TYPES_RULE = (
    (
        "!has(self.resourceTypes) || !has(self.excludeResourceTypes)"
        " || !self.resourceTypes.exists(t, t in self.excludeResourceTypes)"
    ),
    (
        "a type in both resourceTypes and excludeResourceTypes would be left out: name it in one "
        "of them"
    ),
)
_SAMPLE_RULE = (
    "!has(self.sample) || !has(self.empty) || !self.empty",
    "empty reads no rows, so there is nothing to sample: leave one of them out",
)


class Selecting(Model):
    """A command that works on a selection of nodes."""

    select: Selections | None = None
    """What to select, as after dbt's --select. Several are a union. Default: everything."""
    exclude: Selections | None = None
    """What to leave out of it, as after dbt's --exclude."""
    selector: Selector | None = None
    """Name of a selector in selectors.yml, instead of select and exclude."""

    model_config = ConfigDict(json_schema_extra=rules(_SELECTOR_RULE))


class SelectingTests(Selecting):
    """A command whose selection brings tests with it."""

    indirect_selection: Literal["eager", "cautious", "buildable", "empty"] | None = None
    """Which tests beside selected nodes are selected too, as dbt's --indirect-selection. Default:
    eager.
    """


class FailingFast(SelectingTests):
    """A command that may stop at its first failure."""

    fail_fast: bool | None = None
    """Stop at the first failure. Default: false."""


class Build(FailingFast):
    """Run seeds, models, snapshots and tests in the order of their dependencies."""

    full_refresh: bool | None = None
    """Drop incremental models and seeds and build them anew. Default: false."""
    resource_types: ResourceTypes | None = None
    """Only nodes of these types."""
    exclude_resource_types: ResourceTypes | None = None
    """No nodes of these types."""
    store_failures: bool | None = None
    """Keep the rows that fail tests in the warehouse. Default: what the tests say."""
    empty: bool | None = None
    """Read no rows: to see whether the SQL is right. Default: false."""
    sample: Sample | None = None
    """Read only rows of this window of time, where a model or source has an event_time: "3 days",
    or "{'start': '2024-01-01', 'end': '2024-01-08 18:00:00'}". Tables hold nothing but these rows
    then."""

    model_config = ConfigDict(json_schema_extra=rules(_SELECTOR_RULE, _TYPES_RULE, _SAMPLE_RULE))


class Run(FailingFast):
    """Build models."""

    full_refresh: bool | None = None
    """Drop incremental models and build them anew. Default: false."""
    empty: bool | None = None
    """Read no rows: to see whether the SQL is right. Default: false."""
    sample: Sample | None = None
    """Read only rows of this window of time, where a model or source has an event_time: "3 days",
    or "{'start': '2024-01-01', 'end': '2024-01-08 18:00:00'}". Tables hold nothing but these rows
    then."""

    model_config = ConfigDict(json_schema_extra=rules(_SELECTOR_RULE, _SAMPLE_RULE))


class Test(FailingFast):
    """Run tests."""

    resource_types: ResourceTypes | None = None
    """Only tests of these types."""
    exclude_resource_types: ResourceTypes | None = None
    """No tests of these types."""
    store_failures: bool | None = None
    """Keep the rows that fail tests in the warehouse. Default: what the tests say."""

    model_config = ConfigDict(json_schema_extra=rules(_SELECTOR_RULE, _TYPES_RULE))


class List(SelectingTests):
    """Print what is selected, into the log of the dbt container."""

    resource_types: ResourceTypes | None = None
    """Only nodes of these types."""
    exclude_resource_types: ResourceTypes | None = None
    """No nodes of these types."""
    output: Literal["selector", "name", "path", "json"] | None = None
    """How a node is printed. Default: selector."""
    output_keys: Annotated[list[OutputKey], Field(min_length=1, max_length=50)] | None = None
    """What is printed of a node, for output: json."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            _SELECTOR_RULE,
            _TYPES_RULE,
            (
                "!has(self.outputKeys) || (has(self.output) && self.output == 'json')",
                "outputKeys are those of output: json, so set that too",
            ),
        )
    )


class Clone(Selecting):
    """Clone nodes from where they are in another state into this target."""

    full_refresh: bool | None = None
    """Clone what exists in this target already once more. Default: false."""
    resource_types: ResourceTypes | None = None
    """Only nodes of these types."""
    exclude_resource_types: ResourceTypes | None = None
    """No nodes of these types."""

    model_config = ConfigDict(json_schema_extra=rules(_SELECTOR_RULE, _TYPES_RULE))


class Compile(SelectingTests):
    """Write the SQL of nodes, without running it."""


class Seed(SelectingTests):
    """Load seeds."""

    full_refresh: bool | None = None
    """Drop the tables and create them anew. Default: false."""


class Snapshot(SelectingTests):
    """Take snapshots."""

    empty: bool | None = None
    """Read no rows: to see whether the SQL is right. Default: false."""


class SourceFreshness(Selecting):
    """Check that the sources are fresh enough."""

    on_stale: Literal["Fail", "Skip", "Wait"] | None = None
    """What to do when all that is wrong is the age of sources. Skip: the rest of the run is not
    run, apart from steps with when: Always, and the run ends as Skipped (NotFresh), which is no
    failure. Wait: check again, first after 5s, at last every 60s, until they are fresh or a timeout
    is over, which has to be set. Default: Fail."""


class Docs(Model):
    """Generate the documentation: manifest.json, catalog.json, and a page that holds both."""


class RunOperation(Model):
    """Call a macro."""

    macro: Annotated[
        str,
        StringConstraints(
            min_length=1,
            max_length=253,
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$",
        ),
    ]
    """Name of the macro."""
    args: FreeForm | None = None
    """Its arguments by name."""


COMMANDS = (
    "build",
    "run",
    "test",
    "seed",
    "snapshot",
    "compile",
    "list",
    "clone",
    "docs",
    "sourceFreshness",
    "runOperation",
)
_commands_set = " + ".join(f"(has(self.{command}) ? 1 : 0)" for command in COMMANDS)
_one_command = (f"{_commands_set} == 1", f"a step has exactly one of {', '.join(COMMANDS)}")


class Step(Model):
    """One dbt command. All steps of a run share one pod, one process and one parsed project."""

    build: Build | None = None
    """dbt build."""
    run: Run | None = None
    """dbt run."""
    test: Test | None = None
    """dbt test."""
    seed: Seed | None = None
    """dbt seed."""
    snapshot: Snapshot | None = None
    """dbt snapshot."""
    compile: Compile | None = None
    """dbt compile."""
    list: List | None = None
    """dbt list."""
    clone: Clone | None = None
    """dbt clone."""
    docs: Docs | None = None
    """dbt docs generate --static."""
    source_freshness: SourceFreshness | None = None
    """dbt source freshness."""
    run_operation: RunOperation | None = None
    """dbt run-operation."""
    allow_failure: bool | None = None
    """Let the run go on and succeed although this step fails. Default: false, for docs true."""
    when: Literal["OnSuccess", "Always"] | None = None
    """Always: run it although an earlier step failed. Default: OnSuccess."""

    model_config = ConfigDict(json_schema_extra=rules(_one_command))

    @model_validator(mode="after")
    def _exactly_one_command(self) -> Step:
        if sum(getattr(self, field) is not None for field in _FIELDS.values()) != 1:
            raise ValueError(_one_command[1])
        return self

    @property
    def command(self) -> str:
        """The step's type, as the API names it."""
        return next(
            command for command, field in _FIELDS.items() if getattr(self, field) is not None
        )

    @property
    def field(self) -> str:
        """The attribute that holds the options of its command."""
        return _FIELDS[self.command]

    @property
    def options(self) -> Model:
        """The options of its command."""
        options: Model = getattr(self, self.field)
        return options


_FIELDS = {
    field.alias or name: name
    for name, field in Step.model_fields.items()
    if (field.alias or name) in COMMANDS
}
