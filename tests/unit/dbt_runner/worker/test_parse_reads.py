"""The reads of a parse, and what makes two of them the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path, PurePosixPath

import pytest

from dbt_runner.worker.parse_reads import (
    NEVER,
    NO_FILE,
    Reads,
    Values,
    find_difference,
    find_unrepeatable,
    make_digest,
    take_over,
)


class Color(Enum):
    RED = 1
    BLUE = 2


@dataclass
class Options:
    error: list[str]


@dataclass
class Others:
    error: list[str]


DIFFERENT = [
    None,
    False,
    0,
    0.0,
    "",
    "0",
    [],
    [None],
    {},
    {"a": 1, "b": 2},
    {"b": 2, "a": 1},  # as a template would go through it
    {1: "a"},
    {"1": "a"},
    {"a"},
    {"a", "b"},
    date(2024, 1, 1),
    datetime(2024, 1, 1, tzinfo=UTC),
    "2024-01-01",
    Path("/a"),
    "/a",
    Color.RED,
    Color.BLUE,
    Options([]),
    Options(["a"]),
    Others([]),
    float("nan"),
    "\udc80",
]


def test_values_that_differ_have_digests_that_do() -> None:
    digests = [make_digest(value) for value in DIFFERENT]
    assert NEVER not in digests
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a", "b", "c"}, {"c", "b", "a"}),
        (Path("/a"), PurePosixPath("/a")),
        ([1, 2], (1, 2)),
        (Options(["a"]), Options(["a"])),
    ],
)
def test_values_that_are_the_same_have_one_digest(one: object, other: object) -> None:
    assert make_digest(one) == make_digest(other) != NEVER


def test_what_nothing_is_known_of_is_equal_to_nothing() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert [make_digest(value) for value in (object(), [object()], len, endless)] == [NEVER] * 4
    reads = {NO_FILE: {"flags.ODD": make_digest(object())}}
    values = Values({"flags": {"ODD": object()}})
    assert find_difference(reads, values)
    assert find_difference(reads, values, within_run=True)


FLAGS = {"WHICH": "build", "FULL_REFRESH": False}
VALUES = Values(
    {"flags": FLAGS, "var": {"ds": "2024-01-01"}, "target": {"name": "a", "threads": 4}}
)


def read(*names: str) -> Reads:
    return {"shop://models/m.sql": {name: VALUES.find_digest(name) for name in names}}


@pytest.mark.parametrize(
    ("name", "flags", "given", "same"),
    [
        ("flags.WHICH", {"WHICH": "build"}, {}, True),
        ("flags.WHICH", {"WHICH": "seed"}, {}, False),
        ("flags.WHICH", {}, {}, False),
        ("flags.FULL_REFRESH", {"FULL_REFRESH": None}, {}, False),
        ("flags.ABSENT", {"WHICH": "seed"}, {}, True),
        ("flags.ABSENT", {"ABSENT": None}, {}, False),
        ("flags", FLAGS, {}, True),
        ("flags", dict(reversed(FLAGS.items())), {}, True),
        ("flags", {**FLAGS, "OTHER": 1}, {}, False),
        ("var.ds", {}, {"ds": "2024-01-01", "other": 1}, True),
        ("var.ds", {}, {"ds": "2024-01-02"}, False),
        ("var.other", {}, {"ds": "2024-01-02"}, True),
        ("var.other", {}, {"other": None}, False),
        ("var", {}, {"ds": "2024-01-01"}, True),
        ("var", {}, {"ds": "2024-01-01", "other": 1}, False),
    ],
)
def test_a_read_is_compared_by_its_value(
    name: str, flags: dict[str, object], given: dict[str, object], same: bool
) -> None:
    found = find_difference(read(name), Values({"flags": flags, "var": given}))
    assert (found == "") is same
    assert same or found.startswith("models/m.sql asks for ")


def test_what_is_never_the_same_is_so_within_a_run_only() -> None:
    reads: Reads = {NO_FILE: {"run_started_at": NEVER}, **read("flags.WHICH")}
    assert find_difference(reads, VALUES, within_run=True) == ""
    assert find_difference(reads, VALUES) == (
        "the project asks for run_started_at while it is parsed"
    )
    assert find_unrepeatable(reads) == find_difference(reads, VALUES)
    assert find_unrepeatable(read("flags.WHICH")) == ""


@pytest.mark.parametrize(
    ("threads", "name", "same"),
    [(4, "target.threads", True), (8, "target.threads", False), (8, "target.name", True)],
)
def test_the_target_of_a_run_differs_in_its_threads_alone(
    threads: int, name: str, same: bool
) -> None:
    parsed = Values({"target": {"name": "a", "threads": 4}}, threads=4)
    other = Values({}, threads=threads).borrow_target(parsed)
    assert (find_difference(read(name), other) == "") is same


def test_a_partial_parse_replaces_the_reads_of_what_it_has_rendered() -> None:
    old: Reads = {
        NO_FILE: {"flags.A": "1"},
        "unchanged.sql": {"flags.B": "1"},
        "changed.sql": {"flags.C": "1"},
        "schema.yml": {"flags.D": "1"},
        "removed.sql": {"flags.E": "1"},
    }
    new: Reads = {
        NO_FILE: {"flags.F": "2"},
        "changed.sql": {"flags.G": "2"},
        "schema.yml": {"flags.H": "2"},
        "no file of dbt's": {"flags.I": "2"},
    }
    present = {"unchanged.sql", "changed.sql", "schema.yml"}
    assert take_over(old, new, {"changed.sql"}, present) == {
        NO_FILE: {"flags.A": "1", "flags.F": "2", "flags.I": "2"},
        "unchanged.sql": {"flags.B": "1"},
        "changed.sql": {"flags.G": "2"},
        "schema.yml": {"flags.D": "1", "flags.H": "2"},
    }
    assert take_over({}, new, {"changed.sql"}, present)["changed.sql"] == {"flags.G": "2"}
