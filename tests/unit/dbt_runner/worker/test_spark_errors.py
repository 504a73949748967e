"""What dbt-spark raises of what Spark's server says, and what it means. The texts are a server's of
Spark 3.5, their stack traces cut short.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dbt_runner.outcome.ending_kinds import NO, YES
from dbt_runner.outcome.meanings import find_ending
from dbt_runner.outcome.sentences import first_lines
from dbt_runner.redact import Redactor
from dbt_runner.worker.invocation.client_errors import describe_error
from dbt_runner.worker.invocation.driver_errors import DriverErrors

SERVER = "org.apache.hive.service.cli.HiveSQLException: Error running query: "
PLACE = "\n\tat org.apache.spark.sql.hive.thriftserver.HiveThriftServerErrors$.runningQueryError(A.scala:43)"
NO_TABLE = (
    "[TABLE_OR_VIEW_NOT_FOUND] org.apache.spark.sql.AnalysisException: "
    "[TABLE_OR_VIEW_NOT_FOUND] The table or view `connection refused` cannot be found."
)
ABORTED = (
    "org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 1.0 failed "
    "1 times, most recent failure: Lost task 0.0 in stage 1.0 (TID 1) (192.0.2.2 executor driver): "
)
# A model's own words, in the place of a code.
RAISED = "java.lang.RuntimeException: [PERMISSION_DENIED] SQLSTATE: 40001 connection refused"
WRITING = f"{ABORTED}org.apache.spark.SparkException: [TASK_WRITE_FAILED] Task failed while writing"
CONFLICT = "[DELTA_CONCURRENT_APPEND] io.delta.exceptions.ConcurrentAppendException: changed"
SYNTAX = (
    "[PARSE_SYNTAX_ERROR] org.apache.spark.sql.catalyst.parser.ParseException: \n"
    "[PARSE_SYNTAX_ERROR] Syntax error at or near 'selec'.(line 16, pos 6)\n\n== SQL ==\nselec 1"
)


class DbtDatabaseError(Exception):
    """As dbt-spark raises it."""

    __module__ = "dbt_common.exceptions"

    def __str__(self) -> str:
        return "Database Error\n  " + str(self.args[0]).replace("\n", "\n  ")


class TTransportException(Exception):  # noqa: N818 -- as Thrift has it
    __module__ = "thrift.transport.TTransport"


class OperationalError(Exception):
    __module__ = "pyhive.exc"


def answer(said: str, cause: str = "") -> str:
    """The whole text of a server's."""
    return (
        f"{SERVER}{said}{PLACE}\n\t... 16 more\nCaused by: {cause or said}{PLACE}\n\t... 17 more\n"
    )


@pytest.mark.parametrize(
    ("said", "code", "again"),
    [
        (NO_TABLE, "TABLE_OR_VIEW_NOT_FOUND", NO),
        (SYNTAX, "PARSE_SYNTAX_ERROR", NO),
        (ABORTED + RAISED, "SparkException", NO),
        (WRITING, "SparkException", NO),
        ("java.lang.IllegalArgumentException: connection refused", "IllegalArgumentException", NO),
        ("connection refused", "SQLException", NO),
        (CONFLICT, "DELTA_CONCURRENT_APPEND", YES),
    ],
)
def test_the_class_of_an_error_counts_and_no_words(said: str, code: str, again: str) -> None:
    row = describe_error(DbtDatabaseError(answer(said, RAISED)))
    assert (row["system"], row["codes"]) == ("spark", code)
    assert PLACE not in row["text"]
    ending = find_ending(row, logged_in=True)
    assert (ending.reason, ending.again) == ("ModelError", again)


@pytest.mark.parametrize(
    "said",
    [
        "java.lang.IllegalStateException: Cannot call methods on a stopped SparkContext.\nThis",
        "org.apache.spark.SparkException: Job 7 cancelled because SparkContext was shut down",
    ],
)
def test_a_server_that_is_shut_down_is_away(said: str) -> None:
    row = describe_error(DbtDatabaseError(SERVER.partition("Error")[0] + said + PLACE))
    ending = find_ending(row, logged_in=True)
    assert (ending.reason, ending.again, ending.lost) == ("Unavailable", YES, True)


def test_words_of_javas_own_errors_count_as_before() -> None:
    """As clients over JDBC raise them."""
    row = describe_error(OperationalError("java.sql.SQLException: Connection refused"))
    assert find_ending(row, logged_in=False).reason == "Unavailable"


def test_an_answer_by_thrift_has_the_words_in_its_status() -> None:
    status = SimpleNamespace(status=SimpleNamespace(errorMessage=answer(NO_TABLE)))
    assert describe_error(OperationalError(status))["codes"] == "TABLE_OR_VIEW_NOT_FOUND"


@pytest.mark.parametrize(
    ("text", "reason", "again"),
    [
        ("Bad status: 3 (b'Error validating the login')", "ConfigError", NO),
        ("Could not connect to any of [('192.0.2.1', 10000)]", "Unavailable", YES),
        ("TSocket read 0 bytes", "Unavailable", YES),
    ],
)
def test_what_thrift_says_of_a_connection_means(text: str, reason: str, again: str) -> None:
    ending = find_ending(describe_error(TTransportException(text)), logged_in=False)
    assert (ending.reason, ending.again) == (reason, again)


def test_an_error_that_is_made_anew_further_out_is_taken_once() -> None:
    """The statement was sent within a macro, whose name stands where the statement does."""
    errors = DriverErrors(Redactor(()))
    gone = TTransportException("TSocket read 0 bytes")
    errors.take(gone, "model.a", lasting="")
    outer = DbtDatabaseError("TSocket read 0 bytes")
    outer.__context__ = gone
    errors.take(outer, "model.a", lasting="statement")
    assert [row["lasting"] for row in errors.list_rows()] == [""]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (answer(WRITING, RAISED), RAISED),
        (answer(NO_TABLE), NO_TABLE),
        (answer(SYNTAX), " ".join(SYNTAX.splitlines()[:2]) + " == SQL =="),
    ],
)
def test_a_stack_trace_is_shown_by_what_it_was_caused_by(text: str, shown: str) -> None:
    title = "Runtime Error in model a (models/a.sql)"
    indented = text.replace("\n", "\n    ")
    assert first_lines(f"{title}\n  Database Error\n    {indented}") == f"{title}: {shown}".replace(
        "  ", " "
    )


def test_a_stack_trace_without_a_cause_is_shown_without_its_places() -> None:
    assert first_lines(f"Database Error\n  a.b.C: went wrong{PLACE}\n\t... 3 more") == (
        "Database Error: a.b.C: went wrong"
    )
