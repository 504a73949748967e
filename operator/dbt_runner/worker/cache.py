"""The parse cache: what dbt has parsed for the commands of a project and target, kept in the bucket
between runs.

dbt itself notices another version, another profile, changed variables of the environment and
changed files, with one exception: it does not read a YAML file whose time of modification is the
one it knows. Images are often built with one time for all files, so the contents of all files are
compared here, and a parse is not used if one has changed behind its time. What dbt does not notice
at all, or too often, are the values that a command gives to what it parses: a parse is used by a
command that gives its reads the same values (:mod:`dbt_runner.worker.parse_reads`).

Commands and vars that parse differently have a parse each, of which the archive has the last that
were of use. It is one object, so that a parse and what it was made of cannot be mixed up.

The sidecar fetches it while the dbt container imports dbt (:mod:`dbt_runner.upload.uploader`), and
stores a new one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbt_protocol.json_input import parse_json
from dbt_runner.cache_files import NAME, READY, restored, stored
from dbt_runner.layout import Layout
from dbt_runner.worker import sharing
from dbt_runner.worker.dbt_api import Loaded, ParseRecord

_PARSED = "partial_parse.msgpack"
_INDEX = "parses.json"
KEPT = 8  # parses; the one that was not used for longest goes

_POLL_SECONDS = 0.01
WAIT_SECONDS = 10.0
Files = dict[str, list[object]]  # path -> [time of modification, hash of the content]


@dataclass(frozen=True)
class StoredParse:
    """A parse of the archive that has been restored."""

    archive: Path
    member: str
    image: str  # that it was parsed in
    files: Files
    record: ParseRecord
    project: Path  # as it is now

    def find_obstacle(self) -> str:
        """A file that has changed unseen; empty if there is none."""
        changed = find_change(self.files, files(self.project))
        return changed and f"{changed} has changed and its time of modification has not"

    def extract(self, path: Path) -> bool:
        """Write dbt's file; False if it is broken."""
        try:
            path.write_bytes(zlib.decompress(self.read()))
        except (OSError, LookupError, zipfile.BadZipFile, zlib.error) as error:
            _complain(f"it is broken: {error}")
            return False
        return True

    def read(self) -> bytes:
        """What the archive holds of it."""
        with zipfile.ZipFile(self.archive) as archive:
            return archive.read(self.member)

    def make_entry(self) -> dict[str, Any]:
        """What the archive's index says of it."""
        return _make_entry(self.member, self.image, self.files, self.record)


def unpack(layout: Layout, project: Path) -> list[StoredParse]:
    """The parses that earlier runs have left, once the sidecar has been heard of; the one that was
    used last comes first.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while not (layout.cache / READY).exists():
        if time.monotonic() >= deadline:
            return []
        time.sleep(_POLL_SECONDS)
    path = restored(layout)
    try:
        with zipfile.ZipFile(path) as archive:
            index = parse_json(archive.read(_INDEX))
        found = [_read_entry(path, project, entry) for entry in index]
    except FileNotFoundError:
        return []
    except KeyError:
        why = "another version of the runner has left it"
    except (OSError, ValueError, TypeError, LookupError, zipfile.BadZipFile, zlib.error) as error:
        why = f"it is broken: {error}"
    else:
        return found
    _complain(why)
    return []


def _complain(why: str) -> None:
    print(f"dbt-operator: the parse of an earlier run is not used: {why}", flush=True)


def _read_entry(archive: Path, project: Path, entry: Mapping[str, Any]) -> StoredParse:
    """What the index says of a parse.

    Raises:
        TypeError: it has another form.
    """
    texts = (entry["parsed"], entry["image"], entry["state"])
    maps = (entry["files"], entry["flags"], entry["reads"])
    is_sound = (
        all(isinstance(each, str) for each in texts)
        and all(isinstance(each, dict) for each in (*maps, *entry["reads"].values()))
        and all(isinstance(each, list) and len(each) == 2 for each in entry["files"].values())
    )
    if not is_sound:
        raise TypeError("its index has another form")
    record = ParseRecord(entry["flags"], entry["state"], entry["reads"])
    return StoredParse(archive, entry["parsed"], entry["image"], entry["files"], record, project)


def _make_entry(member: str, image: str, known: Files, record: ParseRecord) -> dict[str, Any]:
    return {"parsed": member, "image": image, "files": known, **dataclasses.asdict(record)}


def find_change(old: Files, new: Files) -> str:
    """A file that has changed unseen; empty if there is none."""
    return next(
        (
            path
            for path, (time, content) in new.items()
            if path in old and old[path][0] == time and old[path][1] != content
        ),
        "",
    )


def files(project: Path) -> Files:
    """All files that dbt may read without looking at their content."""
    found = (path for path in sharing.code(project) if path.suffix in (".yml", ".yaml"))
    return {
        str(path.relative_to(project)): [
            path.stat().st_mtime,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        ]
        for path in found
        if path.is_file()
    }


@dataclass(frozen=True)
class NewParse:
    """What a run has parsed."""

    loaded: Loaded
    folder: Path  # dbt's target path

    def read(self) -> bytes:
        """Dbt's file; empty if nothing has changed, since then dbt writes none."""
        path = self.folder / _PARSED
        return path.read_bytes() if path.is_file() else b""


def pack(
    layout: Layout,
    image: str,
    project: Path,
    parses: Sequence[NewParse],
    found: Sequence[StoredParse],
) -> bool:
    """Hand what is to be kept to the sidecar; whether there is anything new in it.

    Args:
        layout: of the pod.
        image: that it was parsed in.
        project: that was parsed.
        parses: of this run. One takes the place of the one that it has begun with.
        found: what was restored.
    """
    known = files(project)
    new: dict[str, tuple[dict[str, Any], bytes]] = {}
    gone: set[str] = set()
    used: list[StoredParse] = []
    for parse in parses:
        begun_with, content = parse.loaded.begun_with, parse.read()
        if content:
            packed = zlib.compress(content, 1)
            name = hashlib.sha256(packed).hexdigest()[:16]
            new[name] = (_make_entry(name, image, known, parse.loaded.record), packed)
        if isinstance(begun_with, StoredParse):
            gone.add(begun_with.member)
            used += [] if content else [begun_with]
    rest = [each for each in found if each.member not in gone]
    # Where there is room, nothing hangs on the order.
    if not new and not (len(found) >= KEPT and any(each in found[KEPT // 2 :] for each in used)):
        return False
    kept = [each for each in [*used, *rest] if each.member not in new][: max(0, KEPT - len(new))]
    partial = layout.new_cache / f".{NAME}"
    with zipfile.ZipFile(partial, "w") as archive:
        entries = [entry for entry, _ in new.values()] + [each.make_entry() for each in kept]
        archive.writestr(_INDEX, json.dumps(entries), zipfile.ZIP_DEFLATED)
        for name, (_, packed) in new.items():
            archive.writestr(name, packed)
        for each in kept:
            archive.writestr(each.member, each.read())
    partial.replace(stored(layout))
    return True
