"""Rules that stand in several places: code, the API's documentation, README, and the pod's side."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from dbt_operator.api.crd import schema
from dbt_operator.api.kinds.schedule import BACKLOG, KEPT
from dbt_operator.api.parts.retry import Retry
from dbt_operator.api.registry import BACKFILL, RUN, SCHEDULE
from dbt_operator.api.status import Reason
from dbt_operator.planning.attempt.verdict import Verdict
from dbt_operator.planning.common.durations import seconds
from dbt_operator.planning.queueing.slots import STARVES_AFTER
from dbt_operator.planning.run import awaiting, retry
from dbt_operator.planning.run.admission import START_TIMEOUT
from dbt_operator.planning.schedule.occurrences import ON_TIME
from dbt_protocol import window_codes
from tests.support.places import OPERATOR, ROOT, modules

README = " ".join((ROOT / "README.md").read_text().split())

# README says what may pass by itself without the names of the reasons.
MAY_PASS = {
    Reason.UNAVAILABLE: "the warehouse or the Git server was away",
    Reason.SOURCE_ERROR: "the warehouse or the Git server was away",
    Reason.DEPS_FAILED: "packages could not be installed",
    Reason.INFRASTRUCTURE: "the pod was evicted",
}
REASONS: set[str] = set(Reason)
# A queued run says the one, and a part of a backfill the other: neither is why a run failed.
NO_FAILURES = {Reason.SLOT_HELD_BY_LOST_NODE, Reason.YIELDED}
# Said by the operator alone, which sees pods, queues and other objects.
OF_THE_OPERATOR = {
    Reason.IMAGE_PULL_FAILED,
    Reason.INVALID_SPEC,
    Reason.NAME_CONFLICT,
    Reason.NOT_ARRIVED,
    Reason.QUEUE_TIMEOUT,
    Reason.REPLACED,
    Reason.SLOT_HELD_BY_LOST_NODE,
    Reason.UNSCHEDULABLE,
    Reason.UPLOAD_FAILED,
    Reason.UPSTREAM_MISSING,
}
WORD = re.compile(r"[A-Z][a-z]*[A-Za-z]*[a-z]")


def description(path: str) -> str:
    """What the CRD of a DbtRun says of a field of its spec."""
    node: dict[str, Any] = schema(RUN)["properties"]["spec"]
    for name in path.split("."):
        node = node["properties"][name]
    text: str = node["description"]
    return text


def default_of(path: str) -> str:
    """The default that a field's description names."""
    match = re.search(r"Default: ([^.]+)\.", description(path))
    assert match, path
    return match[1]


def test_what_is_tried_again_by_default_is_what_the_docs_say() -> None:
    by_itself = {reason for reason in Reason if retry.may_pass(Verdict(reason, ""))}
    listed = default_of("retry.reasons").split(", and ModelError where ")[0]
    assert listed.split(", ") == list(retry._MAY_PASS)
    assert by_itself == set(retry._MAY_PASS) == MAY_PASS.keys()
    for words in MAY_PASS.values():
        assert words in README
    for cause in ("a connection", "a lock", "a timeout", "a lack of capacity"):
        assert cause in description("retry.reasons")
        assert cause in README


def test_the_waits_between_attempts_are_what_the_docs_say() -> None:
    resolved = retry.resolve(Retry(max_attempts=2))
    assert seconds(default_of("retry.backoff.initial")) == resolved.initial_seconds
    assert seconds(default_of("retry.backoff.max")) == resolved.max_seconds
    assert default_of("retry.backoff.factor") == str(resolved.factor)
    assert resolved.resume is (default_of("retry.resume") == "FailedNodes")


def test_the_limits_of_waiting_are_what_the_docs_say() -> None:
    assert default_of("startTimeout") == START_TIMEOUT
    assert timedelta(minutes=30) == STARVES_AFTER
    assert "For each 30 minutes that a run has waited, 1 is added" in description("priority")
    assert "for each 30 minutes of waiting 1 is added" in README


def test_how_long_an_upstream_is_waited_for_is_what_the_docs_say() -> None:
    upstream = schema(RUN)["properties"]["spec"]["properties"]["waitFor"]["items"]["properties"]
    assert f"Default: {awaiting.TIMEOUT}." in upstream["timeout"]["description"]
    assert f"`timeout` (default {awaiting.TIMEOUT})" in README


def test_the_defaults_of_a_backfill_are_what_readme_says() -> None:
    spec = schema(BACKFILL)["properties"]["spec"]["properties"]
    assert "Default: 1," in spec["maxConcurrentWindows"]["description"]
    assert "how many at a time; default 1," in README
    every = spec["windows"]["properties"]["dates"]["properties"]["every"]["description"]
    assert "Default: 1d." in every
    assert "`1d` (default)" in README


