"""What is said of a checkout, and of what has gone wrong with it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SAID = 300  # characters of git's output in a message
_LOOKED_AT = 4_000  # characters of it, for the cause
_QUOTED = re.compile(r"'[^']*'")
_QUERY = re.compile(r"\?[^\s'\"]{8,}")  # of a URL that is signed, it holds the signature
_PASSWORD = re.compile(r"(://[^/@:]*):[^/@]*@")

# What git and ssh say, in the order in which they are looked for: the first explains the others.
# Whether it may pass within seconds decides if it is tried again here.
_CAUSES = (
    ("missing file", re.compile(r"object does not exist|\[404\]", re.IGNORECASE)),
    ("wrong file", re.compile(r"expected oid [0-9a-f]", re.IGNORECASE)),
    ("larger file", re.compile(r"file too large", re.IGNORECASE)),
    ("no lfs", re.compile(r"is not a git command", re.IGNORECASE)),
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
            r"certificate|ssl_error|tls handshake|unable to set .{0,300}cainfo|cafile",
            re.IGNORECASE,
        ),
    ),
    (
        "credentials",
        re.compile(
            r"authentication failed|could not read (username|password)|permission denied|access "
            r"denied"
            r"|returned error: 40[13]|invalid (username|credentials)|load key|terminal prompts "
            r"disabled|authentication required|authorization error",
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
            r"|empty reply|recv (failure|error)|send failure|broken pipe|proxy connect"
            r"|dial tcp|unexpected eof|server unavailable|rate limit",
            re.IGNORECASE,
        ),
    ),
    (
        "repository",
        re.compile(
            r"repository .{0,300}not found|not appear to be a git repo|no such repo"
            r"|returned error: 404",
            re.IGNORECASE,
        ),
    ),
)


class SourceError(Exception):
    """The files cannot be had; the message names repository and ref, says what is wrong and what to
    do.
    """

    def __init__(self, message: str, *, again: str = "No") -> None:
        super().__init__(message)
        self.again = again  # as in dbt_protocol.summaries.Summary


@dataclass(frozen=True)
class Wanted:
    """What is to be checked out."""

    url: str
    ref: str = ""  # branch, tag or commit; empty: what the remote's HEAD is
    commit: str = ""  # once it is known, it stands for the ref
    # the branch or tag that has to reach the commit that ref is; empty: none has to
    reachable_from: str = ""
    sub_path: str = ""  # the project's folder
    submodules: bool = False  # they are wanted, too
    lfs: bool = False  # files that Git LFS keeps are wanted, and not only where it does

    def __str__(self) -> str:
        return f"{_public(self.url)}, {f'ref {self.ref}' if self.ref else 'its default branch'}"


class CommandError(Exception):
    """git failed; ``cause`` is the first of the causes that its words fit, or empty.

    ``said`` is for messages, and ``words`` are not: nobody has looked for secrets there.
    """

    def __init__(self, said: str, words: str = "") -> None:
        super().__init__(said)
        self.said = said
        self.words = (words or said)[:_LOOKED_AT]
        words = _QUOTED.sub("", self.words)  # a repository may be called anything
        self.cause = next((name for name, pattern in _CAUSES if pattern.search(words)), "")

    @property
    def again(self) -> str:
        """Whether another attempt may do better: not with the same credentials, which too many
        attempts may get locked.
        """
        return "Yes" if self.cause in ("unreachable", "") else "No"


def explain_error(wanted: Wanted, error: CommandError, *, with_secret: bool) -> str:
    """The message about a git that has failed: what is wrong, and what to do."""
    what, remedy = {
        "host key": (
            "the server's host key is not the one in known_hosts",
            (
                "compare it with what the server's owner publishes, and put it into known_hosts "
                "of the Secret"
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


def explain_absence(ref: str) -> str:
    """The message about a ref that there is none of."""
    if not ref:
        return (
            "the repository's HEAD leads nowhere: it is empty, or its default branch is gone; set "
            "source.git.ref"
        )
    return (
        "the repository has no such branch, tag or commit; check its spelling (git ls-remote lists "
        "what there is)"
    )


def tidy(said: str) -> str:
    """What git said, in one line, without the advice that ends its messages."""
    lines = [line.strip() for line in said.partition("Please make sure")[0].splitlines()]
    text = " ".join(line for line in lines if line and not set(line) <= set("@"))
    return _QUERY.sub("?...", text)


def shorten(said: str) -> str:
    """The beginning of what git said, for a message."""
    text = tidy(said)
    return text if len(text) <= _SAID else text[: _SAID - 3] + "..."


def _public(url: str) -> str:
    """A URL without a password. The API refuses those that have one."""
    return _PASSWORD.sub(r"\1:*****@", url)


def say(text: str) -> None:
    """Print a line of the runner's own."""
    print(f"dbt-operator: {text}", flush=True)
