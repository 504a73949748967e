"""What becomes of each of dbt's flags, by where it is set: the one table that code, tests and
docs/flags.md go by.

A flag can be set on dbt's command line, which the operator makes from the fields of a DbtRun; by a
variable of the environment; under ``flags`` in dbt_project.yml, or under ``config`` in
profiles.yml, the older place; and from dbt 1.12 on in ``~/.dbt/user_settings.yml``. What is proof
of what dbt has done is written whatever anybody says of it. What would change what is built, where
nobody sees it in the spec, is refused by its name.

The names are those of all supported versions of dbt; tests compare them with the dbt at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Treatment(str, Enum):
    """What becomes of a flag that is set in one of these places."""

    OVERRULED = "Overruled"  # the runner sets it to what it needs, and that is preferred
    REFUSED = "Refused"  # the run ends as ConfigError before the first statement
    HONOURED = "Honoured"  # dbt does what it says
    DEFAULTED = "Honoured, or else off"  # the runner sets it where nobody else does

    __str__ = str.__str__


@dataclass(frozen=True)
class Flag:
    """One of dbt's flags."""

    name: str  # of the parameter, as dbt has it
    image: Treatment | None = None  # set by a variable of the image, or in the project's .env
    project: Treatment | None = None  # set in a file of the project's; None: dbt reads it in none
    field: str = ""  # the field of a DbtRun that sets it
    instead: str = ""  # what to do instead of setting the variable
    prefixed_only: bool = False  # its variable has the prefix that came with dbt 1.11 alone

    @property
    def variable(self) -> str:
        """The variable of the environment that sets it; empty if there is none."""
        if self.image is None:
            return ""
        name = _OLD_NAMES.get(self.name, self.name)
        return (PREFIX if self.prefixed_only else "DBT_") + name.upper()


PREFIX = "DBT_ENGINE_"  # from dbt 1.11 on, in the place of DBT_, and preferred to it
_OLD_NAMES = {
    "deprecated_defer": "defer_to_state",
    "deprecated_favor_state": "favor_state_mode",
    "deprecated_print": "no_print",
    "deprecated_state": "artifact_state_path",
}
_OVERRULED, _REFUSED = Treatment.OVERRULED, Treatment.REFUSED
_HONOURED, _DEFAULTED = Treatment.HONOURED, Treatment.DEFAULTED
_STATE = "set spec.state of the DbtRun"
_EVENT_TIME = "set spec.eventTime of the DbtRun"
_PROJECT_FILE = "set it under flags in dbt_project.yml"
_IMAGE = "set it in the image"


def _step(name: str, field: str) -> Flag:
    """A flag that a field of a step sets."""
    return Flag(
        name, _REFUSED, field=f"step.{field}", instead=f"set {field} in a step of the DbtRun"
    )


def _shown(name: str) -> Flag:
    """A flag about what is shown, or how fast it goes, that a project may set."""
    return Flag(name, _HONOURED, _HONOURED, instead=_PROJECT_FILE)


