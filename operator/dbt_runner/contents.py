"""Says of a folder in the bucket what belongs in it, so that what reads it can tell whether it is
whole.

The files of a folder are uploaded one by one, by each attempt of a run anew, and an upload may end
half way; objects may be deleted, or put there by somebody else. What is believed of them together
must have been written together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from dbt_protocol.plans import RunPlan
from dbt_runner.json_files import read_json, write_json
from dbt_runner.volume import open_plain

CONTENTS = "contents.json"
_CHUNK_BYTES = 1 << 20


def record_contents(folder: Path, plan: RunPlan, names: Sequence[str]) -> None:
    """Record who has written those of these files that are there, and their SHA-256."""
    hashes = {name: _hash(folder / name) for name in names}
    files = {name: found for name, found in hashes.items() if found}
    if not files:
        return  # there is nothing to be believed
    content = {"run_uid": plan.run_uid, "attempt": plan.attempt, "files": files}
    write_json(folder / CONTENTS, content)


def find_fault(folder: Path, run_uid: str, attempt: int | None = None) -> str:
    """Why what is in a folder must not be believed; empty if it may be.

    Args:
        folder: with the files as they were fetched.
        run_uid: of the run that is to have written them.
        attempt: of that run; None: whichever.
    """
    content = read_json(folder / CONTENTS)
    if content is None:
        return f"{CONTENTS} is missing or cannot be read"
    if content.get("run_uid") != run_uid:
        return "another run has written it"
    if attempt is not None and content.get("attempt") != attempt:
        return f"attempt {content.get('attempt')} has written it, not attempt {attempt}"
    files = content.get("files")
    if not isinstance(files, dict):
        return f"{CONTENTS} names no files"
    for name, expected in files.items():
        path = folder / Path(name).name
        found = _hash(path)
        if not found:
            return f"{path.name} is missing"
        if found != expected:
            return f"{path.name} is not the one that was written with the others"
    return ""


def _hash(path: Path) -> str:
    """The SHA-256 of a plain file; empty if there is none."""
    digest = hashlib.sha256()
    try:
        with open_plain(path) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()
