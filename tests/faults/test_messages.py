"""Messages and operators that are killed: each comes, and a second copy only where the rule allows
one, with the key of the first.
"""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.fault_proxy import Request, Rule
from tests.support.keeping import CHANNEL, Keeper, keeper, notifier
from tests.support.kube import Manifest, apply, wait_for
from tests.support.nursery import nursery
from tests.support.stage import Stage, stage

FULL = bool(os.environ.get("DBT_OPERATOR_TEST_FULL"))
REPETITIONS = 100 if FULL else 12
# Where the operator is killed: once the intent stands there, while the receiver has the message,
# and when it has answered and that is about to be written down.
MOMENTS = ("intent", "answer", "record", "nowhere")


class Scene:
    """An operator, a notifier and a receiver."""

    def __init__(self, found: Stage, kept: Keeper, settings: dict[str, str]) -> None:
        self.stage = found
        self.kept = kept
        self._settings = settings
        apply(found.project(), found.target("prod"))
        found.start_operator(**settings)

    def tell(self, number: int, moment: str) -> None:
        """A run ends, of which somebody is told, and meanwhile the operator is killed; the next one
        goes on.
        """
        name = f"run{number}"
        notify = [{"channel": CHANNEL, "events": ["Succeeded"]}]
        with ExitStack() as rules:
            if moment == "intent":
                rules.enter_context(self.stage.proxy.rule(self._kill_at(name, "Pending", "after")))
            elif moment == "record":
                rules.enter_context(self.stage.proxy.rule(self._kill_at(name, "Sent", "before")))
            elif moment == "answer":
                self.kept.before_answer = self._kill
            apply(self.stage.run(name, "prod", notify=notify))
            if moment != "nowhere":
                wait_for(f"it is killed at {moment}", lambda: self.stage.operator_is_dead)
                self.kept.before_answer = lambda _: None
                self.stage.start_operator(**self._settings)
        wait_for(f"the message about {name}", lambda: self.state_of(name) == "Sent")

    def state_of(self, name: str) -> str:
        messages = self.stage.seen(name).get("notifications") or [{}]
        return str(messages[0].get("state", ""))

    def copies_of(self, name: str) -> list[int]:
        """How many copies there are of each message about a run."""
        return [copies for key, copies in self.kept.copies.items() if self.kept.names[key] == name]

    def _kill(self, _: object = None) -> None:
        self.stage.kill_operator()

    def _kill_at(self, name: str, state: str, side: str) -> Rule:
        def picks(request: Request) -> bool:
            return request.method == "PATCH" and request.name == name and _holds(request, state)

        if side == "after":
            return Rule(picks, times=1, after=self._kill)
        return Rule(picks, times=1, before=self._kill)


def _holds(request: Request, state: str) -> bool:
    """Whether a write says that a message is in a state."""
    status: Manifest = request.body.get("status", {})
    return any(each["state"] == state for each in status.get("notifications") or ())


@pytest.fixture
def scene() -> Iterator[Scene]:
    with (
        nursery() as parent,
        stage(f"faults-{uuid.uuid4().hex[:8]}", parent.operator) as found,
        keeper() as (kept, url),
        tempfile.TemporaryDirectory() as folder,
        notifier(Path(folder), url) as settings,
    ):
        yield Scene(found, kept, settings)


def test_every_message_comes_and_no_copy_that_the_rule_does_not_allow(scene: Scene) -> None:
    for number in range(REPETITIONS):
        scene.tell(number, MOMENTS[number % len(MOMENTS)])
    found = {number: scene.copies_of(f"run{number}") for number in range(REPETITIONS)}
    # One key for each run. A second copy where the operator was killed after the receiver had the
    # message and before that was written down, and nowhere else.
    for number, copies in found.items():
        may_double = MOMENTS[number % len(MOMENTS)] in ("answer", "record")
        assert copies in ([[1], [2]] if may_double else [[1]]), (number, json.dumps(found))
