"""Checks a commit of a Git repository out, with the real ``git`` and ``ssh`` of the runner image.

A ref is resolved to a commit once, by ``git ls-remote``; then that commit alone is fetched, without
its history where the server serves commits by their hash, and with it where it does not. What is
left are the commit's files without ``.git``. Submodules are not followed, and files in Git LFS stay
pointers.

Nothing but the plan and the mounted Secret has a say: no configuration of system or user, no hooks,
no prompts, no protocols but https, http and ssh. Credentials are in files that only this process's
user can read, in a folder that goes with the container; they are in no argument, no variable of the
environment and no message.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from dbt_runner.deadline import Deadline
from dbt_runner.redact import Redactor

PROTOCOLS = ("https", "http", "ssh")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHORT_HASH = re.compile(r"[0-9a-f]{4,39}")
_SAID = 300  # characters of git's output in a message

# What git and ssh say, in the order in which they are looked for: the first explains the others.
# Whether it may pass within seconds decides if it is tried again here.
_CAUSES = (
    (
        "host key",
        re.compile(
            r"host key verification failed|host identification has changed|host key is known",
            re.IGNORECASE,
        ),
    ),
    (
        "certificate",
        re.compile(
            r"certificate|ssl_error|tls handshake|unable to set .*cainfo|cafile", re.IGNORECASE
        ),
    ),
    (
        "credentials",
        re.compile(
            r"authentication failed|could not read (username|password)|permission denied|access "
            r"denied"
            r"|returned error: 40[13]|invalid (username|credentials)|load key|terminal prompts "
            r"disabled",
            re.IGNORECASE,
        ),
    ),
    (
        "unreachable",
        re.compile(
            r"could not resolve|couldn't connect|failed to connect|connection (refused|reset|timed "
            r"out|closed)"
            r"|timed? ?out|timeout|network is unreachable|no route to host|name resolution"
            r"|returned error: (429|5\d\d)"
            r"|early eof|unexpected disconnect|too slow|hung up unexpectedly"
            r"|kex_exchange_identification"
            r"|empty reply|recv (failure|error)|send failure|broken pipe|proxy connect",
            re.IGNORECASE,
        ),
    ),
    (
        "repository",
        re.compile(
            r"repository .*not found|not appear to be a git repo|no such repo|returned error: 404",
            re.IGNORECASE,
        ),
    ),
)


class SourceError(Exception):
    """The files cannot be had; the message names repository and ref, says what is wrong and what to
    do.
    """


@dataclass(frozen=True)
class Limits:
    """How long things may take."""

    total_seconds: float = 300
    answer_seconds: float = 30  # until a server has told its refs
    pauses: Sequence[float] = (1, 3)  # before another try, where the network failed


@dataclass(frozen=True)
class Wanted:
    """What is to be checked out."""

    url: str
    ref: str = ""  # branch, tag or commit; empty: what the remote's HEAD is
    commit: str = ""  # once it is known, it stands for the ref

    def __str__(self) -> str:
        return f"{_public(self.url)}, {f'ref {self.ref}' if self.ref else 'its default branch'}"


def check_out(
    wanted: Wanted,
    into: Path,
    secret: Path,
    *,
    limits: Limits | None = None,
    protocols: Sequence[str] = PROTOCOLS,
) -> str:
    """Check the files out, and return the commit that they are of.

    Args:
        wanted: repository and ref.
        into: a folder that exists and is empty.
        secret: where the Secret with the credentials is mounted; it need not exist.
        limits: how long things may take.
        protocols: the transports that git may use.

    Raises:
        SourceError: that was not possible.
    """
    with tempfile.TemporaryDirectory(prefix="git-") as private:
        access = _access(wanted, secret, Path(private))
        if wanted.url.startswith("https://"):
            protocols = [
                protocol for protocol in protocols if protocol != "http"
            ]  # not even if it redirects there
        git = _Git(into, Path(private), access, protocols, limits or Limits())
        try:
            return _Checkout(wanted, git).run()
        except _CommandError as error:
            raise SourceError(_explain(wanted, error, with_secret=secret.is_dir())) from error
        finally:
            shutil.rmtree(into / ".git", ignore_errors=True)


class _Checkout:
    def __init__(self, wanted: Wanted, git: _Git) -> None:
        self._wanted = wanted
        self._git = git

    def run(self) -> str:
        self._git.local("init", "--quiet", "--template=")
        commit, ref = self._resolve()
        _say(f"fetching commit {commit} of {self._wanted}")
        self._fetch(commit, ref)
        commit = self._git.commit(commit)  # the hash may have been that of an annotated tag
        self._git.local("checkout", "--quiet", "--force", "--detach", commit)
        return commit

    def _resolve(self) -> tuple[str, str]:
        """The commit, and the full name of the ref that it was found by; empty for a commit."""
        wanted = self._wanted
        given = wanted.commit or wanted.ref
        if _COMMIT.fullmatch(given):
            return given, ""
        names = _names(wanted.ref)
        told = self._git.remote(
            "ls-remote", "--", wanted.url, *names, seconds=self._git.limits.answer_seconds
        )
        found = {
            name: commit for commit, _, name in (line.partition("\t") for line in told.splitlines())
        }
        for name in names:
            if name in found:
                return found[name], name.removesuffix("^{}")
        if _SHORT_HASH.fullmatch(wanted.ref):
            return self._by_short_hash(), ""
        raise SourceError(f"{wanted}: {_absent(wanted.ref)}")

    def _by_short_hash(self) -> str:
        """Only the whole history tells which commit it means."""
        self._history("")
        try:
            return self._git.commit(self._wanted.ref)
        except _CommandError as error:
            several = "more than one commit begins like that: give all 40 digits"
            why = several if "ambiguous" in error.said else _absent(self._wanted.ref)
            raise SourceError(f"{self._wanted}: {why}") from error

    def _fetch(self, commit: str, ref: str) -> None:
        """Fetch as little as the server allows for."""
        for what in (commit, ref, None):
            if what == "":
                continue
            if self._git.has(commit):
                return
            try:
                if what is None:
                    self._history(ref)
                else:
                    self._remote_fetch("--depth=1", "--", self._wanted.url, what)
            except _CommandError as error:
                if error.cause:
                    raise
                _say(f"the server does not serve that ({error.said})")
        if not self._git.has(commit):
            raise SourceError(
                f"{self._wanted}: the repository has no commit {commit} in any branch or tag"
            )

    def _history(self, ref: str) -> None:
        refspecs = ["+refs/heads/*:refs/remotes/all/*", "+refs/tags/*:refs/tags/*"]
        if ref:
            refspecs.append(
                f"+{ref}:refs/wanted"
            )  # it may be neither, refs/pull/7/head for example
        depth = ["--unshallow"] if self._git.is_shallow() else []
        self._remote_fetch(*depth, "--", self._wanted.url, *refspecs)

    def _remote_fetch(self, *arguments: str) -> None:
        self._git.remote("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", *arguments)


def _names(ref: str) -> list[str]:
    """The full names that a ref may have, the best first. A tag's peeled name is that of the commit
    it points to.
    """
    if not ref or ref == "HEAD":
        return ["HEAD"]
    names = [ref] if ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
    return [name for full in names for name in (f"{full}^{{}}", full)]


def _absent(ref: str) -> str:
    if not ref:
        return (
            "the repository's HEAD leads nowhere: it is empty, or its default branch is gone; set "
            "source.git.ref"
        )
    return (
        "the repository has no such branch, tag or commit; check its spelling (git ls-remote lists "
        "what there is)"
    )


# Running git


@dataclass(frozen=True)
class _Access:
    """Where credentials are, in words for git; and what must be in no message."""

    config: Sequence[str] = ()
    ssh: Sequence[str] = ("false",)
    secrets: frozenset[str] = field(default_factory=frozenset)


class _CommandError(Exception):
    """git failed; ``cause`` is the first of the causes that its words fit, or empty."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said
        words = re.sub(r"'[^']*'", "", said)  # a repository may be called anything
        self.cause = next((name for name, pattern in _CAUSES if pattern.search(words)), "")


