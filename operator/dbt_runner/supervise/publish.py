"""Hands the folder of a step that has ended over to the sidecar."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dbt_runner.artifact_files import MANIFEST, READ_BACK, artifacts_of
from dbt_runner.redact import Redactor
from dbt_runner.supervise.sql_archive import pack_sql
from dbt_runner.volume import NotPlainError, Volume


@dataclass(frozen=True)
class Published:
    """What has come of the folder of a step."""

    # Names that later runs would go by, and that hold a secret: they are starred now.
    lost: list[str]
    missing: str  # what of dbt's SQL is not kept, and why; empty if all of it is


def publish(work: Path, final: Path, redactor: Redactor, parsed_manifest: Path) -> Published:
    """Complete the folder of a step that has ended, free it of secrets and rename it to its final
    name.

    Args:
        work: dbt's target path of the step; made if dbt did not get as far.
        final: the folder's place among the artifacts.
        redactor: knows the secrets.
        parsed_manifest: stands in if dbt left no manifest.json (an interrupt, run-operation).
            Linked, not copied.
    """
    lost: list[str] = []
    work.mkdir(parents=True, exist_ok=True)
    manifest = work / MANIFEST
    if not manifest.exists() and parsed_manifest.exists():
        os.link(parsed_manifest, manifest)
    for path in artifacts_of(Volume(work), work):
        with suppress(NotPlainError):  # nobody uploads it either
            if path.parent == work and path.name in READ_BACK:
                lost += redactor.document(path)
            else:
                redactor.file(path)
    missing = pack_sql(work, redactor)
    final.parent.mkdir(parents=True, exist_ok=True)
    work.rename(final)
    return Published(lost, missing)
