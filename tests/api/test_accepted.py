"""What the API server takes, by the schemas and the CEL rules."""

from __future__ import annotations

import pytest

from tests.support.api_objects import (
    ARTIFACTS,
    DEPLOY_KEY,
    RUN,
    RUNS,
    SPREAD,
    VOLUME,
    git,
    key_volume,
    manifest,
)
from tests.support.kube import Manifest, create

DAYS = RUN | {"vars": {"ds": "$(window.start)", "at": "$(scheduled.date)"}}
MARKED = {
    "labels": {"cost.example.com/team": "finance", "tier": ""},
    "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
}
BACKFILL = {"runTemplate": {"spec": DAYS}, "windows": {"dates": {"last": "7d"}}}


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("DbtTarget", {}),
        (
            "DbtTarget",
            {"schemaPattern": "^analytics(_.*)?$", "databasePattern": "db", "target": "prod"},
        ),
        ("DbtTarget", {"protected": True}),
        ("DbtTarget", {"allowedRunEnv": []}),
        ("DbtTarget", {"allowedRunEnv": ["SCHEMA", "APP_*", "*_SCHEMA", "*", "_a1"]}),
        ("DbtTarget", {"allowedRunLabels": []}),
        ("DbtTarget", {"allowedRunLabels": ["team", "cost.example.com/*", "*", "a.b/C_d-9"]}),
        ("DbtTarget", {"maxConcurrentRuns": 100}),
        ("DbtProject", {"defaults": {"notify": [{"channel": "data-team"}]}}),
        ("DbtProject", {"defaults": {"retry": {"maxAttempts": 2}, "timeout": "1h", "threads": 4}}),
        (
            "DbtTarget",
            {
                "env": [
                    {"name": "A", "value": ""},
                    {"name": "B", "secretKeyRef": {"name": "s", "key": "k"}},
                ]
            },
        ),
        ("DbtProject", {}),
        ("DbtProject", {"image": "registry:5000/dbt@sha256:" + "a" * 64}),
        ("DbtProject", {"image": "registry:5000/dbt:1.11"}),
        (
            "DbtProject",
            {
                "source": {
                    "configMap": {"name": "c", "items": [{"key": "a", "path": "models/a.sql"}]}
                }
            },
        ),
        ("DbtProject", {"source": git("https://git.example.com:8443/team/shop.git")}),
        ("DbtProject", {"source": git("http://git.example.com/shop")}),
        ("DbtProject", {"source": git("https://git.example.com/shop", submodules=True)}),
        ("DbtProject", {"source": git("https://git.example.com/shop", lfs=True)}),
        (
            "DbtProject",
            {
                "source": git(
                    "ssh://git@git.example.com:2222/team/shop.git", ref="v1.2", **DEPLOY_KEY
                )
            },
        ),
        (
            "DbtProject",
            {"source": git("git@github.com:team/shop.git", ref="feature/#7_x", **DEPLOY_KEY)},
        ),
        (
            "DbtProject",
            {"source": git("https://git.example.com/shop", subPath="dbt/shop..v2", **DEPLOY_KEY)},
        ),
        ("DbtProject", {"deps": "Always"}),
        ("DbtProject", {"parseCache": "Never"}),
        (
            "DbtProject",
            {"env": [{"name": "DBT_FULL_REFRESH", "value": "1"}]},
        ),  # the planner's to refuse
        (
            "DbtProject",
            {"artifacts": ARTIFACTS | {"endpoint": "http://minio:9000", "insecure": True}},
        ),
        ("DbtProject", {"artifacts": ARTIFACTS | {"caSecretRef": {"name": "ca", "key": "ca.crt"}}}),
        (
            "DbtProject",
            {"pod": {"resources": {"limits": {"memory": "1Gi", "cpu": 2}}, "runAsUser": 1000}},
        ),
        (
            "DbtProject",
            {
                "pod": {
                    "volumes": [VOLUME],
                    "affinity": {"nodeAffinity": {}},
                    "priorityClassName": "high",
                }
            },
        ),
        (
            "DbtProject",
            {
                "pod": {
                    "labels": {"sidecar.istio.io/inject": "false", "team": ""},
                    "annotations": {"linkerd.io/inject": "disabled", "note": "in words, with 'x'"},
                }
            },
        ),
        (
            "DbtProject",
            {
                "pod": {
                    "hostAliases": [
                        {"ip": "10.0.0.7", "hostnames": ["warehouse", "warehouse.internal"]},
                        {"ip": "fd00::7", "hostnames": ["warehouse"]},
                    ],
                    "dnsConfig": {
                        "nameservers": ["10.0.0.53", "::1"],
                        "searches": ["corp.example.com", "_tcp.example.com", "."],
                        "options": [{"name": "ndots", "value": "2"}, {"name": "use-vc"}],
                    },
                    "runtimeClassName": "gvisor",
                }
            },
        ),
        (
            "DbtProject",
            {
                "pod": {
                    "topologySpreadConstraints": [
                        SPREAD,
                        SPREAD | {"whenUnsatisfiable": "DoNotSchedule", "minDomains": 2},
                        SPREAD
                        | {
                            "topologyKey": "kubernetes.io/hostname",
                            "labelSelector": {
                                "matchExpressions": [{"key": "a", "operator": "Exists"}]
                            },
                            "matchLabelKeys": ["dbt-operator.dev/target"],
                            "nodeAffinityPolicy": "Honor",
                            "nodeTaintsPolicy": "Honor",
                        },
                    ]
                }
            },
        ),
        *(
            ("DbtProject", {"pod": {"volumes": [key_volume(mode)]}})
            for mode in (0, 0o400, 0o440, 0o640, 0o777)
        ),
        (
            "DbtProject",
            {"pod": {"sidecarResources": {"requests": {"cpu": "50m"}}, "ephemeralStorage": "2Gi"}},
        ),
        *((kind, of(RUN | {"pod": MARKED})) for kind, of in RUNS.items()),
        ("DbtRun", {}),
        (
            "DbtRun",
            {"env": [{"name": "PGHOSTADDR", "value": "10.0.0.1"}]},
        ),  # the planner's to refuse: a stricter rule would keep stored runs from being cancelled
        ("DbtRun", {"priority": -5}),
        ("DbtRun", {"notify": []}),
        ("DbtRun", {"notify": [{"channel": "data-team"}]}),
        (
            "DbtRun",
            {
                "notify": [
                    {"channel": "data-team", "events": ["Failed", "Recovered", "Warned"]},
                    {"channel": "on-call", "events": ["Late", "Missed", "Succeeded"]},
                ]
            },
        ),
        (
            "DbtRun",
            {"pod": {"resources": {"limits": {"memory": "4Gi"}}, "nodeSelector": {"disk": "fast"}}},
        ),
        (
            "DbtRun",
            {
                "vars": {"a": {"b": [1, None]}},
                "onEmptySelection": "Succeed",
                "threads": 8,
                "timeout": "1h30m",
                "startTimeout": "90s",
            },
        ),
        (
            "DbtRun",
            {
                "steps": [
                    {"runOperation": {"macro": "p.m", "args": {"x": 1}}},
                    {"docs": {}, "when": "Always"},
                ]
            },
        ),
        ("DbtRun", {"env": [{"name": "SCHEMA", "value": "x"}], "ttlAfterFinished": "24h"}),
        ("DbtRun", {"source": {"ref": "refs/pull/7/head"}}),
        (
            "DbtRun",
            {"eventTime": {"start": "2024-01-01", "end": "2024-01-01T06:00:00"}, "warnError": True},
        ),
        (
            "DbtRun",
            {"retry": {"maxAttempts": 3, "backoff": {"initial": "1s"}, "reasons": ["OOMKilled"]}},
        ),
        (
            "DbtRun",
            {
                "gate": {"failOn": "Warn"},
                "warnErrorOptions": {"error": ["all"], "warn": ["NoNodesSelected"]},
            },
        ),
        ("DbtRun", {"steps": [{"sourceFreshness": {"onStale": "Wait"}}], "timeout": "1h"}),
        (
            "DbtRun",
            {
                "steps": [
                    {"build": {"sample": "{'start': '2024-01-01', 'end': '2024-01-08 18:00:00'}"}}
                ]
            },
        ),
        ("DbtRun", {"steps": [{"run": {"sample": "3 days", "fullRefresh": True, "empty": False}}]}),
        (
            "DbtRun",
            {"steps": [{"list": {"resourceTypes": ["model"], "excludeResourceTypes": ["test"]}}]},
        ),
        (
            "DbtRun",
            {
                "steps": [{"clone": {"selector": "core", "fullRefresh": True}}],
                "state": {"from": {"target": "prod"}},
            },
        ),
        (
            "DbtRun",
            {"gate": {"failOn": "Error"}, "warnErrorOptions": {"silence": ["LogTestResult"]}},
        ),
        (
            "DbtRun",
            {
                "waitFor": [
                    {"job": {"name": "load"}, "newerThan": "1h30m", "timeout": "720h"},
                    {
                        "job": {
                            "selector": {"matchLabels": {"a.example.com/app": "load", "b": ""}}
                        },
                        "newerThan": "2024-01-31T06:00:00+01:00",
                        "onTimeout": "Skip",
                    },
                    {"schedule": {"name": "raw"}, "begunAfter": "2024-01-31T06:00:00Z"},
                    {"run": {"name": "first"}, "onTimeout": "Fail"},
                    *({"run": {"name": f"run-{number}"}} for number in range(6)),
                ]
            },
        ),
        (
            "DbtSchedule",
            {
                "runTemplate": {
                    "spec": RUN
                    | {
                        "waitFor": [
                            {"schedule": {"name": "raw"}, "newerThan": "$(scheduled.time)"},
                            {"job": {"name": "load"}, "begunAfter": "$(interval.start)"},
                            {"job": {"name": "load"}, "newerThan": "$(interval.end)"},
                        ]
                    }
                }
            },
        ),
        ("DbtSchedule", {"schedules": ["@daily", "*/15 1-5 L * MON-FRI", "0 6 * * 5L,1#2"]}),
        ("DbtSchedule", {"timezone": "America/Argentina/Buenos_Aires", "suspend": True}),
        ("DbtSchedule", {"finishWithin": "2h"}),
        (
            "DbtBackfill",
            {
                "windows": {
                    "occurrences": {
                        "schedules": ["@daily"],
                        "from": "2024-01-01",
                        "to": "2024-01-01",
                    }
                },
            },
        ),
        (
            "DbtRun",
            {"waitFor": [{"object": {"apiGroup": "argoproj.io", "kind": "Load", "name": "a"}}]},
        ),
        (
            "DbtSchedule",
            {
                "schedules": None,
                "triggers": [
                    {"afterSchedule": {"name": "raw"}},
                    {"afterJob": {"selector": {"matchLabels": {"app": "load"}}}},
                ],
                "debounce": "1m",
            },
        ),
        ("DbtSchedule", {"runTemplate": None, "backfillTemplate": {"spec": BACKFILL}}),
        (
            "DbtBackfill",
            {"windows": {"dates": {"last": "7d", "asOf": "2024-01-31T00:00:00Z"}}},
        ),
        ("DbtSchedule", {"finishAt": "T07:00"}),
        (
            "DbtSchedule",
            {
                "runTemplate": {
                    "metadata": {
                        "labels": {"team": "finance", "example.com/tier": "", "a.b/c_d": "E.f-9"},
                        "annotations": {"example.com/owner": "Somebody <else>\n"},
                    },
                    "spec": RUN,
                }
            },
        ),
        (
            "DbtSchedule",
            {
                "runTemplate": {
                    "spec": RUN
                    | {"eventTime": {"start": "$(interval.start)", "end": "$(interval.end)"}}
                }
            },
        ),
    ],
)
def test_accepted(where: str, kind: str, spec: Manifest) -> None:
    created = create(manifest(kind, where, **spec))
    asked = {key: value for key, value in spec.items() if key != "steps" and value is not None}
    assert created["spec"].items() >= asked.items()
