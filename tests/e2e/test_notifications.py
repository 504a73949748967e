"""Messages by real servers: what comes, how often, and to whom."""

from __future__ import annotations

import base64
import email
import email.policy
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from tests.support import kube, product, receivers
from tests.support.kube import Manifest, apply, get, kubectl, resource, wait_for
from tests.support.receivers import TOLD, Got, Receivers
from tests.support.scenarios import PASSWORD, SCENARIOS, Scenario, manifests, secrets

FAILING = next(each for each in SCENARIOS if each.name == "failing-model")
GREEN = next(each for each in SCENARIOS if each.name == "green")


@pytest.fixture(scope="module")
def receiver(warehouse: None) -> Iterator[Receivers]:  # noqa: ARG001 -- it has to be there first
    with receivers.connect() as found:
        yield found


@pytest.fixture(scope="module", autouse=True)
def _started(receiver: Receivers, images: Mapping[str, str]) -> None:
    """The runs of all tests, so that those that wait do so side by side."""
    apply(*secrets(TOLD))
    receiver.answer("slow", [{"hang": True}])
    receiver.answer("busy", [{"status": 500}, {"status": 429, "headers": {"Retry-After": "1"}}])
    start(GREEN, "told-in-the-end", images, "slow", "busy", "hook", events=["Succeeded"])
    start(FAILING, "told-of-a-failure", images, "slack", "mail", "hook", "closed", "unset")


def start(
    scenario: Scenario, name: str, images: Mapping[str, str], *channels: str, **notify: Any
) -> None:
    """Begin a run that tells of its end on some channels."""
    wanted = [{"channel": channel, **notify} for channel in channels]
    made = replace(scenario, name=name, run={**scenario.run, "notify": wanted})
    kubectl("delete", "dbtrun", name, "--ignore-not-found", "--wait", namespace=TOLD)
    apply(*manifests(made, images, TOLD))


def wait_until_told(name: str, kind: str = "dbtrun") -> Manifest:
    """The status of an object about which nothing is to be sent any more."""

    def look() -> Manifest | None:
        status: Manifest = get(kind, name, TOLD).get("status", {})
        messages = status.get("notifications")
        told = messages and all(each["state"] != "Pending" for each in messages)
        return status if told else None

    return wait_for(f"the messages about {name}", look)


def states(status: Manifest) -> dict[str, str]:
    return {each["channel"]: each["state"] for each in status["notifications"]}


def condition(status: Manifest) -> tuple[str, str]:
    return next(
        (each["status"], each["reason"])
        for each in status["conditions"]
        if each["type"] == "Notified"
    )


def verify(got: Got) -> None:
    """As a receiver does, who knows the key."""
    headers = {name.lower(): value for name, value in got.headers.items()}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{got.body}".encode()
    digest = hmac.digest(receivers.SIGNING_KEY.encode(), signed, sha256)
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_everybody_is_told_once_of_a_failure(receiver: Receivers) -> None:
    run = product.wait_until_finished("told-of-a-failure", TOLD)
    assert run["status"]["phase"] == "Failed"

    def look() -> Manifest | None:
        status: Manifest = get("dbtrun", "told-of-a-failure", TOLD)["status"]
        found = states(status)
        sent = all(found[name] == "Sent" for name in ("slack", "mail", "hook"))
        tried = any(each.get("tries") for each in status["notifications"])
        return status if sent and tried else None

    status = wait_for("the messages", look)
    assert states(status) == {
        "slack": "Sent",
        "mail": "Sent",
        "hook": "Sent",
        "closed": "Failed",
        "unset": "Pending",
    }
    told = {each["channel"]: each for each in status["notifications"]}
    assert "has no key url" in told["unset"]["message"]
    assert "notifications.channels.closed.namespaces" in told["closed"]["message"]
    assert condition(status) == ("False", "NotSent")

    (hook,) = receiver.got("hook", "told-of-a-failure")
    verify(hook)
    event = hook.json()
    assert (event["id"], event["type"]) == (told["hook"]["key"], "dev.dbt-operator.dbtrun.failed")
    nodes = event["data"]["nodes"]
    assert nodes["failures"][0]["uniqueId"] == status["failures"][0]["uniqueId"]
    assert nodes["missing"] == ""

    (slack,) = receiver.got("slack", "told-of-a-failure")
    assert status["failures"][0]["uniqueId"] in slack.json()["text"]

    (mail,) = receiver.got("mail", "told-of-a-failure")
    letter = email.message_from_string(mail.body, policy=email.policy.default)
    assert letter["Message-ID"] == f"<{told['mail']['key']}@dbt-operator>"
    assert "dbt failed" in letter["Subject"]
    assert mail.headers["to"] == "team@example.com"

    for canary in (*receivers.CANARIES, PASSWORD):
        for got in (slack, mail, hook):
            assert canary not in got.body
    assert receiver.got("closed") == receiver.got("unset") == []


