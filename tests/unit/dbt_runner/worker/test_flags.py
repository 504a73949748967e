"""What becomes of dbt's flags that a project, a profile, an image or a home folder sets: the run's
end is proved all the same, or refused before the first statement.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dbt_protocol.flag_table import FLAGS, OTHER_VARIABLES, PREFIX, Treatment
from dbt_protocol.flag_variables import OWN, SHOWN
from dbt_protocol.summaries import Nodes
from tests.support.pods import PROJECT, VERSION, Ended, Pod, step

# What is refused before dbt reads anything is the same with every version.
pytestmark = pytest.mark.dbt_in_full

# One that warns, so that it shows what counts as a failure.
FILES = {
    "seeds/raw.csv": "id\n1\n1\n",
    "models/one.sql": "select * from {{ ref('raw') }}",
    "models/schema.yml": """
models: [{name: one, columns: [{name: id, data_tests: [unique: {config: {severity: warn}}]}]}]
""",
}
BUILT = Nodes(total=3, success=2, warn=1)
GATE = '{"error":["LogTestResult"]}'

# All that a project may say at once, each as far from the default as it goes.
SILENT: dict[str, Any] = {
    "cache_selected_only": True,
    "debug": True,
    "fail_fast": True,
    "hints_enabled": False,
    "indirect_selection": "buildable",
    "log_format": "json",
    "log_format_file": "json",
    "log_level": "none",
    "log_level_file": "none",
    "manage_state": True,
    "maximum_seed_size_mib": 1,
    "partial_parse": False,
    "populate_cache": False,
    "printer_width": 1,
    "send_anonymous_usage_stats": True,
    "snowflake_projects_otel": True,
    "static_parser": False,
    "use_colors": True,
    "use_colors_file": True,
    "use_experimental_parser": False,
    "version_check": False,
    "warn_error_options": {"silence": ["LogTestResult", "NoNodesSelected", "NothingToDo"]},
    "write_json": False,
}
# What would need another parser that is installed, and what SILENT has the other half of.
ELSEWHERE = {"use_v2_parser", "v2_parser", "warn_error"}
# What an image may say of flags that are not switched off by "false".
OF_IMAGE = {
    "debug": "true",
    "log_file_max_bytes": "1000",
    "log_format": "json",
    "log_format_file": "json",
    "log_level": "none",
    "log_level_file": "none",
    "manage_state": "true",
    "maximum_seed_size_mib": "1",
    "printer_width": "1",
    "quiet": "true",
    "snowflake_projects_otel": "true",
    "sqlparse": "{}",
}
PATHS = """
target-path: elsewhere
log-path: elsewhere
clean-targets: [models, seeds]
"""


def flags(values: object) -> str:
    return f"{PROJECT}\nflags: {json.dumps(values)}\n"


def make_pod(root: Path, project: str = PROJECT, config: Mapping[str, Any] | None = None) -> Pod:
    pod = Pod(root / "pod", {**FILES, "dbt_project.yml": project})
    if config is not None:
        profiles = pod.layout.profile
        profiles.write_text(f"{profiles.read_text()}\nconfig: {json.dumps(config)}\n")
    return pod


def assert_is_proved(ended: Ended) -> None:
    """Whether the run's end, its counts and all its evidence are as without any flag."""
    assert (ended.code, ended.summary.reason, ended.summary.nodes) == (0, "", BUILT), ended.log
    results = ended.artifact("build/run_results.json")["results"]
    assert len(results) == BUILT.total
    assert len(ended.artifact("build/manifest.json")["nodes"]) == BUILT.total
    events = (ended.layout.artifacts / "build" / "events.jsonl").read_text().splitlines()
    assert "EndOfRunSummary" in {json.loads(event)["name"] for event in events}


def assert_is_refused(ended: Ended, pod: Pod, *words: str) -> None:
    """Whether nothing was sent to the warehouse, and the message says these words."""
    assert ended.summary.reason == "ConfigError", ended.log
    for each in words:
        assert each in ended.summary.message
    assert not pod.database.exists()


def test_what_a_project_may_say_is_all_tried_here() -> None:
    assert SILENT.keys() | ELSEWHERE == {flag.name for flag in FLAGS if flag.project}


@pytest.mark.dbt
def test_no_flag_of_a_project_takes_the_evidence_away(tmp_path: Path) -> None:
    pod = make_pod(tmp_path, flags(SILENT) + PATHS)
    ended = pod.run(step("build"))
    assert_is_proved(ended)
    assert not (pod.layout.project / "elsewhere").exists()


@pytest.mark.dbt
def test_no_flag_of_a_profile_takes_the_evidence_away(tmp_path: Path) -> None:
    assert_is_proved(make_pod(tmp_path, config=SILENT).run(step("build")))


def both_names(variable: str) -> tuple[str, str]:
    """The names that dbt knows a variable by; one of them may be none."""
    plain = variable.replace(PREFIX, "DBT_", 1)
    return plain, plain.replace("DBT_", PREFIX, 1)


@pytest.mark.dbt
def test_no_variable_of_an_image_takes_the_evidence_away(tmp_path: Path) -> None:
    pod = make_pod(tmp_path)
    for flag in FLAGS:
        if flag.variable and flag.image is not Treatment.REFUSED:
            value = OF_IMAGE.get(flag.name, "false")
            pod.env.update(dict.fromkeys(both_names(flag.variable), value))
    assert pod.env.keys() >= OWN
    assert_is_proved(pod.run(step("build")))


REFUSED = [
    *(flag.variable for flag in FLAGS if flag.image is Treatment.REFUSED),
    *(name for name, what in OTHER_VARIABLES.items() if what is Treatment.REFUSED),
]