class _Git:
    def __init__(
        self, folder: Path, private: Path, access: _Access, protocols: Sequence[str], limits: Limits
    ) -> None:
        self.limits = limits
        self._folder = folder
        self._redactor = Redactor(access.secrets)
        self._deadline = Deadline(limits.total_seconds)
        config = private / "config"
        config.write_text("\n".join([_CONFIG, *access.config]) + "\n", encoding="utf-8")
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(private),
            "LC_ALL": "C",  # its messages are looked at
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(config),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "GIT_ALLOW_PROTOCOL": ":".join(protocols),  # also of redirects
            "GIT_SSH_COMMAND": shlex.join(access.ssh),
            "GIT_SSH_VARIANT": "ssh",
        }

    def local(self, *arguments: str) -> str:
        """Run a command that needs no network."""
        return self._run(arguments, self._deadline.remaining() or 0)

    def remote(self, *arguments: str, seconds: float | None = None) -> str:
        """Run a command that talks to the server, again if the network fails."""
        for pause in (*self.limits.pauses, None):
            left = self._deadline.remaining() or 0
            try:
                return self._run(arguments, left if seconds is None else min(seconds, left))
            except _CommandError as error:
                if (
                    error.cause != "unreachable"
                    or pause is None
                    or (self._deadline.remaining() or 0) <= pause
                ):
                    raise
                _say(f"{error.said}: trying again in {pause:g} s")
                time.sleep(pause)
        raise AssertionError  # not reached

    def commit(self, name: str) -> str:
        """The whole hash of the commit that a hash or a tag stands for."""
        return self.local("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}").strip()

    def has(self, commit: str) -> bool:
        """Whether it has been fetched."""
        with suppress(_CommandError):
            return bool(self.commit(commit))
        return False

    def is_shallow(self) -> bool:
        """Whether history is cut off somewhere."""
        return (self._folder / ".git" / "shallow").exists()

    def _run(self, arguments: Sequence[str], seconds: float) -> str:
        try:
            # An argv list; the API has checked what comes from a spec.
            process = subprocess.Popen(  # noqa: S603
                ["git", "-C", str(self._folder), *arguments],  # noqa: S607 - the image's own
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                start_new_session=True,  # so that its helpers end with it
                umask=0o002,  # the dbt container may be another user of the same group
                text=True,
                errors="replace",
            )
        except FileNotFoundError as error:
            raise SourceError(
                "there is no git here: the runner image is not the operator's"
            ) from error
        try:
            output, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise _CommandError(f"git {arguments[0]} timed out after {seconds:.0f} s") from error
        finally:
            _end(process)
        if process.returncode:
            raise _CommandError(
                self._redactor.text(_in_one_line(said)) or f"git {arguments[0]} failed"
            )
        return output