def test_a_schedule_tells_when_it_is_green_again(
    receiver: Receivers, images: Mapping[str, str]
) -> None:
    name = "told-twice"
    kubectl("delete", "dbtschedule", name, "--ignore-not-found", "--wait", namespace=TOLD)
    made = replace(FAILING, name=name)
    project, *others, run = manifests(made, images, TOLD)
    apply(project, *others)

    def ask(value: str, work: Manifest) -> Manifest:
        spec = {
            "schedules": ["0 3 1 1 *"],
            "notify": [{"channel": "hook"}],
            "runTemplate": {"spec": work},
        }
        schedule = resource("DbtSchedule", name, TOLD, spec)
        schedule["metadata"]["annotations"] = {"dbt-operator.dev/run-now": value}
        apply(schedule)
        return schedule

    def look(event: str) -> Got | None:
        found = [got for got in receiver.got("hook", name) if got.json()["type"].endswith(event)]
        return found[0] if found else None

    work = dict(run["spec"])
    ask("", work)
    wait_for("the schedule", lambda: get("dbtschedule", name, TOLD).get("status", {}).get("cursor"))
    ask("1", work)
    failed = wait_for("the failure", lambda: look("failed")).json()
    assert failed["data"]["about"]["schedule"] == name
    wait_for("the series", lambda: get("dbtschedule", name, TOLD)["status"].get("series"))
    green = {**work, "steps": [{"compile": {}}]}
    ask("2", green)
    recovered = wait_for("the recovery", lambda: look("recovered")).json()
    assert recovered["data"]["series"] == failed["data"]["series"]
    wait_for("the end", lambda: "series" not in get("dbtschedule", name, TOLD)["status"])
    assert len(receiver.got("hook", name)) == 2
    mark = "dbt-operator.dev/test-message=1"
    kubectl("annotate", "dbtschedule", name, mark, "--overwrite", namespace=TOLD)
    wait_for("the test message", lambda: look("test"))
    assert states(wait_until_told(name, "dbtschedule")) == {"hook": "Sent"}


def test_a_receiver_that_hangs_or_refuses_delays_nobody_else(receiver: Receivers) -> None:
    product.wait_until_finished("told-in-the-end", TOLD)
    status = wait_until_told("told-in-the-end")
    told = {each["channel"]: each for each in status["notifications"]}
    assert states(status) == {"slow": "Sent", "busy": "Sent", "hook": "Sent"}
    assert condition(status) == ("True", "Notified")
    assert [told[name].get("tries") for name in ("slow", "busy", "hook")] == [1, 2, None]
    assert told["hook"]["sentAt"] < min(told["slow"]["sentAt"], told["busy"]["sentAt"])
    for name in told:
        keys = {got.json()["id"] for got in receiver.got(name, "told-in-the-end")}
        assert keys == {told[name]["key"]}


@pytest.mark.usefixtures("installed")
def test_the_secrets_of_channels_and_the_token_are_in_different_containers() -> None:
    listed = kube.items(
        "pods", product.OPERATOR_NAMESPACE, "--selector=app.kubernetes.io/name=dbt-operator"
    )
    for pod in listed:
        mounts = {
            container["name"]: {mount["mountPath"] for mount in container["volumeMounts"]}
            for container in pod["spec"]["containers"]
        }
        token = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 -- a path
        assert token in mounts["operator"]
        assert token not in mounts["notifier"]
        assert not any(path.startswith("/etc/dbt-operator") for path in mounts["operator"])
        assert {f"/etc/dbt-operator/secrets/{name}" for name in receivers.CHANNELS} <= mounts[
            "notifier"
        ]
