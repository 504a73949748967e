"""What the warehouse's client says is taken down beside the node that it is about."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest

from dbt_runner.redact import Redactor
from dbt_runner.worker.invocation.client_errors import describe_error
from dbt_runner.worker.invocation.driver_errors import (
    DriverErrors,
    find_lasting,
)


class Config:
    pre_hook = post_hook = ()
    unique_key: str | None = None
    incremental_strategy: str | None = None

    def __init__(self, materialized: str = "table", **other: Any) -> None:
        self.materialized = materialized
        vars(self).update(other)


class Node:
    def __init__(self, resource_type: str, config: Config | None = None) -> None:
        self.resource_type, self.config = resource_type, config or Config()


@pytest.mark.parametrize(
    ("sql", "in_transaction", "lasting"),
    [
        ("COMMIT", True, "commit"),
        ('/* {"app": "dbt"} */\n commit;', False, "commit"),
        ("-- a comment\ncommit", False, "commit"),
        ("/* commit */ select 1", False, ""),
        ("insert into a select 1", True, ""),
        ("insert into a select 1", False, "statement"),
        ("SELECT 1", False, ""),
        ("begin", False, ""),
        ("/* not closed", False, ""),
        ("", False, ""),
    ],
)
def test_what_a_statement_may_leave_behind(sql: str, in_transaction: bool, lasting: str) -> None:
    assert find_lasting(sql, in_transaction=in_transaction) == lasting


class DriverError(Exception):
    pgcode = "57P01"


class DbtsError(Exception):
    __module__ = "dbt_common.exceptions"


NODES = {
    "table": Node("model"),
    "appending": Node("model", Config("incremental")),
    "merging": Node("model", Config("incremental", unique_key="id")),
    "inserting": Node(
        "model", Config("incremental", incremental_strategy="append", unique_key="a")
    ),
    "microbatch": Node("model", Config("incremental", incremental_strategy="microbatch")),
    "hooked": Node("model", Config(post_hook=["grant"])),
    "own": Node("model", Config("my_materialization")),
    "seed": Node("seed"),
    "hook": Node("operation"),
}


@pytest.mark.parametrize(
    ("node", "lasting", "expected"),
    [
        ("table", "commit", ""),
        ("merging", "commit", ""),
        ("microbatch", "commit", ""),
        ("seed", "commit", ""),
        ("hooked", "commit", ""),
        ("hooked", "statement", "statement"),
        ("appending", "commit", "commit"),
        ("inserting", "commit", "commit"),
        ("own", "statement", "statement"),
        ("hook", "statement", "statement"),
        ("", "commit", ""),  # dbt's own
        ("appending", "", ""),
    ],
)
def test_only_what_may_not_be_done_twice_is_said_to_last(
    node: str, lasting: str, expected: str
) -> None:
    errors = DriverErrors(Redactor(()))
    errors.know(NODES)
    errors.take(DriverError("gone"), node, lasting=lasting)
    (row,) = errors.list_rows()
    assert row["lasting"] == expected
    assert (row["codes"], row["text"]) == ("57P01", "gone")


def test_what_an_operation_does_is_not_done_twice() -> None:
    errors = DriverErrors(Redactor(()))
    errors.take(DriverError("gone"), "", lasting="statement")
    assert [row["lasting"] for row in errors.list_rows()] == ["statement"]


def test_the_code_is_found_behind_dbts_own_errors() -> None:
    try:
        try:
            raise DriverError("secret-word")
        except DriverError as error:
            raise DbtsError("Database Error") from error
    except DbtsError as error:
        errors = DriverErrors(Redactor({"secret-word"}))
        errors.take(error, "model.a")
    assert errors.find_codes("model.a") == "57P01"
    assert "secret-word" not in json.dumps(errors.list_rows())


@pytest.mark.parametrize(
    ("attributes", "codes"),
    [
        ({"errno": 1003, "sqlstate": "42000"}, "001003 42000"),  # Snowflake
        ({"errno": -1, "sqlstate": "n/a"}, ""),
        ({"code": 404, "errors": [{"reason": "notFound"}]}, "notFound HTTP404"),  # BigQuery
        # A job's own reason that the client does not know.
        ({"code": 500, "errors": [{"reason": "invalidUser"}], "response": None}, "invalidUser"),
        ({"response": {"Error": {"Code": "ExpiredToken"}}}, "ExpiredToken"),  # AWS
        ({"args": ({"C": "42P01", "M": "no such table"},)}, "42P01"),  # Redshift
        ({"context": {"http-code": 503}}, "HTTP503"),  # Databricks
        ({"context": {"http-code": 200}}, ""),  # of an answer before
        ({"error_code": "PERMISSION_DENIED"}, "PERMISSION_DENIED"),
        ({"errors": "no list", "errno": "no number", "code": None}, ""),
    ],
)
def test_every_client_has_its_own_way_to_say_a_code(attributes: dict[str, Any], codes: str) -> None:
    error = type("ClientError", (Exception,), {})("words")
    for name, value in attributes.items():
        setattr(error, name, value)
    assert describe_error(error)["codes"] == codes


def test_an_error_is_found_that_another_was_only_made_of() -> None:
    class RequestError(Exception):
        """As Databricks raises it."""

    class ReauthenticationRequest(Exception):  # noqa: N818 -- as Snowflake has it
        cause = ConnectionResetError(errno.ECONNRESET, "reset")

    error = RequestError("no words", ConnectionResetError(errno.ECONNRESET, "reset"))
    for each in (error, ReauthenticationRequest()):
        assert describe_error(each)["codes"] == "ECONNRESET"


def test_words_in_a_dictionary_are_read() -> None:
    error = DriverError({"S": "ERROR", "M": "1023", "D": "Serializable isolation violation"})
    assert describe_error(error)["text"] == "1023\nSerializable isolation violation"


def test_an_error_of_the_system_has_its_name() -> None:
    row = describe_error(ConnectionRefusedError(111, "Connection refused"))
    assert row["codes"] == "ECONNREFUSED"
    assert "ConnectionRefusedError" in row["classes"]
