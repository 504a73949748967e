"""Whatever runs there have been: what a build of state:modified+ leaves out is as a full one
makes it.

dbt, its warehouse and the bucket are simulated; what the operator decides by is what it decides by
in a cluster: resolved runs, the runner's verdicts on each step, summaries, and the current states.
One run is at work at a time, and others may be while it has backed off. Code only moves on: no
commit takes a model back to what it has been. What vars change is not in the model either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from dbt_operator.api.kinds.project import DbtProject, StateEntry
from dbt_operator.api.kinds.run import Attempt, DbtRun, DbtRunStatus
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.api.parts.resolved import Resolved
from dbt_operator.api.status import Reason
from dbt_operator.planning.attempt.verdict import Verdict
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.references import Referred
from dbt_operator.planning.run import admission, promotion
from dbt_operator.planning.state import compare, promote
from dbt_protocol.plans import Step
from dbt_protocol.result_file import StepResult
from dbt_protocol.summaries import Summary
from dbt_runner.outcome.classify import classify, done
from dbt_runner.outcome.step_outcome import Outcome
from dbt_runner.outcome.steps import summarize
from tests.support.builders import ended, ended_pod, project, run, stamp, target
from tests.support.run_facts import seen
from tests.support.step_evidence import seen as evidence

PARENTS: Mapping[str, Sequence[str]] = {"a": (), "b": "a", "c": "b", "d": (), "e": "cd"}
LEFT_OUT = "e"  # by a default selector
Manifest = dict[str, int]  # the version of each model's code
SLIM = {"build": {"select": ["state:modified+"]}}
SPECS: tuple[dict[str, Any], ...] = (
    {},
    {"steps": [{"build": {"fullRefresh": True}}]},
    {"steps": [SLIM]},
    {"steps": [SLIM], "state": {"defer": True}},
    {"steps": [{"seed": {}}, SLIM, {"docs": {}}]},
    {"steps": [{"build": {"select": ["b"]}}]},
    {"steps": [{"build": {"exclude": ["b"]}}]},
    {"steps": [{"build": {"select": ["state:modified+"], "exclude": ["c"]}}]},
    {"steps": [{"build": {"select": ["state:modified+", "d"]}}]},
    {"steps": [{"build": {"select": ["state:modified"]}}]},
    {"steps": [{"build": {"resourceTypes": ["model"]}}]},
    {"steps": [{"build": {}, "allowFailure": True}]},
    {"steps": [{"build": {"select": ["a"]}}, {"build": {}, "allowFailure": True}]},
    {"steps": [SLIM | {"allowFailure": True}]},
    {"steps": [{"run": {}}, {"test": {}}]},
    {"steps": [{"docs": {}}]},
    {"steps": [{"build": {"empty": True}}]},
    {"steps": [{"run": {"select": ["a"], "empty": True}}]},
    {"steps": [{"build": {"sample": "3 days"}}]},
    {"steps": [{"build": {"empty": True}}], "env": [{"name": "SCHEMA", "value": "pr_7"}]},
    {"env": [{"name": "SCHEMA", "value": "pr_7"}]},
    {"vars": {"ds": "2024-01-01"}},
    {"steps": [SLIM], "vars": {"ds": "2024-01-01"}},
    {"eventTime": {"start": "2024-01-01", "end": "2024-01-02"}},
    {"source": {"ref": "main"}},
    {"state": {"promote": "Never"}},
    {"steps": [SLIM], "state": {"promote": "Never"}},
    {"steps": [SLIM], "state": {"from": {"target": "staging"}}},
    {"steps": [SLIM], "state": {"promote": "Auto", "onMissing": "Fail"}},
)


@dataclass
class Running:
    """A run on its way: what it was admitted with, and what its attempts have done."""

    manifest: dict[str, Any]
    identity: Identity
    resolved: Resolved
    code: Manifest
    narrowed: bool  # by a default selector of the project
    began: int  # as all times: in seconds
    # By step: its outcome, and how many nodes a build has left out.
    earlier: dict[str, tuple[Outcome, int | None]] = field(default_factory=dict)


class World:
    """A project and a target of it, with all that has been built there."""

    def __init__(self) -> None:
        self.clock = 0
        self.code: Manifest = dict.fromkeys(PARENTS, 0)
        self.narrowed = False
        self.warehouse: dict[str, Any] = {}
        self.states: list[StateEntry] = []
        self.bucket: dict[str, Manifest] = {}
        self.waiting: list[Running] = []  # to be tried again
        self.count = 0

    def edit(self, model: str) -> None:
        self.clock += 1
        self.code[model] = self.clock

    def narrow(self) -> None:
        """Give the project a default selector that leaves a model out, or take it away."""
        self.narrowed = not self.narrowed

    def begin(self, spec: Mapping[str, Any], failing: str) -> None:
        """Admit a run, and have it work; the model that fails, if it comes to that."""
        self.clock += 2
        self.count += 1
        manifest, name, uid = run(**spec), f"run-{self.count}", f"uid-{self.count}"
        manifest["metadata"] |= {"uid": uid, "name": name}
        found, identity = DbtRun.model_validate(manifest), Identity("analytics", name, uid, 1)
        of_project = self._project()
        referred = Referred((of_project, 1), (DbtTarget.model_validate(target()), 1))
        state = compare.find_state(found, of_project, None)
        resolved = admission.resolve(found, identity, referred, "runner:1", state)
        began = Running(manifest, identity, resolved, dict(self.code), self.narrowed, self.clock)
        self.waiting.append(began)
        self.attempt(-1, failing)

    def attempt(self, at: int, failing: str) -> None:
        """Have a run work once more that has backed off, and end it if it succeeds."""
        if not self.waiting:
            return
        running = self.waiting[at % len(self.waiting)]
        began, self.clock = self.clock, self.clock + 2
        results: list[StepResult] = []
        for step in running.resolved.steps:
            if any(result.fails_run for result in results) and not step.always:
                results.append(StepResult(step.name, step.command, "Skipped"))
                continue
            before = running.earlier.get(step.name)
            if before is None or before[0].reason:
                before = self._work(running, Step(**step.model_dump()), failing)
                running.earlier[step.name] = before
            outcome, left_out = before
            state = "Failed" if outcome.reason else "Succeeded"
            result = StepResult(step.name, step.command, state, left_out=left_out)
            may_fail = step.allow_failure
            results.append(replace(result, reason=outcome.reason, allow_failure=may_fail))
        if running.resolved.state_location:
            self.bucket[running.resolved.state_location] = running.code
        self._move_states(running, summarize(results, "1.11.16", ""), began)
        if not any(result.fails_run for result in results):
            self.waiting.remove(running)

    def give_up(self, at: int) -> None:
        """End a run that has backed off."""
        if self.waiting:
            self.waiting.pop(at % len(self.waiting))

    def _move_states(self, running: Running, summary: Summary, began: int) -> None:
        """Do what is done once an attempt is over, before it is told."""
        started, first = stamp(began), stamp(running.began)
        bare = Attempt(number=1, job_name="job", created_at=started, started_at=started)
        attempt = bare.model_copy(update={"finished_at": stamp(self.clock)})
        status = DbtRunStatus(
            resolved=running.resolved, started_at=first, commit=str(sum(running.code.values()))
        )
        found = DbtRun.model_validate(running.manifest).model_copy(update={"status": status})
        pod = ended_pod(ended(summary.exit_code, summary.to_json()))
        known = {"pod": pod, "project": (self._project(), 1)}
        facts = replace(seen(running.manifest, identity=running.identity, **known), run=found)
        reason = Reason(summary.reason) if summary.reason else None
        verdict = Verdict(reason, summary.message, summary.exit_code, summary)
        action = promotion.find_promotion(facts, verdict, attempt)
        action = action or promotion.find_withdrawal(facts, attempt)
        if action is not None:
            moved = promote.advanced(self.states, action.entry, action.base)
            assert moved is not None
            self.states = moved

    def _work(self, running: Running, step: Step, failing: str) -> tuple[Outcome, int | None]:
        """Do what dbt does for a step; its outcome, and how much of a build was left out."""
        state = self.bucket.get(running.resolved.state.key) if running.resolved.state else None
        argv = step.full if state is None and step.full else step.argv
        if step.command not in ("build", "run"):
            return classify(evidence(step.command, allow_empty=True)), None
        selected = select(argv, running.code, state)
        left_out = {LEFT_OUT} & selected if running.narrowed and "--select" not in argv else set()
        known = running.earlier.get(step.name)
        earlier = known[0].results if known and known[0].resume == "Nodes" else []
        skipped: set[str] = set()
        rows: list[tuple[str, ...]] = []
        for model in [each for each in PARENTS if each in selected - left_out]:
            if f"model.shop.{model}" in done(earlier):
                continue
            status = "success"
            if skipped & set(PARENTS[model]):
                status = "skipped"
            elif model == failing or not self._build(running, model, argv):
                status = "error"
            if status != "success":
                skipped.add(model)
            rows.append((f"model.shop.{model}", status))
        code = int(any(status != "success" for _, status in rows))
        found = evidence(step.command, *rows, code=code, earlier=earlier, allow_empty=True)
        return classify(found), len(left_out) if step.command == "build" else None

    def _build(self, running: Running, model: str, argv: Sequence[str]) -> bool:
        """Build a model from what its parents are now; whether they are there."""
        if running.manifest["spec"].get("env"):
            return True  # elsewhere
        if any(parent not in self.warehouse for parent in PARENTS[model]):
            return False
        rows = "none" if "--empty" in argv else "some" if "--sample" in argv else "all"
        parents = tuple(self.warehouse[parent] for parent in PARENTS[model])
        self.warehouse[model] = (model, running.code[model], rows, parents)
        return True

    def _project(self) -> DbtProject:
        manifest = project(source={"git": {"url": "https://git.example.com/shop.git"}})
        states = [entry.to_dict() for entry in self.states]
        manifest["status"] = {"observedGeneration": 1, "states": states}
        return DbtProject.model_validate(manifest)

    def check(self) -> None:
        """What a slim run would leave out now is as it should be."""
        current = compare.current_state(self.states, "prod")
        state = self.bucket.get(current.key) if current else None
        if state is None:
            return
        selected = select(["build", "--select", "state:modified+"], self.code, state)
        left_out = set(PARENTS) - selected - ({LEFT_OUT} if self.narrowed else set())
        assert {model: self.warehouse.get(model) for model in left_out} == {
            model: self._make(model) for model in left_out
        }

    def _make(self, model: str) -> Any:
        """What a full build makes of a model."""
        return (model, self.code[model], "all", tuple(self._make(each) for each in PARENTS[model]))


def select(argv: Sequence[str], code: Manifest, state: Manifest | None) -> set[str]:
    """What a command line selects."""
    chosen: dict[str, list[str]] = {}
    flag = ""
    for word in argv[1:]:
        if word.startswith("-"):
            flag = word
            chosen.setdefault(flag, [])
        else:
            chosen.setdefault(flag, []).append(word)

    def find(words: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for word in words:
            if word.startswith("state:modified"):
                assert state is not None, "dbt would fail"
                found |= {model for model in code if code[model] != state.get(model)}
                for model in PARENTS if word.endswith("+") else ():
                    found |= {model} if found & set(PARENTS[model]) else set()
            else:
                found.add(word)
        return found

    selected = find(chosen["--select"]) if "--select" in chosen else set(PARENTS)
    return selected - find(chosen.get("--exclude", ()))


def act(world: World, what: str, *arguments: Any) -> None:
    getattr(world, what)(*arguments)


PLACES = st.integers(0, 3)
MODELS = st.sampled_from([*PARENTS, "", "", ""])
HISTORIES = st.lists(
    st.one_of(
        st.tuples(st.just("edit"), st.sampled_from(list(PARENTS))),
        st.tuples(st.just("narrow")),
        st.tuples(st.just("begin"), st.sampled_from(SPECS), MODELS),
        st.tuples(st.just("begin"), st.sampled_from(SPECS[:4]), MODELS),
        st.tuples(st.just("attempt"), PLACES, MODELS),
        st.tuples(st.just("give_up"), PLACES),
    ),
    max_size=30,
)
WHOLE: tuple[Any, ...] = ("begin", {}, "")
EMPTY = {"steps": [{"build": {"empty": True}}]}
OVERTAKEN: list[tuple[Any, ...]] = [
    WHOLE,
    ("begin", {}, "a"),
    ("edit", "a"),
    ("begin", {"steps": [SLIM]}, ""),
]


@given(HISTORIES)
# A run that has backed off goes on with what was its code, over what is newer.
@example([*OVERTAKEN, ("attempt", 0, "")])
# It fails again, and has done so before a slim run that succeeds.
@example([*OVERTAKEN, ("attempt", 0, "b"), ("begin", {"steps": [SLIM]}, "")])
# Rows are gone, and no code has changed.
@example([WHOLE, ("begin", EMPTY, "")])
@example([WHOLE, ("begin", EMPTY, "c"), ("give_up", 0)])
# A default selector of the project narrows what nothing in the run's spec does.
@example([("narrow",), WHOLE, ("narrow",)])
def test_what_a_slim_run_leaves_out_is_as_a_full_build_would_make_it(
    history: list[tuple[Any, ...]],
) -> None:
    world = World()
    for what, *arguments in history:
        getattr(world, what)(*arguments)
        world.check()


def test_histories_have_states_to_compare_with() -> None:
    """Else the property would hold because there is nothing that it speaks of."""
    world = World()
    for what, *arguments in [WHOLE, ("edit", "c"), ("begin", {"steps": [SLIM]}, "")]:
        getattr(world, what)(*arguments)
    (entry,) = world.states
    assert entry.run == "run-2"
    assert world.bucket[entry.key] == world.code