# Objects of any size are streamed and packs are made by one thread, so that a large repository fits
# into little memory.
_CONFIG = """
[core]
    hooksPath = /dev/null
    bigFileThreshold = 8m
    autocrlf = false
[pack]
    threads = 1
    windowMemory = 32m
[http]
    lowSpeedLimit = 1000
    lowSpeedTime = 30
[gc]
    auto = 0
[maintenance]
    auto = false
[advice]
    detachedHead = false
"""


def _end(process: subprocess.Popen[str]) -> None:
    """Make an end of the command and of what it has started, if that is still necessary."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


# Credentials


def _access(wanted: Wanted, secret: Path, private: Path) -> _Access:
    """Turn the Secret's keys into what git and ssh read.

    Raises:
        SourceError: the Secret lacks what the URL's protocol needs.
    """
    found = {path.name: path for path in _keys(secret)}
    if urlsplit(wanted.url).scheme in ("http", "https"):
        return _for_https(wanted, found, private)
    if "://" in wanted.url and not wanted.url.startswith("ssh://"):
        return _Access()  # a local one, in tests
    return _for_ssh(wanted, found, private)


def _keys(secret: Path) -> Iterator[Path]:
    """The keys, without the links by which the kubelet swaps a Secret's versions."""
    return (path for path in secret.iterdir() if path.is_file()) if secret.is_dir() else iter(())


def _for_https(wanted: Wanted, found: dict[str, Path], private: Path) -> _Access:
    address = urlsplit(wanted.url)
    config = []
    if "ca.crt" in found:
        config.append(f'[http]\n    sslCAInfo = "{found["ca.crt"]}"')
    if not {"username", "password"} & found.keys():
        return _Access(config)
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
    return _Access(
        config, secrets=frozenset((username, password))
    )  # a token is sometimes given as the username


def _for_ssh(wanted: Wanted, found: dict[str, Path], private: Path) -> _Access:
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
    return _Access(ssh=ssh, secrets=frozenset([text]))


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first moment on."""
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)


# Messages


def _explain(wanted: Wanted, error: _CommandError, *, with_secret: bool) -> str:
    what, remedy = {
        "host key": (
            "the server's host key is not the one in known_hosts",
            (
                "compare it with what the server's owner publishes, and put it into known_hosts of "
                "the Secret"
            ),
        ),
        "certificate": (
            "the server's certificate is not trusted",
            "put the certificate of its CA into the Secret of source.git.secretRef, as ca.crt",
        ),
        "credentials": (
            "the server refuses the credentials"
            if with_secret
            else "the server asks for credentials",
            "check the Secret of source.git.secretRef, and that its user or key may read this "
            "repository"
            if with_secret
            else "set source.git.secretRef to a Secret with username and password",
        ),
        "unreachable": (
            "the server cannot be reached",
            "check the host's name, the network and its policies",
        ),
        "repository": (
            "there is no such repository",
            (
                "check source.git.url, and that the credentials may read it: servers hide what "
                "they may not"
            ),
        ),
    }.get(error.cause, ("git failed", "check source.git"))
    return f"{wanted}: {what}; {remedy} (git: {error.said})"


def _in_one_line(said: str) -> str:
    """What git said, without the advice that ends its messages."""
    lines = [line.strip() for line in said.partition("Please make sure")[0].splitlines()]
    text = " ".join(line for line in lines if line and not set(line) <= set("@"))
    return text if len(text) <= _SAID else text[: _SAID - 3] + "..."


def _public(url: str) -> str:
    """A URL without a password. The API refuses those that have one."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:*****@", url)


def _say(text: str) -> None:
    print(f"dbt-operator: {text}", flush=True)
