"""The files that a project's code is in, and what they say of its secrets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dbt_runner.layout import Layout
from dbt_runner.project_words import read_text, survey
from dbt_runner.redact import Known, Redactor
from dbt_runner.worker import sharing
from dbt_runner.worker.dbt_api import DbtApi


def list_code(
    dbt: DbtApi, project: Path, layout: Layout, manifests: Iterable[Any]
) -> Iterator[Path]:
    """All files that can hold a project's code, also those of packages outside of its folder once
    they are known. Some come twice.

    Args:
        dbt: knows what was parsed.
        project: the project's folder.
        layout: knows where the profile is, which is code as well.
        manifests: what has been parsed.
    """
    yield from sharing.code(project)
    yield layout.profile
    for manifest in manifests:
        yield from dbt.list_files(manifest)


def survey_words(redactor: Redactor, layout: Layout, files: Iterable[Path]) -> Known:
    """Read what a project says, to tell its words from secrets."""
    # The profile is read in another way than the rest.
    texts = (read_text(path) for path in dict.fromkeys(files) if path != layout.profile)
    return survey(redactor, texts, read_text(layout.profile), os.environ)