def test_the_defaults_of_a_schedule_are_what_readme_says() -> None:
    spec = schema(SCHEDULE)["properties"]["spec"]["properties"]
    assert f"Default: {KEPT}." in spec["history"]["properties"]["succeeded"]["description"]
    assert f"Default: {KEPT}." in spec["history"]["properties"]["failed"]["description"]
    assert f"`{{succeeded: {KEPT}, failed: {KEPT}, ttl}}`" in README
    late = f"{ON_TIME // timedelta(minutes=1)} minutes late"
    assert late in spec["catchUp"]["description"]
    assert late in README
    assert f"the latest {BACKLOG}" in spec["catchUp"]["description"]
    assert f"each of the latest {BACKLOG}" in README


def test_every_reason_for_which_a_window_fails_has_a_code() -> None:
    coded = set(window_codes._FAILED.values())
    assert coded <= REASONS
    # A window whose sources are too old is skipped, the runs of a schedule have no windows, and
    # those of a backfill wait for nothing.
    others = {Reason.NOT_FRESH, Reason.REPLACED, Reason.UPSTREAM_MISSING, Reason.NOT_ARRIVED}
    assert REASONS - coded == NO_FAILURES | others
    for reason in coded:
        assert window_codes.reason_of(window_codes.code_of(reason)) == reason


def test_readme_explains_every_reason_for_which_a_run_ends() -> None:
    table = README.split("| reason | the run ended because |")[1].split("`kubectl explain")[0]
    first_cells = re.findall(r"\| ((?:`\w+`(?:, )?)+) \|", table)
    named = re.findall(r"`(\w+)`", " ".join(first_cells))
    assert sorted(named) == sorted(REASONS - NO_FAILURES)
    assert f"`{Reason.SLOT_HELD_BY_LOST_NODE}`" in README


def test_the_runner_says_no_reason_that_the_api_does_not_know() -> None:
    said = {
        word for path in modules(OPERATOR / "dbt_runner") for word in reasons_in(path.read_text())
    }
    assert said - REASONS == set()
    assert REASONS - said == OF_THE_OPERATOR


def test_what_is_looked_for_is_found_in_every_form() -> None:
    forms = (
        "fail(reason='ParseErorr')",
        "Summary('ParseErorr', text)",
        "def f():\n    return 'ParseErorr', text",
        "def f():\n    return ('ParseErorr' if x else 'Unknown'), text",
        "reason, message = 'ParseErorr', text",
        "reason = 'ParseErorr' if x else ''",
        "_REASONS = ('ParseErorr',)",
        "rules = ((set(), 'words', 'ParseErorr', ''),)",
    )
    for form in forms:
        assert "ParseErorr" in set(reasons_in(form)), form


def reasons_in(source: str) -> Iterator[str]:
    """The literals of a module that stand where a reason does."""
    for node in ast.walk(ast.parse(source)):
        for place in places_of_reasons(node):
            yield from (word for word in literals(place) if WORD.fullmatch(word))


def places_of_reasons(node: ast.AST) -> Iterator[ast.AST]:
    """Where a node of the syntax has a reason: keywords, records, pairs with a message, names."""
    match node:
        case ast.keyword(arg="reason" | "stopped"):
            yield node.value
        case ast.Call(func=ast.Name(id="Summary" | "Outcome"), args=[first, *_]):
            yield first
        case ast.Return(value=ast.Tuple(elts=[first, _])):
            yield first
        case ast.Assign(targets=[ast.Tuple(elts=[ast.Name(id="reason"), *_])]):
            yield node.value
        case ast.Assign(targets=[ast.Name(id=name) | ast.Attribute(attr=name)]):
            if re.search(r"reasons?$|^stopped$|^YIELDED$|^NOT_FRESH$", name, re.IGNORECASE):
                yield node.value
        case ast.Tuple(elts=[ast.Set() | ast.Call(), _, reason, _]):
            yield reason
        case _:
            pass


def literals(node: ast.AST) -> Iterator[str]:
    """The strings that an expression may be, or that are in it."""
    match node:
        case ast.Constant(value=str(word)):
            yield word
        case ast.IfExp():
            yield from literals(node.body)
            yield from literals(node.orelse)
        case ast.BoolOp():
            for value in node.values:
                yield from literals(value)
        case ast.Tuple() | ast.List() | ast.Set():
            for value in node.elts:
                yield from literals(value)
        case _:
            pass
