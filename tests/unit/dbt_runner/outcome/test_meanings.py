"""What warehouses' errors mean, row by row: docs/endings.md is the same table for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from dbt_runner.outcome import ending_tables as tables
from dbt_runner.outcome import meanings
from dbt_runner.outcome.ending_kinds import AGAIN, NO, ONCE, YES, Ending
from dbt_runner.outcome.meanings import find_ending
from tests.support.places import ROOT

TABLES: Mapping[str, Mapping[str, Ending]] = {
    "PostgreSQL": tables.POSTGRES,
    "Redshift": tables.REDSHIFT,
    "Snowflake": tables.SNOWFLAKE,
    "BigQuery": tables.BIGQUERY,
    "Databricks": tables.DATABRICKS,
    "DuckDB": tables.DUCKDB,
    "HTTP": tables.HTTP,
    "system": tables.SYSTEM,
    "Python class": {**tables.CERTAIN_CLASSES, **tables.CLASSES},
    "words": {f"`{words}`": ending for words, ending in tables.WORDS},
}
_SYSTEMS = {
    "PostgreSQL": "psycopg2",
    "Redshift": "redshift_connector",
    "Snowflake": "snowflake",
    "BigQuery": "google",
    "Databricks": "databricks",
    "DuckDB": "duckdb",
    "Spark": "spark",  # which has the classes of Databricks
}
PAGE = ROOT / "docs" / "endings.md"


def rows() -> Iterator[str]:
    for system, table in TABLES.items():
        for code, ending in table.items():
            escaped = code.replace("|", "\\|")
            yield f"| {system} | {escaped} | {ending.what} | {ending.reason} | {ending.again} |"
    names = {of: name for name, of in _SYSTEMS.items()}
    for of, words, ending in tables.CERTAIN_WORDS:
        where = f"words of {names[of]}" if of else "words"
        escaped = words.replace("|", "\\|")
        yield f"| {where} | `{escaped}` | {ending.what} | {ending.reason} | {ending.again} |"


def test_the_page_tells_of_every_rule() -> None:
    told = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    assert told == list(rows()), "write these rows into docs/endings.md:\n" + "\n".join(rows())


BY_CODE = [
    (system, code, ending)
    for system in _SYSTEMS
    if system in TABLES
    for code, ending in TABLES[system].items()
    if system != "DuckDB"
]


@pytest.mark.parametrize(("system", "code", "ending"), BY_CODE)
def test_a_code_means_what_its_row_says(system: str, code: str, ending: Ending) -> None:
    cause = {"system": _SYSTEMS[system], "codes": code.replace("*", "001"), "text": "whatever"}
    found = find_ending(cause, logged_in=False)
    assert (found.reason, found.again) == (ending.reason, ending.again)


def postgres(codes: str, text: str = "", **other: str) -> dict[str, str]:
    classes = "OperationalError DatabaseError Error"
    return {"system": "psycopg2", "codes": codes, "text": text, "classes": classes, **other}


def duckdb(classes: str, text: str) -> dict[str, str]:
    return {"system": "duckdb", "classes": classes, "text": text}


def snowflake(codes: str, text: str = "", classes: str = "DatabaseError") -> dict[str, str]:
    return {"system": "snowflake", "codes": codes, "text": text, "classes": classes}


def redshift(codes: str, text: str) -> dict[str, str]:
    return {"system": "redshift_connector", "codes": codes, "text": text}


SERVER = 'connection to server at "db" (10.0.0.1), port 5432 failed: '
CONFIG, AWAY, FAILED = "ConfigError", "Unavailable", "ModelError"


@pytest.mark.parametrize(
    ("cause", "reason", "again"),
    [
        (postgres("40001"), FAILED, YES),
        (postgres("08006"), AWAY, YES),
        (postgres("42703", 'column "connection_id" does not exist'), FAILED, NO),
        (postgres("42P01", 'relation "warehouse_capacity" does not exist'), FAILED, NO),
        (
            postgres("42601", 'syntax error at or near "x"\nLINE 503: connection refused'),
            FAILED,
            NO,
        ),
        # What a project raises by itself is no error of a connection, whatever it says.
        (postgres("P0001", "connection refused"), FAILED, NO),
        (postgres("XX000", "tuple concurrently updated"), FAILED, YES),
        # Nothing has a code that is said while a connection is opened.
        (postgres("", SERVER + 'FATAL:  password authentication failed for user "x"'), CONFIG, NO),
        (postgres("", SERVER + 'FATAL:  database "too many clients" does not exist'), CONFIG, NO),
        (postgres("", SERVER + 'FATAL:  role "connection refused" does not exist'), CONFIG, NO),
        (postgres("", SERVER + 'FATAL:  no pg_hba.conf entry for host "10.0.0.2"'), CONFIG, NO),
        (postgres("", SERVER + "FATAL:  sorry, too many clients already"), AWAY, YES),
        (postgres("", SERVER + "FATAL:  the database system is starting up"), AWAY, YES),
        (postgres("", SERVER + "Connection refused"), AWAY, YES),
        (postgres("", 'could not translate host name "db" to address'), AWAY, YES),
        (postgres("", "server closed the connection unexpectedly"), AWAY, YES),
        (postgres("", SERVER + "SSL error: certificate verify failed"), CONFIG, NO),
        # In the language of the server, nobody knows.
        (postgres("", "FATAL:  Passwort-Authentifizierung fehlgeschlagen"), AWAY, ONCE),
        (
            {"system": "duckdb", "classes": "IOException", "text": "Could not set lock on file "},
            AWAY,
            YES,
        ),
        (duckdb("TransactionException", "Conflict on update!"), FAILED, YES),
        (duckdb("TransactionException", "cannot commit - no transaction is active"), FAILED, NO),
        (duckdb("IOException OperationalError", 'Cannot open file "a"'), FAILED, NO),
        ({"system": "duckdb", "classes": "BinderException", "text": "Binder Error: "}, FAILED, NO),
        ({"system": "duckdb", "classes": "HTTPException", "codes": "HTTP403"}, CONFIG, NO),
        ({"system": "google", "codes": "invalidQuery HTTP400", "text": "Syntax error"}, FAILED, NO),
        ({"system": "google", "codes": "retryable", "classes": "RefreshError"}, AWAY, YES),
        # Before 4.8 the client has one code for a host that is away and for a wrong password.
        (snowflake("250001 08001", "Failed to connect to DB: a:443. Incorrect user"), CONFIG, NO),
        (snowflake("250001 08001", "Could not connect to Snowflake backend"), AWAY, YES),
        (snowflake("390102 08001"), CONFIG, NO),
        (snowflake("000625 57014"), FAILED, YES),
        (snowflake("", "Failed to connect to DB: a:443. Incorrect user"), CONFIG, NO),
        (snowflake("250001", classes="SSLCertVerificationError"), CONFIG, NO),
        (postgres("P0001", "Failed to connect to DB: whatever"), FAILED, NO),
        # The commit has been done.
        ({"system": "databricks", "codes": "DELTA_POST_COMMIT_HOOK_FAILED 2DKD0"}, FAILED, NO),
        ({"system": "databricks", "codes": "DELTA_CONCURRENT_APPEND 2D521"}, FAILED, YES),
        (redshift("XX000", "1023\nSerializable isolation violation on table - 1"), FAILED, YES),
        (
            {
                "system": "google",
                "codes": "invalidQuery HTTP400",
                "text": "Could not serialize access to table x due to concurrent update",
            },
            FAILED,
            YES,
        ),
        ({"system": "requests", "classes": "ConnectTimeout RequestException"}, AWAY, YES),
        ({"system": "databricks", "classes": "RequestError", "codes": "HTTP401"}, CONFIG, NO),
        ({"system": "redshift_connector", "codes": "28000"}, CONFIG, NO),
        ({"system": "socket", "codes": "ECONNREFUSED"}, AWAY, YES),
        ({"system": "anything", "classes": "SomeError", "text": "?"}, FAILED, NO),
    ],
)
def test_what_an_error_means(cause: Mapping[str, str], reason: str, again: str) -> None:
    found = find_ending(cause, logged_in=False)
    assert (found.reason, found.again) == (reason, again)


@pytest.mark.parametrize(
    ("cause", "again"),
    [
        (postgres("28P01"), ONCE),
        ({"system": "snowflake", "codes": "390318"}, ONCE),
        ({"system": "databricks", "codes": "HTTP403"}, ONCE),
        ({"system": "google", "classes": "RefreshError"}, ONCE),
        (postgres("42501"), NO),
    ],
)
def test_a_login_that_has_expired_is_tried_once_more(cause: Mapping[str, str], again: str) -> None:
    found = find_ending(cause, logged_in=True)
    assert (found.reason, found.again) == ((AWAY if again == ONCE else CONFIG), again)


@pytest.mark.parametrize(
    ("codes", "text", "again"),
    [
        ("57P01", "", NO),
        ("", "server closed the connection unexpectedly", NO),
        ("", "SSL-Verbindung beendet", NO),
        ("40001", "", YES),  # the warehouse says itself that it has not been done
        ("53300", "", YES),  # nothing was sent
    ],
)
def test_what_may_have_been_committed_is_not_done_twice(codes: str, text: str, again: str) -> None:
    assert find_ending(postgres(codes, text, lasting="commit"), logged_in=True).again == again


def test_the_worst_of_several_errors_decides() -> None:
    each = {again: Ending("", FAILED, again) for again in AGAIN}
    assert meanings.find_again([each[YES], each[ONCE]]) == ONCE
    assert meanings.find_again([each[YES], each[NO], each[ONCE]]) == NO
    assert meanings.find_again([]) == NO


@pytest.mark.parametrize(
    ("message", "known"),
    [
        ("Database Error in model connection (models/connection refused.sql)\n  no such", False),
        ('Database Error in model a (a.sql)\n  "deadlock detected"', False),
        ("Database Error in model a (a.sql)\n  deadlock detected\n  DETAIL: x", True),
    ],
)
def test_only_the_fixed_part_of_words_counts(message: str, known: bool) -> None:
    assert (meanings.find_ending_of_words(message) is not None) is known
