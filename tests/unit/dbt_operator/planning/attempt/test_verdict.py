from __future__ import annotations

import pytest

from dbt_operator.api.status import Reason
from dbt_operator.planning.attempt.pod_facts import ContainerFacts, JobFacts, PodFacts
from dbt_operator.planning.attempt.verdict import judge, stuck
from tests.support.builders import ended, ended_pod, failed_summary, summary

FORBIDDEN = 'FailedCreate: Error creating: pods "x" is forbidden:'


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (ended_pod(ended(0, summary())), None),
        (ended_pod(ended(1, failed_summary())), Reason.MODEL_ERROR),
        (ended_pod(ended(1, failed_summary("TestFailed"))), Reason.TEST_FAILED),
        # Exit code and summary must agree, or nothing is believed.
        (ended_pod(ended(0, failed_summary())), Reason.MODEL_ERROR),
        (ended_pod(ended(1, summary())), Reason.UNKNOWN),
        (ended_pod(ended(0, "")), Reason.UNKNOWN),
        (ended_pod(ended(0, '{"protocol":99}')), Reason.UNKNOWN),
        (ended_pod(ended(0, "{")), Reason.UNKNOWN),
        (ended_pod(ended(1, summary("SomethingNew"))), Reason.UNKNOWN),
        (ended_pod(ended(137, "", "OOMKilled")), Reason.OOM_KILLED),
        (ended_pod(ended(1, summary("OOMKilled"))), Reason.OOM_KILLED),
        (ended_pod(ended(137, "")), Reason.UNKNOWN),
        (ended_pod(ended(128, "exec: python3: not found", "StartError")), Reason.CONFIG_ERROR),
        # A signal is explained by what happened to the pod.
        (ended_pod(ended(2, summary("Cancelled"))), Reason.INFRASTRUCTURE),
        (ended_pod(ended(2, summary("Cancelled")), disrupted="evicted"), Reason.INFRASTRUCTURE),
        (ended_pod(ended(137, ""), reason="Evicted"), Reason.INFRASTRUCTURE),
        (ended_pod(ended(137, ""), reason="DeadlineExceeded"), Reason.TIMEOUT),
        (ended_pod(ended(2, summary("Timeout"))), Reason.TIMEOUT),
        # A real failure stays one, whatever happened to the pod after it.
        (ended_pod(ended(1, failed_summary()), reason="Evicted"), Reason.MODEL_ERROR),
        # The init container failed.
        (PodFacts(phase="Failed", prepare=ended(1, summary("ConfigError"))), Reason.CONFIG_ERROR),
        (PodFacts(phase="Failed", prepare=ended(1, "")), Reason.UNKNOWN),
        (PodFacts(phase="Failed", prepare=ended(137, "", "OOMKilled")), Reason.OOM_KILLED),
        # dbt never ran.
        (PodFacts(phase="Failed", reason="Evicted"), Reason.INFRASTRUCTURE),
        (PodFacts(phase="Failed", disrupted="drained"), Reason.INFRASTRUCTURE),
        (PodFacts(phase="Failed", reason="DeadlineExceeded"), Reason.TIMEOUT),
        (PodFacts(phase="Failed"), Reason.UNKNOWN),
        (PodFacts(phase="Succeeded"), Reason.UNKNOWN),
    ],
)
def test_a_pod_is_judged(pod: PodFacts, reason: Reason | None) -> None:
    assert judge(pod, None).reason == reason


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        (None, Reason.UNKNOWN),
        (JobFacts("j", complete=True), Reason.UNKNOWN),
        (JobFacts("j", failed_reason="BackoffLimitExceeded"), Reason.UNKNOWN),
        (
            JobFacts("j", failed_reason="PodFailurePolicy", failed_message="drained"),
            Reason.INFRASTRUCTURE,
        ),
    ],
)
def test_an_attempt_without_its_pod_is_never_a_success(
    job: JobFacts | None, reason: Reason
) -> None:
    assert judge(None, job).reason == reason


def test_what_had_ended_before_an_oom_kill_is_not_lost() -> None:
    verdict = judge(ended_pod(ended(137, summary("OOMKilled"), "OOMKilled")), None)
    assert verdict.reason is Reason.OOM_KILLED
    assert verdict.summary is not None
    assert verdict.summary.nodes.success == 20


def test_the_message_of_an_oom_kill_names_the_remedy() -> None:
    assert "limits.memory" in judge(ended_pod(ended(137, "", "OOMKilled")), None).message


@pytest.mark.parametrize(
    ("pod", "warning", "reason", "words"),
    [
        (
            None,
            'FailedCreate: serviceaccount "x" not found',
            Reason.CONFIG_ERROR,
            'serviceaccount "x" not found',
        ),
        (
            None,
            f"{FORBIDDEN} exceeded quota: team, requested: pods=1, used: pods=5, limited: pods=5",
            Reason.UNSCHEDULABLE,
            "the ResourceQuota team is used up (requested: pods=1, used: pods=5, limited: pods=5)",
        ),
        (
            None,
            f"{FORBIDDEN} failed quota: team: must specify limits.cpu for: dbt",
            Reason.CONFIG_ERROR,
            "must specify limits.cpu",
        ),
        (None, "", Reason.INFRASTRUCTURE, "has not been created"),
        (
            PodFacts(unschedulable="0/1 nodes: insufficient memory"),
            "",
            Reason.UNSCHEDULABLE,
            "insufficient memory",
        ),
        (
            PodFacts(
                dbt=ContainerFacts(
                    waiting_reason="ImagePullBackOff", waiting_message="not found", image="x:1"
                )
            ),
            "",
            Reason.IMAGE_PULL_FAILED,
            "x:1",
        ),
        (
            PodFacts(
                artifacts=ContainerFacts(
                    waiting_reason="CreateContainerConfigError", waiting_message='"b" missing'
                )
            ),
            "",
            Reason.CONFIG_ERROR,
            '"b" missing',
        ),
        (PodFacts(), 'FailedMount: secret "warehouse" not found', Reason.CONFIG_ERROR, "warehouse"),
        (
            PodFacts(),
            "FailedScheduling: 0/1 nodes are available",
            Reason.UNSCHEDULABLE,
            "0/1 nodes",
        ),
        # While a pull is being tried again, the status does not show that it failed.
        (
            PodFacts(),
            'Failed: Failed to pull image "x:1": not found',
            Reason.IMAGE_PULL_FAILED,
            "x:1",
        ),
        (PodFacts(), "", Reason.INFRASTRUCTURE, "no event"),
    ],
)
def test_what_keeps_a_pod_from_starting(
    pod: PodFacts | None, warning: str, reason: Reason, words: str
) -> None:
    verdict = stuck(pod, [warning, "Older: warning"] if warning else [])
    assert verdict.reason is reason
    assert words in verdict.message
