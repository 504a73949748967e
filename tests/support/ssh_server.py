"""A real sshd on loopback, without a cluster, that lets whoever runs the tests in by a key."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support import git_programs
from tests.support.certificates import SshKey, ssh_key
from tests.support.free_ports import find_free_port
from tests.support.kube import wait_for

_OF_ROOT = Path("/run/sshd")  # where root's has nothing
_SETTINGS = {
    "ListenAddress": "127.0.0.1",
    "PidFile": "none",
    "UsePAM": "no",
    "StrictModes": "no",
    "PermitRootLogin": "yes",
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "AcceptEnv": "GIT_PROTOCOL",
}


@dataclass(frozen=True)
class SshServer:
    """A server that runs."""

    port: int
    host_key: SshKey
    client_key: SshKey
    programs: Path  # a folder of programs that it finds before all others

    @property
    def known_hosts(self) -> str:
        return f"[127.0.0.1]:{self.port} {' '.join(self.host_key.public.split()[:2])}\n"

    def locate(self, path: Path) -> str:
        """The URL of a repository."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"


@contextmanager
def serve_ssh(folder: Path) -> Iterator[SshServer]:
    """Start a server whose files are in a folder, and end it afterwards."""
    git_programs.install()
    if os.geteuid() == 0:
        _OF_ROOT.mkdir(mode=0o755, exist_ok=True)
    server = SshServer(find_free_port(), ssh_key(), ssh_key(), folder / "programs")
    server.programs.mkdir(parents=True)
    (folder / "host_key").touch(mode=0o600)
    (folder / "host_key").write_text(server.host_key.private)
    (folder / "authorized_keys").write_text(server.client_key.public)
    settings = {
        **_SETTINGS,
        "Port": str(server.port),
        "AuthorizedKeysFile": str(folder / "authorized_keys"),
        "SetEnv": f"PATH={server.programs}:{os.environ['PATH']}",
    }
    argv = [git_programs.SSHD, "-D", "-e", "-f", "/dev/null", "-h", str(folder / "host_key")]
    for name, value in settings.items():
        argv += ["-o", f"{name}={value}"]
    with (folder / "log").open("wb") as log, subprocess.Popen(argv, stderr=log) as process:

        def is_ready() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", server.port)).close()
                return True
            return False

        try:
            wait_for("sshd takes connections", is_ready)
            yield server
        finally:
            process.kill()
