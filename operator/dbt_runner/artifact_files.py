"""Which files of a step's folder are artifacts, and how the folder is handed to the sidecar.

dbt's target path also holds what nobody reads afterwards (graph.gpickle, partial_parse.msgpack),
which stays, and thousands of small files with the SQL of the nodes, which become one archive. A
folder gets its final name only when every artifact in it is free of secrets: the sidecar, which
does not know the secrets, uploads what it finds there at once.

All are found by their names, so that it does not matter what else is in the folder, nor how much.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dbt_runner.volume import Volume

MANIFEST, RUN_RESULTS, SOURCES = "manifest.json", "run_results.json", "sources.json"
# The only command that leaves sources.json.
FRESHNESS = "sourceFreshness"
LOGS = ("dbt.log", "events.jsonl")
ARCHIVE = "compiled.tar.gz"
# What it holds: the SQL of the nodes as it was compiled, and as it was run.
ARCHIVED_FOLDERS = ("compiled", "run")
# What later runs compare with.
STATE_FILES = (MANIFEST, RUN_RESULTS, SOURCES)
# dbt reads them again, in later runs: the names in them must be the project's.
READ_BACK = (*STATE_FILES, "catalog.json", "semantic_manifest.json")
# In the order of their worth.
_FILES = (*READ_BACK, *LOGS, "static_index.html", "index.html", ARCHIVE)
_ROTATED = 9  # dbt rotates dbt.log to dbt.log.1 and so on, and keeps five of them


def artifacts_of(volume: Volume, folder: Path) -> Iterator[Path]:
    """What of a step's folder is worth keeping, in the order of its worth.

    Links and pipes are among it: that they cannot be kept must be told.
    """
    names = (*_FILES, *(f"{LOGS[0]}.{number}" for number in range(1, _ROTATED + 1)))
    return (folder / name for name in names if volume.version(folder / name))