FLAGS = (
    # Where dbt finds things and leaves them, and what its results are read from.
    Flag("project_dir", _OVERRULED),
    Flag("profiles_dir", _OVERRULED),
    Flag("target", _OVERRULED),
    Flag("target_path", _OVERRULED),
    Flag("log_path", _OVERRULED),
    Flag("write_json", _OVERRULED, _OVERRULED),
    # What is built, from what, and what counts as a failure.
    _step("empty", "empty"),
    _step("exclude_resource_types", "excludeResourceTypes"),
    _step("full_refresh", "fullRefresh"),
    _step("resource_types", "resourceTypes"),
    _step("sample", "sample"),
    _step("store_failures", "storeFailures"),
    Flag(
        "fail_fast",
        _REFUSED,
        _HONOURED,
        "step.failFast",
        "set failFast in a step of the DbtRun",
    ),
    Flag(
        "indirect_selection",
        _REFUSED,
        _HONOURED,
        "step.indirectSelection",
        "set indirectSelection in a step of the DbtRun",
    ),
    Flag("event_time_start", _REFUSED, field="eventTime.start", instead=_EVENT_TIME),
    Flag("event_time_end", _REFUSED, field="eventTime.end", instead=_EVENT_TIME),
    Flag("warn_error", _REFUSED, _HONOURED, "warnError", "set spec.warnError of the DbtRun"),
    Flag(
        "warn_error_options",
        _REFUSED,
        _HONOURED,
        "warnErrorOptions, gate",
        "set spec.warnErrorOptions of the DbtRun",
    ),
    Flag("state", _REFUSED, field="state", instead=_STATE),
    Flag("defer", _REFUSED, field="state.defer", instead=_STATE),
    Flag("favor_state", _REFUSED, field="state.favorState", instead=_STATE),
    Flag("defer_state", _REFUSED, instead=_STATE),
    Flag("deprecated_defer", _REFUSED, instead=_STATE),
    Flag("deprecated_favor_state", _REFUSED, instead=_STATE),
    Flag("deprecated_state", _REFUSED, instead=_STATE),
    Flag("export_saved_queries", _REFUSED),
    Flag("include_saved_query", _REFUSED),
    Flag("introspect", _REFUSED),
    Flag("partial_parse_file_diff", _REFUSED),
    Flag("partial_parse_file_path", _REFUSED),
    Flag("profile", _REFUSED),
    # For profiling dbt itself. With DuckDB every run fails by it: dbt goes on with a connection
    # that it has closed.
    Flag("single_threaded", _REFUSED, instead="set spec.threads of the DbtRun to 1"),
    Flag("use_experimental_parser", _REFUSED, _HONOURED),
    Flag("use_v2_parser", _REFUSED, _HONOURED, prefixed_only=True),
    Flag("v2_parser", _REFUSED, _HONOURED, prefixed_only=True),
    # A plugin asks a service which models are as they were, leaves these out, and reports most of
    # them as built; neither the spec nor the artifacts tell what it was told.
    Flag("manage_state", _OVERRULED, _OVERRULED, prefixed_only=True),
    # What is shown, and how fast it goes.
    _shown("cache_selected_only"),
    _shown("debug"),
    _shown("log_format"),
    _shown("log_format_file"),
    _shown("log_level"),
    _shown("log_level_file"),
    _shown("populate_cache"),
    _shown("printer_width"),
    _shown("static_parser"),
    _shown("version_check"),
    Flag("partial_parse", _HONOURED, _HONOURED, instead="set spec.parseCache of the DbtProject"),
    Flag("send_anonymous_usage_stats", _DEFAULTED, _OVERRULED, instead=_IMAGE),
    Flag("use_colors", _DEFAULTED, _OVERRULED, instead=_IMAGE),
    Flag("use_colors_file", _DEFAULTED, _OVERRULED, instead=_IMAGE),
    Flag("hints_enabled", _HONOURED, _HONOURED, prefixed_only=True),
    Flag("maximum_seed_size_mib", _HONOURED, _HONOURED, prefixed_only=True),
    Flag("snowflake_projects_otel", _HONOURED, _HONOURED, prefixed_only=True),
    Flag("sqlparse", _HONOURED, prefixed_only=True),
    Flag("deprecated_print", _HONOURED),
    Flag("log_cache_events", _HONOURED),
    Flag("log_file_max_bytes", _HONOURED),
    Flag("macro_debugging", _HONOURED),
    Flag("print", _HONOURED),
    Flag("quiet", _HONOURED),
    Flag("show_resource_report", _HONOURED),
    Flag("upload_to_artifacts_ingest_api", _HONOURED),
    Flag("use_fast_test_edges", _HONOURED),
    # What only a command line can say.
    Flag("args", field="step.args"),
    Flag("exclude", field="step.exclude"),
    Flag("macro", field="step.macro"),
    Flag("output", field="step.output"),
    Flag("output_keys", field="step.outputKeys"),
    Flag("select", field="step.select"),
    Flag("selector", field="step.selector"),
    Flag("static", field="always, by docs"),
    Flag("threads", field="threads"),
    Flag("vars", field="vars"),
    Flag("add_package"),
    Flag("compile"),
    Flag("empty_catalog"),
    Flag("inject_ephemeral_ctes"),
    Flag("inline"),
    Flag("lock"),
    Flag("models"),
    Flag("record_timing_info"),
    Flag("show"),
    Flag("show_all_deprecations"),
    Flag("source"),
    Flag("sql"),
    Flag("upgrade"),
    Flag("version"),
)

