"""The parse cache: dbt's partial_parse.msgpack, kept in the bucket between runs.

dbt itself notices another version, other vars, another profile, changed variables of the
environment and changed files, with one exception: it does not read a YAML file whose time of
modification is the one it knows. Images are often built with one time for all files, so the
contents of all files are compared here, and a cache is dropped if one has changed behind its time.
In an archive of two members, so that a cache and what it was made of cannot be mixed up.

Nor does dbt notice that another invocation has another ``run_started_at``, or another time of day
in ``modules``, that names of relations were made of. So a parse that has asked for such values is
not stored (:mod:`dbt_runner.worker.parsing`).

The sidecar fetches it while the dbt container imports dbt (:mod:`dbt_runner.upload.uploader`), and
stores a new one.
"""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from dbt_protocol.json_input import parse_json
from dbt_runner.cache_files import NAME, READY, restored, stored
from dbt_runner.layout import Layout
from dbt_runner.worker import sharing

# Caches of earlier versions, with a files.json, may hold values of the invocation that has made
# them.
_PARSED, _FILES = "partial_parse.msgpack", "files-2.json"

_POLL_SECONDS = 0.01
WAIT_SECONDS = 10.0
Files = dict[str, list[object]]  # path -> [time of modification, hash of the content]


def unpack(layout: Layout, project: Path) -> Path | None:
    """The file for ``--partial-parse-file-path``, once the sidecar has been heard of; None if there
    is none of use.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while not (layout.cache / READY).exists():
        if time.monotonic() >= deadline:
            return None
        time.sleep(_POLL_SECONDS)
    try:
        with zipfile.ZipFile(restored(layout)) as archive:
            changed = _find_change(parse_json(archive.read(_FILES)), files(project))
            if not changed:
                return Path(archive.extract(_PARSED, layout.work))
            why = f"{changed} has changed and its time of modification has not"
    except FileNotFoundError:
        return None
    except KeyError:
        why = "another version of the runner has left it"
    except (OSError, ValueError, TypeError, LookupError, zipfile.BadZipFile, zlib.error) as error:
        why = f"it is broken: {error}"
    print(f"dbt-operator: the parse of an earlier run is not used: {why}", flush=True)
    return None


def _find_change(old: Files, new: Files) -> str:
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


def pack(
    layout: Layout, parsed: Path, project: Path, holds_secrets: Callable[[bytes], bool]
) -> bool:
    """Hand what dbt has parsed to the sidecar; whether there is anything new that may be stored.

    Values of the environment that a project has asked for are part of it, so one that holds a
    secret stays here.
    """
    source = parsed / _PARSED
    if not source.is_file() or holds_secrets(source.read_bytes()):
        return False  # dbt writes it only if something has changed
    partial = layout.new_cache / f".{NAME}"
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.write(source, _PARSED)
        archive.writestr(_FILES, json.dumps(files(project)))
    partial.replace(stored(layout))
    return True
