"""The variables of the environment that dbt reads as flags: another way to say ``--full-refresh``.

What a run does stands in its spec, where it is validated. So the operator refuses these names in
the environment of runs, projects and targets, whatever they are set to. What an image sets is seen
in the pod only: there the runner refuses those that change what is built or what counts as a
failure, and leaves alone what only changes what is shown or how fast it is, since images are not
always made for this operator.

The names are those of all supported versions of dbt; a test compares them with the parameters of
the dbt at hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

PREFIX = "DBT_ENGINE_"  # from dbt 1.11 on, in the place of DBT_, and preferred to it

# What the runner sets itself, whatever the container was started with.
OWN = frozenset(
    {
        "DBT_LOG_PATH",
        "DBT_PROFILES_DIR",
        "DBT_PROJECT_DIR",
        "DBT_TARGET",
        "DBT_TARGET_PATH",
        "DBT_WRITE_JSON",
    }
)
# What changes neither what is built nor what counts as a failure.
HARMLESS = frozenset(
    {
        "DBT_CACHE_SELECTED_ONLY",
        "DBT_DEBUG",
        "DBT_ENGINE_HINTS_ENABLED",
        "DBT_ENGINE_MAXIMUM_SEED_SIZE_MIB",
        "DBT_ENGINE_SQLPARSE",
        "DBT_LOG_CACHE_EVENTS",
        "DBT_LOG_FILE_MAX_BYTES",
        "DBT_LOG_FORMAT",
        "DBT_LOG_FORMAT_FILE",
        "DBT_LOG_LEVEL",
        "DBT_LOG_LEVEL_FILE",
        "DBT_MACRO_DEBUGGING",
        "DBT_NO_PRINT",
        "DBT_PARTIAL_PARSE",
        "DBT_POPULATE_CACHE",
        "DBT_PRINT",
        "DBT_PRINTER_WIDTH",
        "DBT_QUIET",
        "DBT_SEND_ANONYMOUS_USAGE_STATS",
        "DBT_SHOW_RESOURCE_REPORT",
        "DBT_SINGLE_THREADED",
        "DBT_STATIC_PARSER",
        "DBT_UPLOAD_TO_ARTIFACTS_INGEST_API",
        "DBT_USE_COLORS",
        "DBT_USE_COLORS_FILE",
        "DBT_USE_FAST_TEST_EDGES",
        "DBT_VERSION_CHECK",
    }
)
_CHANGING = frozenset(
    {
        "DBT_ARTIFACT_STATE_PATH",
        "DBT_DEFER",
        "DBT_DEFER_STATE",
        "DBT_DEFER_TO_STATE",
        "DBT_EMPTY",
        "DBT_ENGINE_USE_V2_PARSER",
        "DBT_ENGINE_V2_PARSER",
        "DBT_EVENT_TIME_END",
        "DBT_EVENT_TIME_START",
        "DBT_EXCLUDE_RESOURCE_TYPES",
        "DBT_EXPORT_SAVED_QUERIES",
        "DBT_FAIL_FAST",
        "DBT_FAVOR_STATE",
        "DBT_FAVOR_STATE_MODE",
        "DBT_FULL_REFRESH",
        "DBT_INCLUDE_SAVED_QUERY",
        "DBT_INDIRECT_SELECTION",
        "DBT_INTROSPECT",
        "DBT_PARTIAL_PARSE_FILE_DIFF",
        "DBT_PARTIAL_PARSE_FILE_PATH",
        "DBT_PROFILE",
        "DBT_RESOURCE_TYPES",
        "DBT_SAMPLE",
        "DBT_STATE",
        "DBT_STORE_FAILURES",
        "DBT_USE_EXPERIMENTAL_PARSER",
        "DBT_WARN_ERROR",
        "DBT_WARN_ERROR_OPTIONS",
    }
)
ALL = OWN | HARMLESS | _CHANGING


def is_flag(name: str) -> bool:
    """Whether dbt reads a variable of this name as a flag; a prefix of dbt's own belongs to dbt as
    a whole.
    """
    return name in ALL or name.startswith(PREFIX)


def without_own(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without the names that dbt would prefer to those that the runner sets."""
    preferred = {name.replace("DBT_", PREFIX, 1) for name in OWN}
    return {name: value for name, value in env.items() if name not in preferred}


def find_changing(env: Mapping[str, str]) -> list[str]:
    """The names in an environment that change what is built, or what counts as a failure, behind
    the spec's back.

    Empty values are none to dbt. Where ``DBT_ENGINE_TARGET`` and the like are still there,
    something has set them after the runner.
    """
    return sorted(name for name, value in env.items() if value and _changes(name))


def _changes(name: str) -> bool:
    if not name.startswith(PREFIX):
        return name in _CHANGING
    plain = name.replace(PREFIX, "DBT_", 1)
    return name in _CHANGING or plain in _CHANGING or plain in OWN


def complaint(names: Iterable[str]) -> str:
    """The message about names that must not be set."""
    named = ", ".join(names)
    return (
        f"the environment of the dbt container sets {named}, which dbt reads as a flag that changes"
        " what is built or what counts as a failure: remove it from the image or from the"
        " project's .env, and use the fields of the DbtRun instead"
    )