# Of dbt's behaviour, in dbt_project.yml alone. They change nothing of what proves a run's end.
BEHAVIOURS = frozenset(
    {
        "allow_jinja_file_extensions",
        "enable_grouped_warn_error_parser_logs",
        "latest_version_pointer_enabled_by_default",
        "require_all_warnings_handled_by_warn_error",
        "require_batched_execution_for_custom_microbatch_strategy",
        "require_corrected_analysis_fqns",
        "require_event_names_in_deprecations",
        "require_explicit_package_overrides_for_builtin_materializations",
        "require_generic_test_arguments_property",
        "require_nested_cumulative_type_params",
        "require_ref_searches_node_package_before_root",
        "require_resource_names_without_spaces",
        "require_source_and_semantic_model_names_without_spaces",
        "require_sql_header_in_test_configs",
        "require_unique_project_resource_names",
        "require_valid_schema_from_generate_schema_name",
        "require_yaml_configuration_for_mf_time_spines",
        "skip_nodes_if_on_run_start_fails",
        "source_freshness_run_project_hooks",
        "state_modified_compare_more_unrendered_values",
        "state_modified_compare_vars",
        "support_custom_ref_kwargs",
        "use_catalogs_v2",
        "validate_macro_args",
    }
)

# Variables that dbt reads although they stand for no flag; without the prefix, but for those that
# have no other name.
OTHER_VARIABLES = {
    # An invocation that is replayed reports what a file says, and sends nothing to the warehouse;
    # one that is recorded writes down the environment, with its secrets.
    "DBT_RECORDER_MODE": _REFUSED,
    # For dbt's own tests: what is parsed again is what a file says.
    "DBT_PP_FILE_DIFF_TEST": _REFUSED,
    "DBT_CLOUD_ACCOUNT_HOST": _HONOURED,
    "DBT_CLOUD_ACCOUNT_ID": _HONOURED,
    "DBT_CLOUD_ENVIRONMENT_ID": _HONOURED,
    "DBT_CLOUD_PROJECT_ID": _HONOURED,
    "DBT_CLOUD_STAGING_URL": _HONOURED,
    "DBT_CLOUD_TOKEN": _HONOURED,
    "DBT_DOWNLOADS_DIR": _HONOURED,
    "DBT_DOWNLOAD_DIR": _HONOURED,
    # Of the plugin of manage_state, which is not loaded.
    "DBT_ENGINE_STATE_API_URL": _HONOURED,
    "DBT_ENGINE_STATE_AUTH_URL": _HONOURED,
    "DBT_ENGINE_STATE_EMIT_REUSED_STATUS": _HONOURED,
    "DBT_ENGINE_STATE_OAUTH_CLIENT_ID": _HONOURED,
    "DBT_ENGINE_STATE_TOKEN_URL": _HONOURED,
    "DBT_ENV_PRIVATE_GIT_PROVIDER_INFO": _HONOURED,
    "DBT_ENV_PRIVATE_RUN_JSONSCHEMA_VALIDATIONS": _HONOURED,
    "DBT_HTTP_TIMEOUT": _HONOURED,
    "DBT_INVOCATION_ENV": _HONOURED,
    "DBT_PACKAGE_HUB_URL": _HONOURED,
    "DBT_PP_TEST": _HONOURED,
    "DBT_RECORDED_FILE_PATH": _HONOURED,
    "DBT_RECORDER_FILE_PATH": _HONOURED,
    "DBT_RECORDER_REDACT_ENV_VARS": _HONOURED,
    "DBT_RECORDER_ROW_LIMIT": _HONOURED,
    "DBT_RECORDER_TYPES": _HONOURED,
    "DBT_TEST_BINARY_SERIALIZATION": _HONOURED,
    "DBT_TEST_STATE_MODIFIED": _HONOURED,
    "DO_NOT_TRACK": _HONOURED,
}

# The paths in dbt_project.yml. What it says of these is overruled by variables ...
OVERRULED_PATHS = frozenset({"log-path", "target-path"})
# ... these belong to ``dbt clean``, which is never run ...
UNUSED_PATHS = frozenset({"clean-targets"})
# ... and dbt goes by these.
HONOURED_PATHS = frozenset(
    {
        "analysis-paths",
        "asset-paths",
        "data-paths",
        "docs-paths",
        "function-paths",
        "macro-paths",
        "model-paths",
        "osi-paths",
        "packages-install-path",
        "seed-paths",
        "snapshot-paths",
        "source-paths",
        "test-paths",
    }
)
