"""Turns the Secret with the credentials into what git and ssh read.

Credentials are in files that only this process's user can read; they are in no argument, no
variable of the environment and no message.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from dbt_runner.prepare.git_messages import SourceError, Wanted


@dataclass(frozen=True)
class Access:
    """Where credentials are, in words for git; and what must be in no message."""

    config: Sequence[str] = ()
    ssh: Sequence[str] = ("false",)
    secrets: frozenset[str] = field(default_factory=frozenset)


def grant_access(wanted: Wanted, secret: Path, private: Path) -> Access:
    """Turn the Secret's keys into what git and ssh read.

    Raises:
        SourceError: the Secret lacks what the URL's protocol needs.
    """
    found = {path.name: path for path in _keys(secret)}
    if urlsplit(wanted.url).scheme in ("http", "https"):
        return _for_https(wanted, found, private)
    if "://" in wanted.url and not wanted.url.startswith("ssh://"):
        return Access()  # a local one, in tests
    return _for_ssh(wanted, found, private)


def _keys(secret: Path) -> Iterator[Path]:
    """The keys, without the links by which the kubelet swaps a Secret's versions."""
    return (path for path in secret.iterdir() if path.is_file()) if secret.is_dir() else iter(())


def _for_https(wanted: Wanted, found: dict[str, Path], private: Path) -> Access:
    address = urlsplit(wanted.url)
    config = []
    if "ca.crt" in found:
        config.append(f'[http]\n    sslCAInfo = "{found["ca.crt"]}"')
    if not {"username", "password"} & found.keys():
        return Access(config)
    if not {"username", "password"} <= found.keys():
        raise SourceError(
            f"{wanted}: the Secret of source.git.secretRef needs both username and password"
        )
    if address.scheme != "https":
        raise SourceError(f"{wanted}: a password is sent over https:// only")
    username, password = (
        found[key].read_text(encoding="utf-8").strip("\r\n") for key in ("username", "password")
    )
    # git gives them to this host only: to whatever else it is redirected, it sends nothing.
    store = private / "credentials"
    _write(
        store, f"https://{quote(username, safe='')}:{quote(password, safe='')}@{address.netloc}\n"
    )
    config.append(f'[credential]\n    helper = "store --file={shlex.quote(str(store))}"')
    return Access(
        config, secrets=frozenset((username, password))
    )  # a token is sometimes given as the username


def _for_ssh(wanted: Wanted, found: dict[str, Path], private: Path) -> Access:
    missing = [key for key in ("ssh-privatekey", "known_hosts") if key not in found]
    if missing:
        why = {
            "ssh-privatekey": "the key that may read the repository",
            "known_hosts": (
                "what `ssh-keyscan HOST` prints, compared with what the server's owner publishes"
            ),
        }
        needed = " and ".join(f"{key} ({why[key]})" for key in missing)
        raise SourceError(f"{wanted}: ssh needs a Secret in source.git.secretRef with {needed}")
    text = found["ssh-privatekey"].read_text(encoding="utf-8").replace("\r\n", "\n").strip() + "\n"
    key = (
        private / "key"
    )  # ssh takes no key that others may read, as the mounted one can be by its group
    _write(key, text)
    options = {
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(found["known_hosts"]),
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "ConnectTimeout": "15",
        "ServerAliveInterval": "15",
    }
    ssh = ["ssh", "-F", "/dev/null", "-i", str(key)]
    for name, value in options.items():
        ssh += ["-o", f"{name}={value}"]
    return Access(ssh=ssh, secrets=frozenset([text]))


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first moment on."""
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
