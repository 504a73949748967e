"""What the API server refuses, by the schemas and the CEL rules, and with which words."""

from __future__ import annotations

import re
from collections.abc import Callable

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
from tests.support.kube import CommandError, Manifest, create

EXACTLY_ONE = "set exactly one of image, git and configMap"

DAYS = {"dates": {"last": "7d"}}
DATES = {"from": "2024-01-01", "to": "2024-01-07"}
WINDOW = {"start": "$(window.start)", "end": "$(window.end)"}
LOAD: Manifest = {"job": {"name": "load"}}
INTERVAL = {"start": "$(interval.start)", "end": "$(interval.end)"}

NOT_FOR_PODS = (
    "dbt-operator.dev/run-uid",
    "dbt-operator.dev/stop-after-window",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/name",
    "batch.kubernetes.io/job-name",
    "job-name",
    "controller-uid",
    "kueue.x-k8s.io/queue-name",
    "container.apparmor.security.beta.kubernetes.io/dbt",
)
MOUNT_PATHS = {
    "data": "spec.pod.volumes[0].mountPath",
    "/": "spec.pod.volumes[0].mountPath",
    "/a//b": "spec.pod.volumes[0].mountPath",
    "/a/../proc": "must not hold . or ..",
    "/tmp": "must not be in /dbt-operator*",  # noqa: S108 -- refused
    "/dev/shm": "must not be in /dbt-operator*",  # noqa: S108 -- refused
    "/dbt-operator-profiles": "must not be in /dbt-operator*",
}


