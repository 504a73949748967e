"""What the sidecar tells of a run in which something failed or warned, for those who have to know.

A termination message is too short for it, and what an owner or an exposure is stands in the
manifest, which the operator never reads. So the sidecar puts it into a few lines of its log, which
the operator reads once, before the pod is let go, and into the bucket as well.

Each line has its number, how many there are, and a checksum of the whole. Lines are far shorter
than those that container runtimes split. All of it is the tenant's input: whoever reads it cuts
every text and list to its limit, and believes nothing that is not of the shape described here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from typing_extensions import Self  # of typing from 3.11 on; the dbt image may have 3.9
from dbt_protocol.messages import PROTOCOL, Message, ProtocolError, known_fields

DIGEST_PREFIX = "dbt-operator: digest "
LINE_BYTES = 4096
LINES = 8
_HEAD_BYTES = 64  # of a line: prefix, numbers, checksum
_PIECE_BYTES = LINE_BYTES - _HEAD_BYTES
DIGEST_BYTES = LINES * _PIECE_BYTES

NAME = 300  # characters of a unique_id, a relation, an owner
TEXT = 300  # characters of a message
OWNERS = 5  # of a node
# How many entries of each list, at most; fewer where all together are too long.
_KEPT = (20, 10, 5, 2, 0)
# Nodes of which a mark is kept, and the characters of a mark.
MARKS, MARK = 200, 8


@dataclass(frozen=True)
class DigestNode:
    """A node that failed or warned."""

    unique_id: str
    status: str  # dbt's
    message: str = ""  # one line
    rows: int = -1  # of a test: how many rows it found; -1: that is not known
    stored_in: str = ""  # the relation that holds these rows, where store_failures is on
    owners: list[str] = field(default_factory=list)  # meta.owner of it, or of what it tests
    group: str = ""  # dbt's group of it, or of what it tests


@dataclass(frozen=True)
class DigestExposure:
    """An exposure downstream of a node that failed."""

    name: str
    type: str = ""  # dbt's: dashboard, notebook, ...
    owner: str = ""  # name or e-mail address


@dataclass(frozen=True)
class Digest(Message):
    """What failed and warned in an attempt, who owns it, and what depends on it.

    Every list has the first entries only; beside it stands how many there are.
    """

    run_uid: str
    attempt: int
    failed: list[DigestNode] = field(default_factory=list)
    failed_total: int = 0
    warned: list[DigestNode] = field(default_factory=list)
    warned_total: int = 0
    skipped: list[str] = field(default_factory=list)  # unique_ids, because of what failed
    skipped_total: int = 0
    exposures: list[DigestExposure] = field(default_factory=list)
    exposures_total: int = 0
    # A mark of each failed node, one after the other: the same node has the same in every run.
    marks: str = ""
    # Why owners, exposures and relations are not known; empty: they are.
    missing: str = ""
    protocol: int = PROTOCOL

    LISTS: ClassVar[Mapping[str, Any]] = {
        "failed": DigestNode,
        "warned": DigestNode,
        "skipped": str,
        "exposures": DigestExposure,
    }

    def to_json(self) -> str:
        """Serialize into at most DIGEST_BYTES of ASCII: lists are shortened from their ends."""
        for kept in _KEPT:
            shortened = replace(
                self, **{name: getattr(self, name)[:kept] for name in self.LISTS}
            ).cut()
            text = json.dumps(asdict(shortened), separators=(",", ":"))
            if len(text) <= DIGEST_BYTES:
                break
        return text

    def cut(self) -> Self:
        """With texts and lists of at most their lengths."""
        return replace(
            self,
            failed=[_cut_node(node) for node in self.failed[: _KEPT[0]]],
            warned=[_cut_node(node) for node in self.warned[: _KEPT[0]]],
            skipped=[_cut(name, NAME) for name in self.skipped[: _KEPT[0]]],
            exposures=[
                DigestExposure(_cut(each.name, NAME), _cut(each.type, 50), _cut(each.owner, NAME))
                for each in self.exposures[: _KEPT[0]]
            ],
            marks=self.marks[: MARKS * MARK],
            missing=_cut(self.missing, TEXT),
        )

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Self:
        """Read a message that has been parsed; what is longer than allowed is cut."""
        known = known_fields(cls, data)
        for name, kind in cls.LISTS.items():
            rows = known.get(name, [])
            if not isinstance(rows, list):
                raise TypeError(f"{name} must be a list")
            known[name] = [_read_row(kind, row) for row in rows[: _KEPT[0]]]
        for name in ("attempt", *(f"{name}_total" for name in cls.LISTS)):
            if known.get(name, 0) < 0:
                raise ValueError(f"{name} must be a count")
        return cls(**known).cut()

    def to_lines(self) -> list[str]:
        """As lines of the log, at most LINES of at most LINE_BYTES."""
        text = self.to_json()
        pieces = [text[at : at + _PIECE_BYTES] for at in range(0, len(text), _PIECE_BYTES)]
        checksum = _sum(text)
        return [
            f"{DIGEST_PREFIX}{number}/{len(pieces)} {checksum} {piece}"
            for number, piece in enumerate(pieces, 1)
        ]

    @classmethod
    def from_lines(cls, lines: Iterable[str]) -> Self:
        """Read the last digest that is whole in lines of a log; others are passed over.

        Raises:
            ProtocolError: there is none, or it cannot be read.
        """
        pieces: list[str] = []
        whole = ""
        for line in lines:
            number, count, checksum, piece = _split(line)
            if number == 1:
                pieces = []
            if not number or number != len(pieces) + 1 or count > LINES:
                continue
            pieces.append(piece)
            text = "".join(pieces)
            if number == count and _sum(text) == checksum:
                whole = text
        if not whole:
            raise ProtocolError("the log holds no digest that is whole")
        return cls.from_json(whole)


def mark(unique_id: str) -> str:
    """What stands for a node where its name would be too long."""
    return hashlib.sha256(unique_id.encode("utf-8", "replace")).hexdigest()[:MARK]


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _split(line: str) -> tuple[int, int, str, str]:
    """Number, count, checksum and piece of a line; zeros where it is no such line."""
    words = line[len(DIGEST_PREFIX) :].split(" ", 2) if line.startswith(DIGEST_PREFIX) else []
    numbers = words[0].split("/") if len(words) == 3 else []
    if len(numbers) != 2 or not all(
        each.isascii() and each.isdigit() and len(each) == 1 for each in numbers
    ):
        return 0, 0, "", ""
    return int(numbers[0]), int(numbers[1]), words[1], words[2]


def _read_row(kind: Any, row: object) -> Any:
    if kind is str:
        if not isinstance(row, str):
            raise TypeError("skipped must hold unique_ids")
        return row
    if not isinstance(row, Mapping):
        raise TypeError("a row must be an object")
    known = known_fields(kind, row)
    owners = known.get("owners", [])
    if not isinstance(owners, list) or not all(isinstance(each, str) for each in owners):
        raise TypeError("owners must be a list of texts")
    return kind(**known)


def _cut_node(node: DigestNode) -> DigestNode:
    return DigestNode(
        _cut(node.unique_id, NAME),
        _cut(node.status, 50),
        _cut(node.message, TEXT),
        max(node.rows, -1),
        _cut(node.stored_in, NAME),
        [_cut(owner, NAME) for owner in node.owners[:OWNERS]],
        _cut(node.group, NAME),
    )


def _cut(text: str, size: int) -> str:
    """A text in one line, without characters that would do something to who shows it."""
    shown = "".join(each if each.isprintable() else " " for each in text[: 4 * size])
    line = " ".join(shown.split())
    return line if len(line) <= size else line[: size - 3] + "..."
