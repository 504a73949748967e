"""Which files of a step's folder are artifacts, and how the folder is handed to the sidecar.

dbt's target path also holds what nobody reads afterwards (graph.gpickle, partial_parse.msgpack,
run/), which stays. A folder gets its final name only when every artifact in it is free of secrets:
the sidecar, which does not know the secrets, uploads what it finds there at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dbt_runner.volume import Volume

MANIFEST, RUN_RESULTS, SOURCES = "manifest.json", "run_results.json", "sources.json"
# The only command that leaves sources.json.
FRESHNESS = "sourceFreshness"
LOGS = ("dbt.log", "events.jsonl")
_FILES = {
    MANIFEST,
    RUN_RESULTS,
    SOURCES,
    "catalog.json",
    "semantic_manifest.json",
    "static_index.html",
    "index.html",
    *LOGS,
}
_FOLDERS = ("compiled",)
# dbt reads them again, in later runs: the names in them must be the project's.
_READ_BACK = {MANIFEST, RUN_RESULTS, SOURCES, "catalog.json", "semantic_manifest.json"}


def artifacts_of(volume: Volume, folder: Path) -> Iterator[Path]:
    """What of a step's folder is worth keeping, in the order of the names.

    Links and pipes are among it: that they cannot be kept must be told.
    """
    for path, is_folder in volume.entries(folder):
        # dbt.log is rotated to dbt.log.1 and so on.
        if not is_folder and (path.name in _FILES or path.name.startswith("dbt.log.")):
            yield path
        elif is_folder and path.name in _FOLDERS:
            yield from volume.files(path)
