"""Hands the folder of a step that has ended over to the sidecar."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from dbt_runner.artifact_files import MANIFEST, READ_BACK, artifacts_of
from dbt_runner.redact import Redactor
from dbt_runner.supervise.sql_archive import pack_sql
from dbt_runner.volume import NotPlainError, Volume


def publish(work: Path, final: Path, redactor: Redactor, parsed_manifest: Path) -> str:
    """Complete the folder of a step that has ended, free it of secrets and rename it to its final
    name.

    Args:
        work: dbt's target path of the step; made if dbt did not get as far.
        final: the folder's place among the artifacts.
        redactor: knows the secrets.
        parsed_manifest: stands in if dbt left no manifest.json (an interrupt, run-operation).
            Linked, not copied.

    Returns:
        What of dbt's SQL is not kept, and why; empty if all of it is.
    """
    work.mkdir(parents=True, exist_ok=True)
    manifest = work / MANIFEST
    if not manifest.exists() and parsed_manifest.exists():
        os.link(parsed_manifest, manifest)
    for path in artifacts_of(Volume(work), work):
        with suppress(NotPlainError):  # nobody uploads it either
            if path.name in READ_BACK:
                redactor.document(path)
            else:
                redactor.file(path)
    missing = pack_sql(work, redactor)
    final.parent.mkdir(parents=True, exist_ok=True)
    work.rename(final)
    return missing