@pytest.mark.parametrize("first", range(0, len(REFUSED), SHOWN))
def test_each_variable_that_is_refused_is_named(tmp_path: Path, first: int) -> None:
    names = REFUSED[first : first + SHOWN]
    pod = make_pod(tmp_path)
    pod.env.update(dict.fromkeys(names, "record"))
    assert_is_refused(pod.run(step("build")), pod, *names, "remove it from the image")


def test_a_replay_is_refused_by_its_other_name(tmp_path: Path) -> None:
    pod = make_pod(tmp_path)
    pod.env["DBT_ENGINE_RECORDER_MODE"] = "replay"
    pod.env["DBT_ENGINE_RECORDER_FILE_PATH"] = "recording.json"
    assert_is_refused(pod.run(step("build")), pod, "sets DBT_ENGINE_RECORDER_MODE, which")


@pytest.mark.dbt
def test_a_warning_that_the_project_calls_an_error_fails_the_run(tmp_path: Path) -> None:
    ended = make_pod(tmp_path, flags({"warn_error": True, "fail_fast": True})).run(step("build"))
    assert (ended.code, ended.summary.reason) == (1, "TestFailed"), ended.log
    assert ended.summary.nodes.fail == 1


@pytest.mark.dbt
def test_what_fails_fast_by_the_project_is_told_as_by_the_run(tmp_path: Path) -> None:
    pod = make_pod(tmp_path, flags({"fail_fast": True}))
    (pod.layout.project / "models" / "one.sql").write_text(
        "select no_such_column from {{ ref('raw') }}"
    )
    ended = pod.run(step("build"))
    assert (ended.code, ended.summary.reason) == (1, "ModelError"), ended.log
    assert ended.summary.failures[0].unique_id == "model.shop.one"
    assert "no_such_column" in ended.summary.message


@pytest.mark.parametrize("values", [["write_json"], "write_json", False], ids=str)
def test_flags_that_are_no_mapping_are_named(tmp_path: Path, values: object) -> None:
    pod = make_pod(tmp_path, flags(values))
    assert_is_refused(pod.run(step("build")), pod, "flags in dbt_project.yml is no mapping")


@pytest.mark.parametrize("options", [None, "all", 1], ids=str)
def test_options_for_warnings_that_are_no_mapping_are_named(
    tmp_path: Path, options: object
) -> None:
    pod = make_pod(tmp_path, flags({"warn_error_options": options}))
    words = "flags in dbt_project.yml says warn_error_options, and no mapping"
    assert_is_refused(pod.run(step("build")), pod, words)


@pytest.mark.parametrize("value", [True, False])
def test_a_gate_that_the_projects_flags_speak_against_is_refused(
    tmp_path: Path, *, value: bool
) -> None:
    pod = make_pod(tmp_path, flags({"warn_error": value}))
    ended = pod.run(step("build", "--warn-error-options", GATE), fail_on_warn=True)
    assert_is_refused(ended, pod, "flags in dbt_project.yml says warn_error,", "remove warn_error")


def test_a_profile_that_speaks_against_the_spec_is_refused(tmp_path: Path) -> None:
    pod = make_pod(tmp_path, config={"warn_error_options": {"error": "all"}})
    ended = pod.run(step("build", "--warn-error"))
    assert_is_refused(ended, pod, "config in profiles.yml says warn_error_options,")


@pytest.mark.dbt
def test_flags_in_both_files_are_refused(tmp_path: Path) -> None:
    pod = make_pod(tmp_path, flags({"write_json": False}), {"write_json": False})
    assert_is_refused(pod.run(step("build")), pod, "'config' in profiles.yml", "'flags' in")


@pytest.mark.dbt
def test_that_dbt_drops_all_flags_is_said(tmp_path: Path) -> None:
    ended = make_pod(tmp_path, flags({"write_json": "false", "fail_fast": True})).run(step("build"))
    assert_is_proved(ended)
    said = "dbt-operator: dbt takes none of the flags in dbt_project.yml, since write_json is wrong"
    assert said in ended.log


@pytest.mark.dbt
def test_what_dbt_does_not_know_of_flags_does_nothing(tmp_path: Path) -> None:
    unknown = {"full_refresh": True, "empty": True, "target_path": "elsewhere", "such": {"a": 1}}
    pod = make_pod(tmp_path, flags(unknown))
    ended = pod.run(step("build"))
    assert_is_proved(ended)
    assert "takes none" not in ended.log
    assert not (pod.layout.project / "elsewhere").exists()


@pytest.mark.dbt
def test_no_service_says_what_is_left_out(tmp_path: Path) -> None:
    """As of 1.13 a plugin would ask one, and report what it leaves out as built."""
    pod = make_pod(tmp_path, flags({"manage_state": True}))
    pod.env["DBT_ENGINE_MANAGE_STATE"] = "true"
    ended = pod.run(step("build"))
    assert_is_proved(ended)
    told = "dbt-operator: flags in dbt_project.yml says manage_state, which is off in a run"
    assert (told in ended.log) is (VERSION not in ("1.11.", "1.12."))
    events = (ended.layout.artifacts / "build" / "events.jsonl").read_text()
    assert "dbt-state" not in ended.log + events, "the plugin introduces itself"


@pytest.mark.dbt
def test_a_home_folder_cannot_ask_for_a_full_refresh(tmp_path: Path) -> None:
    pod = make_pod(tmp_path)
    settings = pod.root / ".dbt" / "user_settings.yml"
    settings.parent.mkdir()
    settings.write_text("flags: {full_refresh: true, quiet: true}\n")
    ended = pod.run(step("build"))
    if VERSION == "1.11.":
        assert_is_proved(ended)  # it does not read it
    else:
        words = "user_settings.yml of the dbt container sets full_refresh, which changes"
        assert_is_refused(ended, pod, words, "remove it there")
