"""What is printed of dbt's output, and when."""

from __future__ import annotations

import pytest

from dbt_runner.redact import Redactor
from dbt_runner.supervise.output import _LINE_LIMIT, Output

HIDDEN = "the-secret"


@pytest.fixture
def output() -> Output:
    return Output(Redactor([HIDDEN]))


def test_a_line_is_printed_when_it_is_complete(
    output: Output, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    output.pass_on(b"one\ntw")
    assert capfdbinary.readouterr().out == b"one\n"
    output.pass_on(b"o\n")
    assert capfdbinary.readouterr().out == b"two\n"


def test_the_end_ends_the_last_line(
    output: Output, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    output.pass_on(b"one\ntwo")
    output.pass_on(None)
    output.pass_on(None)
    assert capfdbinary.readouterr().out == b"one\ntwo\n"


def test_a_secret_in_two_pieces_is_recognized(
    output: Output, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    output.pass_on(b"it is the-s")
    output.pass_on(b"ecret\n")
    assert capfdbinary.readouterr().out == b"it is *****\n"


def test_a_line_without_an_end_is_not_kept_for_ever(
    output: Output, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    output.pass_on(b"x" * _LINE_LIMIT)
    assert capfdbinary.readouterr().out == b""
    output.pass_on(b"x")
    assert capfdbinary.readouterr().out == b"x" * (_LINE_LIMIT + 1) + b"\n"


def test_what_the_runner_says_itself_holds_no_secret_either(
    output: Output, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    output.say(f"about {HIDDEN}")
    output.learn_secrets(["another-secret"])
    output.say("about another-secret")
    assert capfdbinary.readouterr().out == b"dbt-operator: about *****\n" * 2
