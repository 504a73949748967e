from __future__ import annotations

from dataclasses import replace

import pytest

from dbt_notifier.messages import Event, FailedNode, Message, Nodes, Times, Windows
from dbt_notifier.wording import Entry, fit, join, put_into_words
from tests.support.notifier_messages import (
    BACKFILL_FAILED,
    BURST,
    FAILED_TESTS,
    MANY_FAILURES,
    MODEL_ERROR,
    OOM_KILLED,
    RECOVERED,
    UNAVAILABLE,
)


def describe(node: FailedNode) -> str:
    nodes = Nodes(total=9, failed=2, failures=(node, node))
    words = put_into_words(replace(MODEL_ERROR, nodes=nodes))
    return join(words.sections[0].entries[0])


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (FailedNode("test.a", "fail", "Got 17 results"), "test.a: Got 17 results"),
        (FailedNode("test.a", "fail", "Got 17 results", rows=17), "test.a: Got 17 results"),
        (FailedNode("test.a", "fail", "failed", rows=17), "test.a: failed; 17 rows"),
        (FailedNode("test.a", "fail", "", rows=1), "test.a: 1 row"),
        (
            FailedNode("test.a", "fail", "Got 1 result", 1, '"audit"."a"'),
            'test.a: Got 1 result; 1 row, stored in "audit"."a"',
        ),
        (
            FailedNode("model.a", "error", "no", owners=("a", "b", "c", "d", "e"), group="g"),
            "model.a: no; owner a, b, c and 2 more, group g",
        ),
        (FailedNode("model.a", "error"), "model.a"),
    ],
)
def test_a_node_in_a_line(node: FailedNode, said: str) -> None:
    assert describe(node) == said


def test_what_is_said_in_full_at_the_beginning_is_not_said_again() -> None:
    titles = [section.title for section in put_into_words(MODEL_ERROR).sections]
    assert titles == ["Exposures that depend on them"]
    titles = [section.title for section in put_into_words(FAILED_TESTS).sections]
    assert titles == ["Failed"]


def test_a_list_says_how_much_of_it_is_shown() -> None:
    words = put_into_words(MANY_FAILURES)
    assert [(section.title, len(section.entries)) for section in words.sections] == [
        ("Failed (20 of 340)", 20),
        ("Warned (10 of 64)", 10),
        ("Exposures that depend on them (10 of 57)", 10),
    ]
    assert words.subject.endswith(" and 339 more")
    long = FailedNode("model." + "a" * 100, "error", "b" * 180)
    words = put_into_words(replace(MODEL_ERROR, nodes=Nodes(20, 20, failures=(long,) * 20)))
    assert words.sections[0].title == f"Failed ({len(words.sections[0].entries)} of 20)"


def test_a_message_that_is_too_large_loses_its_end() -> None:
    words = put_into_words(MANY_FAILURES)
    assert fit(words, lambda found: len(found.sections), 3) == words
    assert fit(words, lambda found: len(found.sections), 1).sections == words.sections[:1]
    assert fit(words, lambda _: 9, 1).sections == ()


@pytest.mark.parametrize(
    ("message", "fact"),
    [
        (UNAVAILABLE, "It has failed since 2025-10-11 03:02 UTC."),
        (RECOVERED, "It had failed since 2025-10-11 03:02 UTC."),
        (OOM_KILLED, "Details unavailable: no pod has told of nodes."),
        (replace(UNAVAILABLE, times=Times()), "Last success: never, as far as is known."),
        (BACKFILL_FAILED, "362 of 365 windows succeeded, 3 failed."),
    ],
)
def test_facts(message: Message, fact: str) -> None:
    assert fact in put_into_words(message).facts


@pytest.mark.parametrize("event", [Event.SUCCEEDED, Event.WARNED, Event.TEST])
def test_nobody_is_told_that_a_success_has_failed(event: Event) -> None:
    facts = put_into_words(replace(UNAVAILABLE, event=event)).facts
    assert not any("failed since" in fact for fact in facts)


def test_what_is_true_of_one_run_is_not_said_of_many() -> None:
    assert put_into_words(BURST).facts == ()
    assert put_into_words(replace(BURST, nodes=MODEL_ERROR.nodes)).more == 0


def test_a_window_is_named_where_the_summary_does_not() -> None:
    found = replace(BACKFILL_FAILED, summary="it failed", windows=Windows(3, 0, 3, ("2025-01-01",)))
    assert put_into_words(found).first == Entry("window 2025-01-01", "it failed")
    assert put_into_words(BACKFILL_FAILED).first == Entry(BACKFILL_FAILED.summary, "")


def test_owners_of_what_only_warned_are_not_called_for_a_failure() -> None:
    failed = FailedNode("model.a", "error", owners=("finance",))
    warned = FailedNode("test.b", "warn", owners=("sales",))
    nodes = Nodes(total=9, failed=1, warned=1, failures=(failed,), warnings=(warned,))
    assert put_into_words(replace(MODEL_ERROR, nodes=nodes)).owners == ("finance",)
    nodes = Nodes(total=9, warned=1, warnings=(warned,))
    message = replace(MODEL_ERROR, event=Event.WARNED, nodes=nodes)
    assert put_into_words(message).owners == ("sales",)
