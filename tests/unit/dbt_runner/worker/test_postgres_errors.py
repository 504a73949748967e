"""What a real PostgreSQL makes go wrong, and what becomes of it: the whole runner, with real dbt."""

from __future__ import annotations

import itertools
import select
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from dbt_runner.outcome.ending_kinds import NO, ONCE, YES
from dbt_runner.outcome.ending_tables import POSTGRES
from tests.support.pods import Ended, Pod, step
from tests.support.postgres import Postgres, postgres

pytestmark = pytest.mark.one_dbt
CONFIG, AWAY, FAILED = "ConfigError", "Unavailable", "ModelError"
# Of each class of codes that begin alike, one that exists.
CODES = [{"08*": "08006", "28*": "28P01"}.get(code, code) for code in POSTGRES]
RAISE = """
create or replace function public.raise_as(code text) returns int language plpgsql as $$
begin raise exception 'it is so' using errcode = code; end $$
"""
TABLE = "{{ config(materialized='table') }} "
APPEND = "{{ config(materialized='incremental', incremental_strategy='append') }} "


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as found:
        found.execute(RAISE, "create schema analytics")
        yield found


_numbers = itertools.count(1)


class Runs:
    """Runs against a server, in pods of their own."""

    def __init__(self, root: Path, server: Postgres) -> None:
        self.root, self.server = root, server

    def run(self, files: dict[str, str], *words: str, **output: Any) -> Ended:
        """Build a project, or do what is said, with a profile that differs so far."""
        profile = self.server.make_profile(**output)
        pod = Pod(self.root / str(next(_numbers)), files, profile)
        command, *argv = words or ["build"]
        return pod.run(step(command, *argv, name="step"))


@pytest.fixture
def runs(tmp_path: Path, server: Postgres) -> Runs:
    return Runs(tmp_path, server)


def judge(ended: Ended) -> tuple[str, str]:
    """The reason of a run, and whether to try again, which goes without saying of some."""
    assert ended.summary.reason, ended.log
    return ended.summary.reason, ended.summary.again or NO


@pytest.mark.dbt
def test_the_code_of_every_error_is_beside_its_node(runs: Runs) -> None:
    models = {f"models/m_{code}.sql": f"{TABLE} select raise_as('{code}')" for code in CODES}
    ended = runs.run(models)
    rows = ended.step("step")["results"]
    assert {row["unique_id"][-5:]: row.get("codes") for row in rows} == {
        code.lower() if code.islower() else code: code for code in CODES
    }
    assert judge(ended) == (FAILED, NO)


@pytest.mark.parametrize(
    ("code", "reason", "again"),
    [
        ("40001", FAILED, YES),
        ("53300", AWAY, YES),
        ("57P01", AWAY, YES),
        ("42501", CONFIG, NO),
        ("57014", FAILED, NO),
    ],
)
def test_the_code_decides_how_the_run_ends(runs: Runs, code: str, reason: str, again: str) -> None:
    ended = runs.run({"models/a.sql": f"{TABLE} select raise_as('{code}')"})
    assert judge(ended) == (reason, again)


def refuse_login(server: Postgres) -> dict[str, Any]:
    server.execute("create role idle nologin password 'idle'")
    return {"user": "idle", "password": "idle"}


def limit_connections(server: Postgres) -> dict[str, Any]:
    server.execute("create role busy login connection limit 0 password 'busy'")
    return {"user": "busy", "password": "busy"}