def with_marks(**metadata: dict[str, str]) -> Manifest:
    """A schedule whose runs get labels or annotations."""
    return {"runTemplate": {"metadata": metadata, "spec": RUN}}


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        ("DbtTarget", {"profiles": None}, "spec.profiles: Required value"),
        ("DbtTarget", {"schemaPattern": "("}, "is not a regular expression"),
        ("DbtSchedule", {"schedules": []}, "should have at least 1 items"),
        ("DbtSchedule", {"schedules": ["0 0 3 * * *"]}, "must be five fields"),
        ("DbtSchedule", {"schedules": ["@reboot"]}, "must be five fields"),
        ("DbtSchedule", {"schedules": ["TZ=UTC 0 3 * * *"]}, "must be five fields"),
        ("DbtSchedule", {"timezone": "not a zone"}, "spec.timezone"),
        (
            "DbtRun",
            {"waitFor": [{"object": {"apiGroup": "../x", "kind": "Load", "name": "a"}}]},
            "spec.waitFor[0].object.apiGroup",
        ),
        (
            "DbtBackfill",
            {
                "windows": {
                    "occurrences": {
                        "schedules": ["@daily"],
                        "from": "2024-01-02",
                        "to": "2024-01-01",
                    }
                }
            },
            "to must not be before from",
        ),
        (
            "DbtBackfill",
            {"windows": {"keys": ["a"], "dates": DATES}},
            "set exactly one of dates, occurrences and keys",
        ),
        ("DbtSchedule", {"schedules": None}, "set schedules, triggers, or both"),
        ("DbtSchedule", {"debounce": "1m"}, "there are none"),
        ("DbtSchedule", {"triggers": [{}]}, "exactly one of afterSchedule and afterJob"),
        (
            "DbtSchedule",
            {"triggers": [{"afterJob": {"selector": {"matchLabels": {}}}}]},
            "should have at least 1 properties",
        ),
        (
            "DbtSchedule",
            {"triggers": [{"afterSchedule": {"name": "../raw"}}]},
            "spec.triggers[0].afterSchedule.name",
        ),
        ("DbtSchedule", {"runTemplate": None}, "exactly one of runTemplate and backfillTemplate"),
        (
            "DbtSchedule",
            {"backfillTemplate": {"spec": {"runTemplate": {"spec": RUN}, "windows": DAYS}}},
            "exactly one of runTemplate and backfillTemplate",
        ),
        (
            "DbtSchedule",
            {
                "runTemplate": None,
                "backfillTemplate": {"spec": {"runTemplate": {"spec": RUN}}},
            },
            "windows are missing",
        ),
        (
            "DbtSchedule",
            {
                "runTemplate": None,
                "backfillTemplate": {
                    "spec": {
                        "runTemplate": {"spec": RUN | {"ttlAfterFinished": "1h"}},
                        "windows": DAYS,
                    }
                },
            },
            "leave out runTemplate.spec.ttlAfterFinished",
        ),
        (
            "DbtBackfill",
            {"windows": {"dates": DATES | {"asOf": "2024-01-31T00:00:00Z"}}},
            "asOf is about last",
        ),
        ("DbtBackfill", {"windows": {"dates": {"last": "7d", "asOf": "now"}}}, "asOf"),
        ("DbtSchedule", {"finishWithin": "2h", "finishAt": "T07:00"}, "finishWithin or finishAt"),
        ("DbtSchedule", {"finishAt": "07:00"}, "spec.finishAt"),
        ("DbtSchedule", {"finishAt": "T24:00"}, "spec.finishAt"),
        (
            "DbtSchedule",
            with_marks(labels={"dbt-operator.dev/run": "x"}),
            "is set by the operator alone: leave it out",
        ),
        (
            "DbtSchedule",
            with_marks(annotations={"dbt-operator.dev/run-now": "x"}),
            "is set by the operator alone: leave it out",
        ),
        ("DbtSchedule", with_marks(labels={"not a name": "x"}), "Kubernetes does not take"),
        ("DbtSchedule", with_marks(labels={"team": "not a value"}), "spec.runTemplate.metadata"),
        (
            "DbtSchedule",
            with_marks(annotations={f"a{number}": "" for number in range(21)}),
            "must have at most 20 items",
        ),
        (
            "DbtSchedule",
            {"runTemplate": {"spec": RUN | {"ttlAfterFinished": "1h"}}},
            "leave out ttlAfterFinished",
        ),
        (
            "DbtSchedule",
            {"runTemplate": {"spec": RUN | {"eventTime": WINDOW}}},
            "have a meaning in a DbtBackfill only",
        ),
        (
            "DbtBackfill",
            {"runTemplate": {"spec": RUN | {"eventTime": INTERVAL}}},
            "have a meaning in a DbtSchedule only",
        ),
        ("DbtRun", {"eventTime": INTERVAL}, "in a DbtSchedule"),
        (
            "DbtTarget",
            {"maxConcurrentRuns": 0},
            "spec.maxConcurrentRuns in body should be greater than or equal to 1",
        ),
        (
            "DbtRun",
            {"priority": 1001},
            "spec.priority in body should be less than or equal to 1000",
        ),
        (
            "DbtTarget",
            {"env": [{"name": "A"}]},
            "set exactly one of value, secretKeyRef and configMapKeyRef",
        ),
        (
            "DbtTarget",
            {"env": [{"name": "DBT_TARGET", "value": "dev"}]},
            "that the operator sets itself",
        ),
        (
            "DbtTarget",
            {"env": [{"name": "DBT_ENGINE_TARGET", "value": "dev"}]},
            "that the operator sets itself",
        ),
        (
            "DbtTarget",
            {"env": [{"name": "LD_PRELOAD", "value": "x"}]},
            "that the operator sets itself",
        ),
        ("DbtTarget", {"env": [{"name": "A B", "value": "x"}]}, "spec.env[0].name"),
        ("DbtTarget", {"allowedRunEnv": ["A-B"]}, "spec.allowedRunEnv[0]"),
        ("DbtTarget", {"allowedRunEnv": ["A", "[AB]"]}, "spec.allowedRunEnv[1]"),
        ("DbtProject", {"image": "dbt"}, "must be pinned"),
        ("DbtProject", {"image": "dbt:latest"}, "must be pinned"),
        ("DbtProject", {"image": "registry:5000/dbt"}, "must be pinned"),
        ("DbtProject", {"source": {}}, EXACTLY_ONE),
        ("DbtProject", {"source": git("https://g/x") | {"configMap": {"name": "c"}}}, EXACTLY_ONE),
        (
            "DbtProject",
            {"source": git("git://git.example.com/shop")},
            "must be like https://host/path",
        ),
        ("DbtProject", {"source": git("file:///shop")}, "must be like https://host/path"),
        ("DbtProject", {"source": git("/shop")}, "must be like https://host/path"),
        ("DbtProject", {"source": git("ext::sh -c id")}, "must be like https://host/path"),
        (
            "DbtProject",
            {"source": git("ssh://-oProxyCommand=id/shop")},
            "must be like https://host/path",
        ),
        (
            "DbtProject",
            {"source": git("-oProxyCommand=id@host:shop")},
            "must be like https://host/path",
        ),
        (
            "DbtProject",
            {"source": git("https://git.example.com/shop?private_token=x")},
            "must be like https://host/path",
        ),
        (
            "DbtProject",
            {"source": git("https://user:pw@git.example.com/shop")},
            "must hold no credentials",
        ),
        (
            "DbtProject",
            {"source": git("https://token@git.example.com/shop")},
            "must hold no credentials",
        ),
        (
            "DbtProject",
            {"source": git("ssh://git:pw@git.example.com/shop")},
            "must hold no credentials",
        ),
        (
            "DbtProject",
            {"source": git("http://g/x", **DEPLOY_KEY)},
            "credentials are not sent over http://",
        ),
        (
            "DbtProject",
            {"source": git("https://g/x", ref="--upload-pack=id")},
            "spec.source.git.ref",
        ),
        (
            "DbtProject",
            {"source": git("https://g/x", ref="a..b")},
            "must not contain two dots in a row",
        ),
        ("DbtProject", {"source": git("https://g/x", ref="main~1")}, "spec.source.git.ref"),
        (
            "DbtProject",
            {"source": git("https://g/x", subPath="a/../..")},
            "must stay inside the repository",
        ),
        (
            "DbtProject",
            {"source": git("https://g/x", subPath="/etc")},
            "must stay inside the repository",
        ),
        ("DbtProject", {"deps": "Sometimes"}, "spec.deps"),
        ("DbtProject", {"parseCache": "Sometimes"}, "spec.parseCache"),
        (
            "DbtProject",
            {"source": {"image": {"path": "/p"}, "configMap": {"name": "c"}}},
            EXACTLY_ONE,
        ),
        ("DbtProject", {"source": {"image": {"path": "project"}}}, "spec.source.image.path"),
        (
            "DbtProject",
            {"source": {"configMap": {"name": "c", "items": [{"key": "a", "path": "x/../../y"}]}}},
            "must stay inside the project's folder",
        ),
        ("DbtProject", {"artifacts": None}, "spec.artifacts: Required value"),
        (
            "DbtProject",
            {"artifacts": ARTIFACTS | {"endpoint": "http://minio:9000"}},
            "needs insecure: true",
        ),
        (
            "DbtProject",
            {"artifacts": ARTIFACTS | {"endpoint": "https://user:pw@s3"}},
            "spec.artifacts.endpoint",
        ),
        (
            "DbtProject",
            {
                "artifacts": ARTIFACTS
                | {
                    "endpoint": "http://minio:9000",
                    "insecure": True,
                    "caSecretRef": {"name": "ca", "key": "ca.crt"},
                }
            },
            "an endpoint that begins with https:// only",
        ),
        (
            "DbtProject",
            {"artifacts": ARTIFACTS | {"caSecretRef": {"name": "ca"}}},
            "spec.artifacts.caSecretRef.key",
        ),
        ("DbtProject", {"pod": {"runAsUser": 0}}, "spec.pod.runAsUser"),
        *(
            ("DbtProject", {"pod": {where: {"a": "x", name: "x"}}}, f"{name} is a name that others")
            for where in ("labels", "annotations")
            for name in NOT_FOR_PODS
        ),
        *(
            (kind, of(RUN | {"pod": {where: {"a": "x", name: "x"}}}), f"{name} is a name that oth")
            for kind, of in RUNS.items()
            for where in ("labels", "annotations")
            for name in NOT_FOR_PODS
        ),
        ("DbtTarget", {"allowedRunLabels": [""]}, "spec.allowedRunLabels[0]"),
        ("DbtTarget", {"allowedRunLabels": ["two words"]}, "spec.allowedRunLabels[0]"),
        ("DbtTarget", {"allowedRunLabels": ["a"] * 65}, "spec.allowedRunLabels"),
        ("DbtRun", {"pod": {"labels": {"a": "two words"}}}, "spec.pod.labels.a"),
        ("DbtRun", {"pod": {"annotations": {"a": "x" * 1025}}}, "spec.pod.annotations.a"),
        ("DbtProject", {"pod": {"labels": {"a": "two words"}}}, "spec.pod.labels.a"),
        ("DbtProject", {"pod": {"labels": {"a": "x" * 64}}}, "spec.pod.labels.a"),
        ("DbtProject", {"pod": {"labels": {"x" * 318: "x"}}}, "at most 253 characters"),
        (
            "DbtProject",
            {"pod": {"labels": {f"a{number}": "x" for number in range(17)}}},
            "spec.pod.labels",
        ),
        ("DbtProject", {"pod": {"annotations": {"a": "x" * 1025}}}, "spec.pod.annotations.a"),
        (
            "DbtProject",
            {"pod": {"volumes": [VOLUME | {"secret": {"secretName": "s"}}]}},
            "set exactly one of",
        ),
        (
            "DbtProject",
            {"pod": {"volumes": [{"name": "a", "mountPath": "/a"}]}},
            "set exactly one of",
        ),
        (
            "DbtProject",
            {"pod": {"volumes": [VOLUME, VOLUME | {"mountPath": "/b"}]}},
            "two volumes have the same name",
        ),
        (
            "DbtProject",
            {"pod": {"volumes": [VOLUME, VOLUME | {"name": "b"}]}},
            "two volumes have one mountPath",
        ),
        *(
            ("DbtProject", {"pod": {"volumes": [VOLUME | {"mountPath": p}]}}, words)
            for p, words in MOUNT_PATHS.items()
        ),
        (
            "DbtProject",
            {"pod": {"volumes": [VOLUME | {"subPath": "a/../.."}]}},
            "must stay inside the volume",
        ),
        *(
            ("DbtProject", {"pod": {"volumes": [key_volume(mode)]}}, "secret.defaultMode")
            for mode in (-1, 0o1000)
        ),
        *(
            ("DbtProject", {"pod": {"hostAliases": [{"ip": ip, "hostnames": ["a"]}]}}, "].ip")
            for ip in ("256.0.0.1", "10.0.0", "warehouse", "10.0.0.1.5", "10.0.0.1/8")
        ),
        *(
            (
                "DbtProject",
                {"pod": {"hostAliases": [{"ip": "10.0.0.1", "hostnames": hostnames}]}},
                "].hostnames",
            )
            for hostnames in ([], ["A_b"], ["a"] * 17)
        ),
        *(
            ("DbtProject", {"pod": {"dnsConfig": config}}, message)
            for config, message in (
                ({}, "set nameservers, searches or options"),
                ({"nameservers": ["10.0.0.1"] * 4}, "dnsConfig.nameservers"),
                ({"nameservers": ["dns.example.com"]}, "dnsConfig.nameservers[0]"),
                ({"searches": ["two words"]}, "dnsConfig.searches[0]"),
                ({"searches": [("a" * 200) + str(n) for n in range(11)]}, "at most 2048"),
                ({"options": [{"value": "2"}]}, "dnsConfig.options[0].name"),
            )
        ),
        ("DbtProject", {"pod": {"runtimeClassName": "Kata_1"}}, "spec.pod.runtimeClassName"),
        *(
            ("DbtProject", {"pod": {"topologySpreadConstraints": constraints}}, message)
            for constraints, message in (
                ([SPREAD, SPREAD], "two constraints have one topologyKey"),
                ([SPREAD | {"maxSkew": 0}], "maxSkew"),
                ([SPREAD | {"topologyKey": "two words"}], "topologyKey"),
                ([SPREAD | {"whenUnsatisfiable": "Wait"}], "whenUnsatisfiable"),
                ([SPREAD | {"minDomains": 2}], "whenUnsatisfiable: DoNotSchedule only"),
                (
                    [SPREAD | {"matchLabelKeys": ["a"]}],
                    "are put beside a labelSelector",
                ),
                ([SPREAD | {"topologyKey": f"k{n}"} for n in range(9)], "most 8 items"),
            )
        ),
        ("DbtProject", {"defaults": {"timeout": "0s"}}, "must be at least 1s"),
        (
            "DbtProject",
            {"defaults": {"notify": [{"channel": "a"}, {"channel": "b"}, {"channel": "a"}]}},
            "names a channel twice",
        ),
        ("DbtRun", {"notify": [{"channel": "#data-team"}]}, "spec.notify[0].channel"),
        ("DbtRun", {"notify": [{"channel": "a", "events": []}]}, "spec.notify[0].events"),
        ("DbtRun", {"notify": [{"channel": "a", "events": ["Broken"]}]}, "Unsupported value"),
        ("DbtRun", {"notify": [{"channel": f"c{n}"} for n in range(11)]}, "at most 10"),
        ("DbtSchedule", {"notify": [{"events": ["Late"]}]}, "spec.notify[0].channel"),
        ("DbtProject", {"defaults": {"threads": 0}}, "spec.defaults.threads"),
        (
            "DbtProject",
            {"defaults": {"retry": {"maxAttempts": 11}}},
            "spec.defaults.retry.maxAttempts",
        ),
        ("DbtRun", {"steps": []}, "spec.steps"),
        ("DbtRun", {"steps": [{}]}, "a step has exactly one of build, run"),
        ("DbtRun", {"steps": [{"build": {}, "run": {}}]}, "a step has exactly one of build, run"),
        (
            "DbtRun",
            {"steps": [{"build": {"select": ["--target"]}}]},
            "spec.steps[0].build.select[0]",
        ),
        (
            "DbtRun",
            {"steps": [{"build": {"select": ["a"], "selector": "b"}}]},
            "selector replaces select and exclude",
        ),
        (
            "DbtRun",
            {"steps": [{"runOperation": {}}]},
            "spec.steps[0].runOperation.macro: Required value",
        ),
        ("DbtRun", {"source": {}}, "spec.source.ref: Required value"),
        ("DbtRun", {"source": {"ref": "-x"}}, "spec.source.ref"),
        ("DbtRun", {"timeout": "30"}, "spec.timeout"),
        ("DbtRun", {"timeout": "0s"}, "must be at least 1s"),
        ("DbtRun", {"timeout": "721h"}, "must be at most 720h"),
        ("DbtRun", {"ttlAfterFinished": "1 day"}, "spec.ttlAfterFinished"),
        ("DbtRun", {"threads": 0}, "spec.threads"),
        (
            "DbtRun",
            {"eventTime": {"start": "2024-01-02", "end": "2024-01-01"}},
            "start must be before end",
        ),
        (
            "DbtRun",
            {"eventTime": {"start": "2024-01-02+01:00", "end": "2024-01-03"}},
            "spec.eventTime.start",
        ),
        (
            "DbtRun",
            {
                "eventTime": {"start": "2024-01-01", "end": "2024-01-02"},
                "steps": [{"build": {"fullRefresh": True}}],
            },
            "would drop every other batch",
        ),
        (
            "DbtRun",
            {"warnError": True, "warnErrorOptions": {"error": ["all"]}},
            "set it or warnErrorOptions",
        ),
        (
            "DbtRun",
            {"gate": {"failOn": "Warn"}, "warnErrorOptions": {"silence": ["LogTestResult"]}},
            "take it out of warnErrorOptions.warn and silence",
        ),
        ("DbtRun", {"gate": {"failOn": "Never"}}, "spec.gate.failOn"),
        (
            "DbtRun",
            {
                "steps": [
                    {
                        "build": {
                            "resourceTypes": ["model", "test"],
                            "excludeResourceTypes": ["test"],
                        }
                    }
                ]
            },
            "in both resourceTypes and excludeResourceTypes",
        ),
        (
            "DbtRun",
            {"steps": [{"list": {"resourceTypes": ["model"], "excludeResourceTypes": ["model"]}}]},
            "in both resourceTypes and excludeResourceTypes",
        ),
        (
            "DbtRun",
            {"steps": [{"list": {"select": ["a"], "selector": "b"}}]},
            "selector replaces select and exclude",
        ),
        (
            "DbtRun",
            {"steps": [{"clone": {"exclude": ["a"], "selector": "b"}}]},
            "selector replaces select and exclude",
        ),
        (
            "DbtRun",
            {"steps": [{"build": {"exclude": ["a"], "selector": "b"}}]},
            "selector replaces select and exclude",
        ),
        ("DbtRun", {"steps": [{"list": {"outputKeys": ["name"]}}]}, "are those of output: json"),
        ("DbtRun", {"steps": [{"build": {"sample": "3 weeks"}}]}, "spec.steps[0].build.sample"),
        (
            "DbtRun",
            {"steps": [{"build": {"sample": "3 days", "empty": True}}]},
            "there is nothing to sample",
        ),
        (
            "DbtRun",
            {"steps": [{"run": {"sample": "3 days", "empty": True}}]},
            "there is nothing to sample",
        ),
        (
            "DbtRun",
            {
                "eventTime": {"start": "2024-01-01", "end": "2024-01-02"},
                "steps": [{"run": {"sample": "3 days"}}],
            },
            "sample would replace eventTime",
        ),
        (
            "DbtRun",
            {"steps": [{"sourceFreshness": {"onStale": "Retry"}}]},
            "spec.steps[0].sourceFreshness.onStale",
        ),
        (
            "DbtRun",
            {"warnErrorOptions": {"warn": ["NoNodesSelected"]}},
            "are exceptions from error",
        ),
        (
            "DbtRun",
            {"steps": [{"build": {"resourceTypes": ["table"]}}]},
            "spec.steps[0].build.resourceTypes[0]",
        ),
        ("DbtRun", {"retry": {"maxAttempts": 0}}, "spec.retry.maxAttempts"),
        ("DbtRun", {"retry": {"maxAttempts": 2, "reasons": ["Often"]}}, "spec.retry.reasons[0]"),
        (
            "DbtRun",
            {"env": [{"name": "SCHEMA", "value": "a"}, {"name": "HOME", "value": "/"}]},
            "HOME is a variable that the operator sets itself",
        ),
        (
            "DbtSchedule",
            {"runTemplate": {"spec": RUN | {"env": [{"name": "DBT_ENGINE_EMPTY", "value": "1"}]}}},
            "DBT_ENGINE_EMPTY is a variable that the operator sets itself",
        ),
        ("DbtRun", {"waitFor": []}, "should have at least 1 items"),
        ("DbtRun", {"waitFor": [LOAD] * 11}, "must have at most 10 items"),
        ("DbtRun", {"waitFor": [{}]}, "set exactly one of job, schedule, run and object"),
        (
            "DbtRun",
            {"waitFor": [LOAD | {"run": {"name": "a"}}]},
            "set exactly one of job, schedule, run and object",
        ),
        ("DbtRun", {"waitFor": [{"job": {}}]}, "set exactly one of name and selector"),
        (
            "DbtRun",
            {"waitFor": [{"job": {"name": "a", "selector": {"matchLabels": {"a": "b"}}}}]},
            "set exactly one of name and selector",
        ),
        (
            "DbtRun",
            {"waitFor": [{"job": {"selector": {"matchLabels": {}}}}]},
            "should have at least 1 properties",
        ),
        (
            "DbtRun",
            {"waitFor": [{"job": {"selector": {"matchLabels": {"a": "b,c"}}}}]},
            "spec.waitFor[0].job.selector.matchLabels",
        ),
        ("DbtRun", {"waitFor": [{"job": {"name": "Load"}}]}, "spec.waitFor[0].job.name"),
        ("DbtRun", {"waitFor": [LOAD | {"newerThan": "soon"}]}, "must be a duration such as 2h"),
        ("DbtRun", {"waitFor": [LOAD | {"newerThan": "2024-01-31"}]}, "must be a duration such"),
        ("DbtRun", {"waitFor": [LOAD | {"newerThan": "721h"}]}, "must be from 1s to 720h"),
        (
            "DbtRun",
            {"waitFor": [LOAD | {"begunAfter": "2024-02-31T06:00:00Z"}]},
            "is a time that no calendar has",
        ),
        (
            "DbtRun",
            {"waitFor": [LOAD | {"newerThan": "$(scheduled.time)"}]},
            "have a meaning in a DbtSchedule only",
        ),
        (
            "DbtRun",
            {"waitFor": [LOAD | {"begunAfter": "$(interval.start)"}]},
            "have a meaning in a DbtSchedule only",
        ),
        ("DbtRun", {"waitFor": [LOAD | {"timeout": "0s"}]}, "must be at least 1s"),
        ("DbtRun", {"waitFor": [LOAD | {"onTimeout": "Run"}]}, "spec.waitFor[0].onTimeout"),
        (
            "DbtSchedule",
            {"runTemplate": {"spec": RUN | {"waitFor": [LOAD | {"newerThan": "$(window.start)"}]}}},
            "must be a duration such as 2h",
        ),
        (
            "DbtBackfill",
            {"runTemplate": {"spec": RUN | {"waitFor": [LOAD]}}},
            "the windows of a backfill wait for nothing: leave out waitFor",
        ),
    ],
)
def test_refused_with_the_field_and_the_remedy(
    where: str, kind: str, spec: Manifest, message: str
) -> None:
    with pytest.raises(CommandError, match=r"invalid|Invalid") as refusal:
        create(manifest(kind, where, **spec))
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "pod"),
    [
        ("DbtProject", {"volumes": [{"name": "a", "mountPath": "/a", "hostPath": {"path": "/"}}]}),
        (
            "DbtProject",
            {
                "volumes": [
                    VOLUME | {"persistentVolumeClaim": {"claimName": "c", "namespace": "other"}}
                ]
            },
        ),
        ("DbtProject", {"hostNetwork": True}),
        ("DbtRun", {"runAsUser": 1000}),
        ("DbtRun", {"volumes": [VOLUME]}),
        ("DbtRun", {"hostAliases": [{"ip": "10.0.0.7", "hostnames": ["warehouse"]}]}),
        ("DbtRun", {"dnsConfig": {"nameservers": ["10.0.0.53"]}}),
        ("DbtRun", {"runtimeClassName": "gvisor"}),
        ("DbtRun", {"topologySpreadConstraints": [SPREAD]}),
    ],
)
def test_what_else_a_pod_has_is_not_on_the_list(where: str, kind: str, pod: Manifest) -> None:
    with pytest.raises(CommandError, match="unknown field"):
        create(manifest(kind, where, pod=pod))


