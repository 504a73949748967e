"""The chart's rules for alerts, played through by promtool (Debian's package prometheus)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from dbt_operator.api.status import Reason
from dbt_operator.metrics.definitions import DEFINITIONS
from tests.support.metrics_pages import NAMESPACE, iterate_rules, read_rules
from tests.support.places import ROOT
from tests.support.promtool import install_promtool

RULES = "rules.yaml"
PAGE = ROOT / "docs" / "metrics.md"
# What Prometheus knows of the pods that it scrapes.
TARGET_LABELS = {"instance", "pod", "job"}
# A run that ends so has not failed.
NO_FAILURES = {"Cancelled", "Yielded", "Replaced", "NotFresh", "NotArrived"}
DAY, HOUR = 1440, 60  # minutes

OF = 'namespace="analytics",project="shop",target="prod",schedule="nightly"'
POD = f'namespace="{NAMESPACE}",pod="one",instance="one:8080"'
FIRING = 'count by (alertname) (ALERTS{alertstate="firing"})'
NAME = re.compile(r"\bdbt_operator_\w+")


def of_schedule(name: str, pod: str = "one", reason: str | None = None) -> str:
    more = "" if reason is None else f',reason="{reason}"'
    return f'dbt_operator_schedule_{name}{{{OF}{more},pod="{pod}",instance="{pod}:8080"}}'


def failed(reason: str, pod: str = "one") -> str:
    return of_schedule("last_run_failed", pod, reason)


def leader(pod: str = "one") -> str:
    return f'dbt_operator_leader{{namespace="{NAMESPACE}",pod="{pod}",instance="{pod}:8080"}}'


@dataclass(frozen=True)
class Case:
    """What happens, minute by minute, and which alerts fire at which of them."""

    name: str
    series: Mapping[str, str]
    fires: Mapping[int, Iterable[str]]
    leads: Mapping[str, str] = field(default_factory=lambda: {leader(): "1x20000"})

    def to_dict(self) -> dict[str, object]:
        """As promtool reads it."""
        return {
            "name": self.name,
            "interval": "1m",
            "input_series": [
                {"series": series, "values": values}
                for series, values in {**self.leads, **self.series}.items()
            ],
            "promql_expr_test": [
                {
                    "expr": FIRING,
                    "eval_time": f"{minute}m",
                    "exp_samples": [
                        {"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts
                    ],
                }
                for minute, alerts in self.fires.items()
            ],
        }


CODE, DATA = "DbtScheduleCodeFailed", "DbtScheduleDataFailed"
TWO_LEADERS = {leader("one"): "1x20 stale", leader("two"): "0x22 1x100"}
DUE = "occurrence_due_timestamp_seconds"
FRIDAY, SATURDAY, MONDAY = 180, 180 + DAY, 180 + 3 * DAY  # 3 o'clock, since Friday began
SENT, REFUSED = (
    f'dbt_operator_notifications_total{{channel="team",result="{result}",{POD}}}'
    for result in ("Sent", "Refused")
)
CASES = (
    Case(
        "the first failure ever",
        {failed(""): "0x9 stale", failed("ModelError"): "_x10 1x20 stale"},
        {9: [], 10: [CODE], 30: [CODE], 40: []},
    ),
    Case(
        "a failure that was there before Prometheus",
        {failed("TestFailed"): "1x20"},
        {0: [DATA], 20: [DATA]},
    ),
    Case(
        "a failure for another reason, and a success",
        {
            failed("ModelError"): "1x9 stale",
            failed("OOMKilled"): "_x10 1x10 stale",
            failed(""): "_x21 0x60",
        },
        {9: [CODE], 16: ["DbtSchedulePlatformFailed"], 40: []},
    ),
    Case(
        "each class has its rule",
        {
            failed("ConfigError"): "1x5",
            failed("Timeout"): "1x5",
            failed("Unavailable"): "1x5",
            failed("FreshnessFailed"): "1x5",
            failed("HookFailed"): "1x5",
        },
        {
            3: [
                "DbtScheduleConfigurationFailed",
                "DbtScheduleTimedOut",
                "DbtSchedulePlatformFailed",
                DATA,
                CODE,
            ]
        },
    ),
    Case(
        "on weekdays alone: nothing is due over the weekend, and Monday is not forgotten",
        {
            of_schedule(DUE): f"{FRIDAY * 60}x{FRIDAY} {MONDAY * 60}x{5 * DAY}",
            of_schedule("occurrences_since_success"): f"0x{8 * DAY}",
            failed(""): f"0x{8 * DAY}",
        },
        {
            FRIDAY: [],
            SATURDAY: [],
            SATURDAY + DAY: [],
            MONDAY + 5: [],
            MONDAY + 6: ["DbtScheduleOverdue"],
        },
    ),
    Case(
        "suspended",
        {
            failed("ModelError"): "1x100",
            of_schedule("late_since_timestamp_seconds"): "60x100",
            of_schedule("suspended"): "0x9 1x90",
            of_schedule(DUE): "6000x9 stale",
            of_schedule("occurrences_since_success"): "5x9 stale",
        },
        {9: [CODE, "DbtScheduleLate", "DbtScheduleWithoutSuccess"], 16: [], 100: []},
    ),
    Case(
        "another operator takes over: the alert goes on, as one",
        {
            failed("ModelError", "one"): "1x20 stale",
            failed("ModelError", "two"): "_x23 1x80",
            of_schedule(DUE, "one"): "60x20 stale",
            of_schedule(DUE, "two"): "_x23 60000x80",
        },
        {
            20: [CODE, "DbtScheduleOverdue"],
            21: [CODE, "DbtScheduleOverdue"],
            22: [CODE, "DbtScheduleOverdue"],
            30: [CODE],
        },
        leads=TWO_LEADERS,
    ),
    Case(
        "another operator takes over after the success",
        {failed("ModelError", "one"): "1x20 stale", failed("", "two"): "_x23 0x80"},
        {20: [CODE], 27: []},
        leads=TWO_LEADERS,
    ),
    Case(
        "a restart: what is counted begins anew, and no alert comes or goes",
        {
            failed("ModelError"): "1x10 stale _x2 1x80",
            SENT: "900x10 stale _x2 0x80",
            REFUSED: "7x10 stale _x2 0x80",
        },
        {10: [CODE], 11: [CODE], 12: [CODE], 13: [CODE], 30: [CODE]},
        leads={leader(): "1x10 stale _x2 1x80"},
    ),
    Case(
        "late until there is a success",
        {of_schedule("late_since_timestamp_seconds"): "_x10 540x20 stale"},
        {9: [], 10: ["DbtScheduleLate"], 30: ["DbtScheduleLate"], 40: []},
    ),
    Case(
        "three occurrences without a success",
        {of_schedule("occurrences_since_success"): "2x9 3x20 0x20"},
        {9: [], 10: ["DbtScheduleWithoutSuccess"], 40: []},
    ),
    Case(
        "a queue is older than an hour",
        {
            'dbt_operator_target_queued_since_timestamp_seconds{namespace="a",target="prod"}': (
                "60x99 stale"
            )
        },
        {61: [], 62: ["DbtTargetQueueOld"], 110: []},
    ),
    Case(
        "the first message is refused",
        {SENT: "0x200", REFUSED: "0x9 1x190"},
        {9: [], 10: ["DbtNotificationsFailing"], 90: []},
    ),
    Case(
        "a message waits for a receiver that does not answer",
        {'dbt_operator_notifications_pending_since_timestamp_seconds{namespace="a"}': "60x30"},
        {16: [], 17: ["DbtNotificationsPending"]},
    ),
    Case("nobody is there", {}, {2: [], 3: ["DbtOperatorDown"]}, leads={}),
    Case(
        "somebody is there, and nobody leads",
        {},
        {20: [], 22: [], 24: ["DbtOperatorDown"], 40: []},
        leads={leader("one"): "1x20 0x80", leader("two"): "0x30 1x90"},
    ),
    Case(
        "an operator elsewhere is no operator here",
        {},
        {3: ["DbtOperatorDown"]},
        leads={'dbt_operator_leader{namespace="elsewhere"}': "1x20"},
    ),
    Case(
        "a watch that the API server does not grant",
        {'dbt_operator_watch_age_seconds{resource="dbtruns",instance="one"}': "0+60x20 5x20"},
        {15: [], 16: ["DbtOperatorWatchStale"], 25: []},
    ),
)


def run_promtool(folder: Path, *argv: str) -> str:
    (folder / RULES).write_text(yaml.safe_dump(read_rules()))
    done = subprocess.run(
        [install_promtool(), *argv], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    assert "SUCCESS" in run_promtool(tmp_path, "check", "rules", RULES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_alerts_fire_when_they_should(case: Case, tmp_path: Path) -> None:
    content = {"rule_files": [RULES], "evaluation_interval": "1m", "tests": [case.to_dict()]}
    (tmp_path / "case.yaml").write_text(yaml.safe_dump(content))
    run_promtool(tmp_path, "test", "rules", "case.yaml")


def test_what_people_read_is_put_together(tmp_path: Path) -> None:
    tests = {
        "interval": "1m",
        "input_series": [
            {"series": failed("ModelError"), "values": "1x5"},
            {"series": of_schedule("late_since_timestamp_seconds"), "values": "60x5"},
            {"series": leader(), "values": "1x5"},
        ],
        "alert_rule_test": [
            {"eval_time": "5m", "alertname": alert, "exp_alerts": [expect(alert, **labels)]}
            for alert, labels in (
                (CODE, {"reason": "ModelError", "severity": "warning"}),
                ("DbtScheduleLate", {"severity": "critical"}),
            )
        ],
    }
    content = {"rule_files": [RULES], "evaluation_interval": "1m", "tests": [tests]}
    (tmp_path / "case.yaml").write_text(yaml.safe_dump(content))
    run_promtool(tmp_path, "test", "rules", "case.yaml")


def expect(alert: str, **labels: str) -> dict[str, object]:
    moment = "1970-01-01 00:01:00 +0000 UTC"
    summaries = {
        CODE: "analytics/nightly: ModelError",
        "DbtScheduleLate": f"analytics/nightly was to have succeeded by {moment}",
    }
    schedule = {
        "namespace": "analytics",
        "project": "shop",
        "target": "prod",
        "schedule": "nightly",
    }
    (rule,) = (rule for rule in iterate_rules() if rule["alert"] == alert)
    description = rule["annotations"]["description"]
    for name, value in schedule.items():
        description = description.replace(f"{{{{ $labels.{name} }}}}", value)
    annotations = {"summary": summaries[alert], "description": description}
    return {"exp_labels": schedule | labels, "exp_annotations": annotations}


def test_every_alert_fires_in_some_case_and_is_silent_in_another() -> None:
    fired = {alert for case in CASES for alerts in case.fires.values() for alert in alerts}
    assert fired == {rule["alert"] for rule in iterate_rules()}


def test_every_reason_for_a_failure_is_in_one_class() -> None:
    classes = [
        reason
        for rule in iterate_rules()
        for found in re.findall(r'reason=~"([^"]*)"', rule["expr"])
        for reason in found.split("|")
    ]
    assert sorted(classes) == sorted(set(map(str, Reason)) - NO_FAILURES)


@pytest.mark.parametrize("rule", list(iterate_rules()), ids=lambda rule: rule["alert"])
def test_rules_ask_for_metrics_and_labels_that_exist(rule: dict[str, str]) -> None:
    metrics = {each.name: each for each in DEFINITIONS}
    names = NAME.findall(rule["expr"])
    assert names
    assert set(names) <= set(metrics)
    known = {label for name in names for label in metrics[name].labels}
    found = re.findall(r"\b(?:by|on) \(([^)]*)\)", rule["expr"])
    grouped = {label.strip() for labels in found for label in labels.split(",")}
    assert grouped <= known | TARGET_LABELS | {"namespace"}
    shown = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    assert shown <= grouped


def test_the_page_lists_every_alert() -> None:
    listed = re.findall(r"^\| `(Dbt\w+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE)
    assert listed == [(rule["alert"], rule["labels"]["severity"]) for rule in iterate_rules()]
