"""Makes the digest of an attempt: what failed and warned, who owns it, what depends on it.

Of what failed, result.json tells; the rest stands in the manifest of a step that failed. Where
there is neither, there is no digest, and what the termination message says has to do. All that is
read here is free of secrets already, as everything is that the sidecar uploads.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dbt_protocol.digests import (
    DIGEST_BYTES,
    MARKS,
    NAME,
    OWNERS,
    Digest,
    DigestExposure,
    DigestNode,
    mark,
)
from dbt_protocol.json_input import parse_json
from dbt_protocol.messages import ProtocolError
from dbt_protocol.result_file import ResultFile, StepResult
from dbt_protocol.summaries import Failure
from dbt_runner.artifact_files import MANIFEST
from dbt_runner.layout import Layout
from dbt_runner.outcome.merge import RESULT
from dbt_runner.upload.manifest_scan import scan_sections
from dbt_runner.volume import Volume

DIGEST = "digest.json"
# Seconds. What is not known by then is not waited for: the pod holds a slot.
_LONGEST = 15.0
# result.json names every node of the run, in some hundred bytes each, and takes ten times its size
# once it is parsed. The sidecar has 256 MiB.
_RESULT_BYTES = 8 << 20
_SKIPPED = "skipped"
_SECTIONS = ("nodes", "sources", "unit_tests", "exposures", "groups")


def keep_digest(layout: Layout, volume: Volume) -> bool:
    """Make the digest, if there is anything to tell, and leave it in a file; whether there is one.

    Whatever goes wrong here, the upload goes on.
    """
    try:
        digest = make_digest(layout, volume)
        if digest is None:
            return False
        with volume.replacing(layout.run / DIGEST) as file:
            file.write(digest.to_json().encode())
    except Exception as error:  # noqa: BLE001 - of files that a tenant's code may have written
        print(f"dbt-operator: there is no digest: {error!r}", flush=True)
        return False
    return True


def read_digest(layout: Layout, volume: Volume) -> list[str]:
    """The lines of the digest that was kept; none where it cannot be read any more."""
    try:
        text = volume.read(layout.run / DIGEST, DIGEST_BYTES).decode()
        return Digest.from_json(text).to_lines()
    except (OSError, ValueError):  # ProtocolError and UnicodeDecodeError are ValueErrors
        return []


def make_digest(layout: Layout, volume: Volume) -> Digest | None:
    """The digest of the attempt whose dbt has ended; None where nothing failed or warned, or
    nothing is known of it.
    """
    file = _read_result(layout, volume)
    if file is None:
        return None
    steps = list(_list_steps(file, layout))
    digest = _tell_nodes(file, [step for _, step in steps])
    if not (digest.failed or digest.warned or digest.skipped):
        return None
    folders = [folder for folder, step in steps if step.state == "Failed"]
    folders += [folder for folder, step in steps if step.state != "Failed"]
    return _Enriched(volume, time.monotonic() + _LONGEST).enrich(digest, folders)


def _read_result(layout: Layout, volume: Volume) -> ResultFile | None:
    """The result of the run, if the supervisor has lived to write it."""
    try:
        document = parse_json(volume.read(layout.run / RESULT, _RESULT_BYTES).decode())
        return ResultFile.from_document(document)
    except (OSError, ProtocolError, ValueError, AttributeError):
        return None


def _list_steps(file: ResultFile, layout: Layout) -> Iterator[tuple[Path, StepResult]]:
    """The steps whose results are known, each with its folder."""
    for step in file.steps or ():
        yield layout.artifacts / step.name, step
    for window in file.windows or ():
        for step in window.steps or ():
            failures = [
                replace(failure, message=f"{window.key}: {failure.message}")
                for failure in step.failures
            ]
            yield layout.artifacts / window.key / step.name, replace(step, failures=failures)


def _tell_nodes(file: ResultFile, steps: Iterable[StepResult]) -> Digest:
    """What the results say by themselves. A node that failed in several windows counts once."""
    failures: dict[str, Failure] = {}
    rows: dict[str, int] = {}
    warned: dict[str, DigestNode] = {}
    for step in steps:
        for failure in step.failures:
            failures.setdefault(failure.unique_id, failure)
        for result in step.results:
            if type(result.failures) is int:
                rows.setdefault(result.unique_id, result.failures)
            if result.status == "warn" and result.may_warn:
                count = rows.get(result.unique_id, -1)
                warned.setdefault(result.unique_id, DigestNode(result.unique_id, "warn", "", count))
    failed = [
        DigestNode(each.unique_id, each.status, each.message, rows.get(each.unique_id, -1))
        for each in failures.values()
        if each.status != _SKIPPED
    ]
    skipped = [each.unique_id for each in failures.values() if each.status == _SKIPPED]
    # The smallest ones: of two long lists the same nodes are kept, whatever else is in them.
    marks = sorted(mark(node.unique_id) for node in failed)[:MARKS]
    return Digest(
        run_uid=file.run_uid,
        attempt=file.attempt,
        failed=failed,
        failed_total=len(failed),
        warned=[*warned.values()],
        warned_total=len(warned),
        skipped=skipped,
        skipped_total=len(skipped),
        marks="".join(marks),
    )


@dataclass
class _Known:
    """What the manifest says of the nodes that matter."""

    parents: dict[str, list[str]] = field(default_factory=dict)
    owners: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)  # by node
    group_owners: dict[str, str] = field(default_factory=dict)  # by group
    tested: dict[str, list[str]] = field(default_factory=dict)  # by test
    stored: dict[str, str] = field(default_factory=dict)
    exposures: dict[str, DigestExposure] = field(default_factory=dict)


class _Enriched:
    """Adds what stands in a manifest."""

    def __init__(self, volume: Volume, deadline: float) -> None:
        self._volume = volume
        self._deadline = deadline

    def enrich(self, digest: Digest, folders: Iterable[Path]) -> Digest:
        """The digest with owners, exposures and relations, as far as they are known.

        Args:
            digest: what the results say.
            folders: those of steps, the one first whose manifest is to be preferred.
        """
        missing = "no step has left a manifest"
        for folder in folders:
            try:
                with self._volume.open(folder / MANIFEST) as file:
                    known = _learn(scan_sections(file, _SECTIONS, self._deadline))
            except OSError:
                continue
            except (ValueError, AttributeError, TypeError, KeyError) as error:
                missing = f"the manifest cannot be read: {error}"
                continue
            return _apply(digest, known)
        return replace(digest, missing=missing)


def _learn(entries: Iterable[tuple[str, str, Any]]) -> _Known:
    known = _Known()
    for section, unique_id, entry in entries:
        if section == "groups":
            name = _text(entry.get("name"))
            known.group_owners[name] = _name_owner(entry.get("owner"))
            continue
        known.parents[unique_id] = _texts((entry.get("depends_on") or {}).get("nodes"))
        if section == "exposures":
            about = DigestExposure(
                _text(entry.get("label")) or _text(entry.get("name")),
                _text(entry.get("type")),
                _name_owner(entry.get("owner")),
            )
            known.exposures[unique_id] = about
            continue
        _learn_node(known, unique_id, entry)
    return known


def _learn_node(known: _Known, unique_id: str, entry: Mapping[str, Any]) -> None:
    config = entry.get("config") or {}
    # dbt keeps meta and group in both places; which one is filled differs between its versions. A
    # table of a source may have none of its own.
    for meta in (config.get("meta"), entry.get("meta"), entry.get("source_meta")):
        if owners := _list_owners(meta):
            known.owners.setdefault(unique_id, owners)
    if group := _text(config.get("group") or entry.get("group")):
        known.groups[unique_id] = group
    if entry.get("resource_type") not in ("test", "unit_test"):
        return
    attached = _text(entry.get("attached_node"))
    known.tested[unique_id] = [attached] if attached else known.parents[unique_id]
    is_stored = config.get("store_failures") or config.get("store_failures_as")
    if is_stored and config.get("store_failures_as") != "ephemeral":
        known.stored[unique_id] = _text(entry.get("relation_name"))


def _apply(digest: Digest, known: _Known) -> Digest:
    failed = {node.unique_id for node in digest.failed}
    exposures = [known.exposures[each] for each in _find_downstream(known, failed)]
    return replace(
        digest,
        failed=[_describe(node, known) for node in digest.failed],
        warned=[_describe(node, known) for node in digest.warned],
        exposures=exposures,
        exposures_total=len(exposures),
    )


def _describe(node: DigestNode, known: _Known) -> DigestNode:
    """With the owners of the node itself; if it has none, and is a test, of what it tests."""
    asked = [node.unique_id, *known.tested.get(node.unique_id, ())]
    group = next((known.groups[each] for each in asked if each in known.groups), "")
    owners = next((known.owners[each] for each in asked if each in known.owners), [])
    of_group = known.group_owners.get(group, "")
    owners = [*owners, *([of_group] if of_group and of_group not in owners else [])]
    stored = known.stored.get(node.unique_id, "")
    return replace(node, owners=owners[:OWNERS], group=group, stored_in=stored)


def _find_downstream(known: _Known, failed: Collection[str]) -> list[str]:
    """The exposures that depend on what failed, over however many nodes. What a test tests is not
    downstream of the test, but whoever uses it is concerned.
    """
    children: dict[str, list[str]] = {}
    for node, parents in known.parents.items():
        for parent in parents:
            children.setdefault(parent, []).append(node)
    reached: set[str] = set()
    waiting = [*failed, *(tested for node in failed for tested in known.tested.get(node, ()))]
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting += children.get(node, ())
    return sorted(reached & known.exposures.keys())


def _list_owners(meta: object) -> list[str]:
    """meta.owner, which is a name, an address, a list of them, or an object with them."""
    if not isinstance(meta, Mapping):
        return []
    owner = meta.get("owner", meta.get("owners"))
    found = owner if isinstance(owner, list) else [owner]
    return [name for name in map(_name_owner, found[:OWNERS]) if name]


def _name_owner(owner: object) -> str:
    """The owner's name; else the e-mail address, of which exposures and groups may have several."""
    if not isinstance(owner, Mapping):
        return _text(owner)
    email = owner.get("email")
    first = next(iter(email), "") if isinstance(email, list) else email
    return _text(owner.get("name")) or _text(first)


def _text(value: object) -> str:
    return value[:NAME] if isinstance(value, str) else ""


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
