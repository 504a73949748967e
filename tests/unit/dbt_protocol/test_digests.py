"""The digest, as it goes through a log that holds other lines, too."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dbt_protocol.digests import (
    DIGEST_PREFIX,
    LINE_BYTES,
    LINES,
    MARK,
    MARKS,
    NAME,
    TEXT,
    Digest,
    DigestExposure,
    DigestNode,
    mark,
)
from dbt_protocol.messages import ProtocolError

NODE = DigestNode(
    "test.shop.unique_orders_id",
    "fail",
    "Got 3 results, configured to fail if != 0",
    3,
    '"dbt"."dbt_test__audit"."unique_orders_id"',
    ["Ana Größe", "team@example.com"],
    "finance",
)
DIGEST = Digest(
    run_uid="uid-1",
    attempt=2,
    failed=[NODE],
    failed_total=1,
    warned=[DigestNode("test.shop.a", "warn")],
    warned_total=1,
    skipped=["model.shop.days"],
    skipped_total=7,
    exposures=[DigestExposure("Weekly", "dashboard", "Ana")],
    exposures_total=1,
    marks=mark(NODE.unique_id),
)


def make_long() -> Digest:
    """One that is far longer than may be."""
    long = DigestNode("m" * 500, "error", "ü" * 900, 3, "s" * 400, ["o" * 400] * 9, "g" * 400)
    many = [replace(long, unique_id=f"{number}{long.unique_id}") for number in range(100)]
    return replace(DIGEST, failed=many, failed_total=100, warned=many, marks="0" * 9999)


def test_a_digest_is_read_from_among_other_lines() -> None:
    lines = ["dbt-operator: waiting", *DIGEST.to_lines(), "dbt-operator: uploaded 3 objects"]
    assert Digest.from_lines(lines) == DIGEST


def test_the_last_digest_counts_and_one_that_is_not_whole_does_not() -> None:
    older = replace(make_long(), attempt=1).to_lines()
    assert len(older) > 1
    newer = DIGEST.to_lines()
    assert Digest.from_lines([*older, *newer]) == DIGEST
    assert Digest.from_lines([*newer, *older[:-1]]) == DIGEST
    assert Digest.from_lines([*older[:1], *newer]) == DIGEST


def test_a_long_digest_is_cut_to_a_few_lines_and_says_how_much_there_was() -> None:
    lines = make_long().to_lines()
    assert 1 < len(lines) <= LINES
    assert max(map(len, lines)) <= LINE_BYTES
    assert all(line.isascii() and line.startswith(DIGEST_PREFIX) for line in lines)
    found = Digest.from_lines(lines)
    assert 0 < len(found.failed) < 100
    assert found.failed_total == 100
    assert len(found.failed[0].message) == TEXT
    assert len(found.failed[0].unique_id) == NAME
    assert len(found.marks) == MARKS * MARK


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["dbt-operator: digest "],
        ["dbt-operator: digest 1/1 0000000000000000 {}"],
        ["dbt-operator: digest 1/9 0 {}"],
        ["dbt-operator: digest 1/1/1 0 {}"],
        ["dbt-operator: digest ²/1 0 {}"],
        make_long().to_lines()[1:],
        list(reversed(make_long().to_lines())),
        [line.replace("m", "n") for line in DIGEST.to_lines()],
    ],
)
def test_what_is_not_whole_is_no_digest(lines: list[str]) -> None:
    with pytest.raises(ProtocolError):
        Digest.from_lines(lines)


@pytest.mark.parametrize(
    "changed",
    [
        {"failed": {}},
        {"failed": ["model.a"]},
        {"failed": [{"unique_id": 1, "status": "error"}]},
        {"failed": [{"unique_id": "a", "status": "error", "owners": "me"}]},
        {"failed": [{"unique_id": "a", "status": "error", "owners": [1]}]},
        {"failed": [{"unique_id": "a", "status": "error", "rows": 1.5}]},
        {"skipped": [["a"]]},
        {"skipped_total": -1},
        {"exposures": [{"type": "dashboard"}]},
        {"attempt": True},
        {"run_uid": None},
        {"marks": ["a"]},
    ],
)
def test_what_is_of_another_shape_is_no_digest(changed: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        Digest.from_json(json.dumps({**json.loads(DIGEST.to_json()), **changed}))


def test_what_a_tenant_writes_is_one_line_that_can_be_shown() -> None:
    hostile = replace(
        NODE, unique_id="a\r\nBcc: x", message="\x1b[31m\u202ered\ud800", owners=["a\tb"] * 9
    )
    text = json.dumps(json.loads(replace(DIGEST, failed=[hostile]).to_json()))
    found = Digest.from_json(text).failed[0]
    assert (found.unique_id, found.message) == ("a Bcc: x", "[31m red")
    assert found.owners == ["a b"] * 5
    forged = json.loads(text)
    forged["failed"][0]["unique_id"] = "a\nb" + "c" * 1000
    assert Digest.from_json(json.dumps(forged)).failed[0].unique_id == "a b" + "c" * 294 + "..."