def close_port(_: Postgres) -> dict[str, Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {"port": free.getsockname()[1]}


def forbid_schemas(server: Postgres) -> dict[str, Any]:
    server.execute("create role guest login password 'guest'")
    return {"user": "guest", "password": "guest", "schema": "of_guests"}


def forbid_tables(server: Postgres) -> dict[str, Any]:
    server.execute("create role reader login password 'reader'", "create schema of_others")
    server.execute("grant usage on schema of_others to reader")
    return {"user": "reader", "password": "reader", "schema": "of_others"}


@pytest.mark.parametrize(
    ("prepare", "output", "reason", "again", "words"),
    [
        (None, {"password": "wrong"}, CONFIG, NO, "password authentication failed"),
        (None, {"user": "nobody"}, CONFIG, NO, "password authentication failed"),
        (None, {"dbname": "absent"}, CONFIG, NO, 'database "absent" does not exist'),
        (None, {"sslmode": "require"}, CONFIG, NO, "does not support SSL"),
        (None, {"host": "absent.invalid"}, AWAY, YES, "could not translate host name"),
        (refuse_login, {}, CONFIG, NO, "not permitted to log in"),
        (limit_connections, {}, AWAY, YES, "too many connections"),
        (close_port, {}, AWAY, YES, "Connection refused"),
        (forbid_schemas, {}, CONFIG, NO, "permission denied"),
        (forbid_tables, {}, CONFIG, NO, "permission denied"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
def test_what_a_connection_is_refused_for(
    runs: Runs, prepare: Any, output: dict[str, Any], reason: str, again: str, words: str
) -> None:
    given = {**output, **(prepare(runs.server) if prepare else {})}
    ended = runs.run({"models/a.sql": f"{TABLE} select 1 as id"}, **given)
    assert judge(ended) == (reason, again)
    assert words in ended.summary.message


def test_a_statement_that_takes_too_long_takes_as_long_again(runs: Runs) -> None:
    slow = {"models/a.sql": f"{TABLE} select pg_sleep(600)"}
    hook = {"dbt_project.yml": PROJECT + "models: {+pre-hook: set local statement_timeout = 1}\n"}
    assert judge(runs.run({**slow, **hook})) == (FAILED, NO)


PROJECT = """
name: shop
version: "1.0"
profile: shop
"""


def test_a_password_that_is_changed_meanwhile_is_read_anew_once(runs: Runs) -> None:
    runs.server.execute("create role moving superuser login password 'old'")
    change = "{{ config(materialized='table', post_hook=\"alter role moving password 'new'\") }}"
    files = {
        "models/a.sql": f"{change} select 1 as id",
        "models/b.sql": TABLE + "select id from {{ ref('a') }}",  # noqa: S608 -- our own
    }
    ended = runs.run(files, user="moving", password="old", threads=1)  # noqa: S106
    assert judge(ended) == (AWAY, ONCE)


# The connection goes


@contextmanager
def cutting(server: Postgres, *words: bytes) -> Iterator[int]:
    """A port that leads to the server, where a connection is cut once the server has done, and
    before it could say so, what statements with these words ask for, one after another.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as threads:

        def accept() -> None:
            with suppress(OSError):  # it is shut down
                while True:
                    threads.submit(relay, listening.accept()[0], server.port, words)

        threads.submit(accept)
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def relay(client: socket.socket, port: int, words: Sequence[bytes]) -> None:
    left = list(words)
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(65536)
                if not data or (not left and source is server):
                    return
                if source is client and left and left[0] in data:
                    left.pop(0)
                (server if source is client else client).sendall(data)


INSERT = "insert into public.rows values (1)"
MODEL = {"models/a.sql": f"{TABLE} select 1 as id"}
APPENDING = {"models/a.sql": APPEND + "select 1 as id"}
OWN = {
    "models/a.sql": "{{ config(materialized='own') }} select 1 as id",
    "macros/own.sql": """
        {% materialization own, default %}
          {%- call statement('main') -%} insert into public.rows values (1) {%- endcall -%}
          {% do adapter.commit() %}
          {{ return({'relations': []}) }}
        {% endmaterialization %}
        """,
}
HOOK = {
    **MODEL,
    "dbt_project.yml": f"{PROJECT}on-run-end: {INSERT}\n",
}
POST_HOOK = {
    **MODEL,
    "dbt_project.yml": f"{PROJECT}models: {{+post-hook: {{sql: {INSERT}, transaction: false}}}}\n",
}
OPERATION = {
    "macros/fill.sql": "{% macro fill() %}{% do run_query('insert into public.rows values (1)') %}"
    "{% do adapter.commit() %}{% endmacro %}"
}


@pytest.mark.parametrize(
    ("files", "words", "again"),
    [
        (APPENDING, [b"insert into", b"COMMIT"], NO),
        (APPENDING, [b"insert into"], YES),  # the server rolls back
        (MODEL, [b"1 as id", b"COMMIT"], YES),  # the same again
        (MODEL, [b"COMMIT"], YES),  # of what dbt does by itself
        (OWN, [b"insert into", b"COMMIT"], NO),
        (HOOK, [b"insert into"], NO),
        (POST_HOOK, [b"insert into"], NO),
    ],
    ids=["appending", "before", "table", "dbt", "own", "hook", "post-hook"],
)
def test_what_may_have_been_committed_is_not_done_twice(
    runs: Runs, files: dict[str, str], words: list[bytes], again: str
) -> None:
    runs.server.execute(
        "drop table if exists analytics.a, public.rows", "create table public.rows (id int)"
    )
    assert runs.run(files).code == 0
    with cutting(runs.server, *words) as port:
        ended = runs.run(files, port=port)
    assert judge(ended) == (AWAY, again)
    assert ("may have been committed" in ended.summary.message) is (again == NO)


@pytest.mark.parametrize("words", [b"insert into", b"COMMIT"])
def test_an_operation_is_not_done_twice(runs: Runs, words: bytes) -> None:
    runs.server.execute("drop table if exists public.rows", "create table public.rows (id int)")
    with cutting(runs.server, words) as port:
        ended = runs.run(OPERATION, "runOperation", "fill", port=port)
    assert judge(ended)[1] == NO