NAMED: dict[str, tuple[str, Callable[[str], Manifest]]] = {
    "spec.projectRef.name": ("DbtRun", lambda name: {"projectRef": {"name": name}}),
    "spec.targetRef.name": ("DbtRun", lambda name: {"targetRef": {"name": name}}),
    "spec.runTemplate.spec.projectRef.name": (
        "DbtSchedule",
        lambda name: {"runTemplate": {"spec": RUN | {"projectRef": {"name": name}}}},
    ),
    "spec.pod.priorityClassName": ("DbtRun", lambda name: {"pod": {"priorityClassName": name}}),
    "spec.resumeFrom.name": (
        "DbtBackfill",
        lambda name: {"resumeFrom": {"name": name}, "windows": None},
    ),
    "spec.serviceAccountName": ("DbtTarget", lambda name: {"serviceAccountName": name}),
    "spec.profiles.secretRef.name": (
        "DbtTarget",
        lambda name: {"profiles": {"secretRef": {"name": name, "key": "profiles.yml"}}},
    ),
    "spec.imagePullSecrets[0].name": (
        "DbtProject",
        lambda name: {"imagePullSecrets": [{"name": name}]},
    ),
    "spec.source.configMap.name": (
        "DbtProject",
        lambda name: {"source": {"configMap": {"name": name}}},
    ),
    "spec.artifacts.secretRef.name": (
        "DbtProject",
        lambda name: {"artifacts": ARTIFACTS | {"secretRef": {"name": name}}},
    ),
    "spec.artifacts.caSecretRef.name": (
        "DbtProject",
        lambda name: {"artifacts": ARTIFACTS | {"caSecretRef": {"name": name, "key": "ca.crt"}}},
    ),
}


@pytest.mark.parametrize("field", NAMED)
def test_a_reference_is_a_name(where: str, field: str) -> None:
    kind, spec = NAMED[field]
    create(manifest(kind, where, **spec("shop.of-2024")))
    for name in ("../../try/dbtprojects/jaffle", "..", "a..b", "a/b", "Shop", "-a"):
        with pytest.raises(CommandError, match=re.escape(field)):
            create(manifest(kind, where, **spec(name)))


@pytest.mark.parametrize("field", ["namespace", "unknown"])
def test_no_reference_leads_out_of_the_namespace(where: str, field: str) -> None:
    """Unknown fields are refused by kubectl, and pruned by the API server for whoever does not
    validate.
    """
    with pytest.raises(CommandError, match="unknown field"):
        create(manifest("DbtRun", where, projectRef={"name": "p", field: "other"}))
