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

_PROTOCOLS = ("https", "http", "ssh")


@dataclass(frozen=True)
class Access:
    """Where credentials are, in words for git; and what must be in no message."""

    config: Sequence[str] = ()
    ca: Sequence[str] = ()
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


def share_access(access: Access, url: str, other: Wanted, told_in: str = ".gitmodules") -> Access:
    """What another repository may be asked with: all of it on the same host, else only the CA.

    Args:
        access: to the repository with the URL.
        url: of the repository that the Secret was given for.
        other: the other repository.
        told_in: which file says where it is.

    Raises:
        SourceError: there is no way to it.
    """
    host, protocol = find_host(other.url), find_protocol(other.url)
    is_known = protocol in _PROTOCOLS and other.url.isprintable()
    if not host or not is_known or (protocol != "ssh" and "@" in host):
        raise SourceError(
            f"{other}: what {told_in} has is no URL like https://host/path, ssh://user@host/path "
            "or user@host:path, without credentials and blanks"
        )
    if protocol == "http" and find_protocol(url) == "https":
        raise SourceError(
            f"{other}: it is asked for by http, and the repository itself by https: write an https "
            f"URL into {told_in}"
        )
    is_same = host.rpartition("@")[2] == find_host(url).rpartition("@")[2]
    is_ssh = protocol == "ssh"
    if is_same and is_ssh == (find_protocol(url) == "ssh"):
        return access
    if is_ssh:
        raise SourceError(
            f"{other}: it is asked for by ssh, and the Secret of source.git.secretRef has no key "
            f"for that host: write an https URL into {told_in}, or one that begins with ../"
        )
    return Access(ca=access.ca, secrets=access.secrets)


def find_protocol(url: str) -> str:
    """How a repository is asked for, in lower case: ssh also for ``user@host:path``."""
    return url.partition("://")[0].lower() if "://" in url else "ssh"


def find_host(url: str) -> str:
    """The host of a repository, in lower case, with its port, and for ssh with the user; empty if
    the URL is none, or none of a network.
    """
    if "://" in url:
        host = urlsplit(url).netloc if url.isprintable() else ""
    else:
        host, colon, path = url.partition(":")
        host = host if colon and "/" not in host and not path.startswith((":", "-")) else ""
    return "" if host.startswith("-") or "@-" in host else host.lower()


def _keys(secret: Path) -> Iterator[Path]:
    """The keys, without the links by which the kubelet swaps a Secret's versions."""
    return (path for path in secret.iterdir() if path.is_file()) if secret.is_dir() else iter(())


def _for_https(wanted: Wanted, found: dict[str, Path], private: Path) -> Access:
    address = urlsplit(wanted.url)
    ca = _trust(found)
    if not {"username", "password"} & found.keys():
        return Access(ca=ca)
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
    config = f'[credential]\n    helper = "store --file={shlex.quote(str(store))}"'
    # A token is sometimes given as the username.
    return Access([config], ca, secrets=frozenset((username, password)))


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
    return Access(ca=_trust(found), ssh=ssh, secrets=frozenset([text]))


def _trust(found: dict[str, Path]) -> list[str]:
    """The Secret's CA, which by ssh is for files that Git LFS keeps: they come by https."""
    return [f'[http]\n    sslCAInfo = "{found["ca.crt"]}"'] if "ca.crt" in found else []


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first moment on."""
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
