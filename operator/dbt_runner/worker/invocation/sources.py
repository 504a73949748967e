"""The files and the code that a manifest was parsed from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Within Jinja's delimiters: in prose and as a column the word is common. The last that opens before
# the word decides, so none is looked over from one that opens earlier.
_LOOKS_AT_FLAGS = re.compile(
    r"\{[{%](?:(?!\}\}|%\}|\{[{%]).)*?\b(flags|invocation_args_dict)\b", re.DOTALL
)


def looks_at_flags(manifest: Any, project: Path) -> bool:
    """Whether the project's own code asks for the command's flags, so that another command could
    parse differently.

    dbt's and the adapter's own macros do so only while a node runs.
    """
    texts = [
        macro.macro_sql
        for macro in manifest.macros.values()
        if macro.package_name not in _built_in()
    ]
    # A flag may be why a node is disabled.
    disabled = [node for nodes in manifest.disabled.values() for node in nodes]
    texts += [getattr(node, "raw_code", "") for node in [*manifest.nodes.values(), *disabled]]
    if any(_LOOKS_AT_FLAGS.search(text or "") for text in texts):
        return True
    files = (path for pattern in ("*.yml", "*.yaml") for path in project.rglob(pattern))
    return any(
        _LOOKS_AT_FLAGS.search(path.read_text(encoding="utf-8", errors="replace")) for path in files
    )


def list_files(manifest: Any, *, built_in: bool = False) -> Iterator[Path]:
    """The files that the project and its packages were parsed from; dbt's own and the adapter's
    only if asked for.
    """
    for file in manifest.files.values():
        if built_in or file.project_name not in _built_in():
            yield Path(file.path.absolute_path)


def _built_in() -> set[str]:
    from dbt.adapters.factory import FACTORY

    return set(FACTORY.packages)
