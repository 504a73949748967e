"""Reads the objects that runs and backfills refer to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import DbtRun
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.api.parts.notify import Notifies, Notify
from dbt_operator.api.parts.run_template import RunTemplateSpec
from dbt_operator.api.parts.state import StateOf
from dbt_operator.cluster import live
from dbt_operator.cluster.client import Cluster
from dbt_operator.cluster.projection import PROJECTED
from dbt_operator.cluster.store import Store
from dbt_operator.common.channels import Channel
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.reading import UnreadableError, read
from dbt_operator.planning.common.references import References
from dbt_operator.planning.notifying.deciding import Listeners

Manifest = Mapping[str, Any]

_NOTIFIES: TypeAdapter[list[Notify]] = TypeAdapter(Notifies)


def identity_of(manifest: Manifest) -> Identity:
    """What metadata says of an object."""
    metadata = manifest["metadata"]
    return Identity(
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        metadata["generation"],
        metadata.get("labels") or {},
        metadata.get("annotations") or {},
    )


class Reader:
    """What both runs and backfills are observed with."""

    def __init__(
        self, cluster: Cluster, store: Store, clock: Callable[[], datetime], runner_image: str
    ) -> None:
        self.cluster = cluster
        self.store = store
        self.clock = clock
        self.runner_image = runner_image
        self.channels: Mapping[str, Channel] = {}  # on which somebody may be told

    def whole(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """An object, asked for live where little of it is kept, or nothing is known of it."""
        manifest = self.store.get(kind, namespace, name)
        if manifest is None or manifest.get(PROJECTED):
            return live.get(self.cluster, self.store, kind, namespace, name)
        return manifest

    def reference(
        self, kind: str, namespace: str, name: str, model: type[Any]
    ) -> tuple[Any, int] | None:
        """What an object refers to, with its generation; None where there is none."""
        manifest = self.whole(kind, namespace, name)
        return (
            None
            if manifest is None
            else (read(model, manifest), manifest["metadata"]["generation"])
        )

    def find_listeners(
        self, chosen: Sequence[Notify] | None, project: str, namespace: str
    ) -> Listeners:
        """Who is to be told: whom an object names, or, where it names nobody, its project."""
        if chosen is None:
            chosen = self._read_default_listeners(project, namespace)
        return Listeners(chosen, self.channels, namespace)

    def find_readable_listeners(
        self, chosen: Sequence[object], project: str, namespace: str
    ) -> Listeners:
        """The same for an object that may name what cannot be read: then it names nobody."""
        for each in chosen:
            try:
                return Listeners(_NOTIFIES.validate_python(each), self.channels, namespace)
            except ValidationError:
                continue
        return self.find_listeners(None, project, namespace)

    def _read_default_listeners(self, project: str, namespace: str) -> Sequence[Notify]:
        manifest = self.store.get("DbtProject", namespace, project)
        defaults = manifest["spec"].get("defaults") if manifest else None
        if not defaults or not defaults.get("notify"):
            return ()
        try:
            return _NOTIFIES.validate_python(defaults["notify"])
        except ValidationError:
            return ()  # what is wrong with the project is said elsewhere

    def read_references(self, spec: RunTemplateSpec, namespace: str) -> References:
        """What a run or backfill refers to. What cannot be read is nobody's fault but its own: it
        counts as not there, with what is wrong.
        """
        unreadable: dict[str, str] = {}

        def look(kind: str, name: str, model: type[Any]) -> tuple[Any, int] | None:
            try:
                return self.reference(kind, namespace, name, model)
            except UnreadableError as error:
                unreadable[f"{kind} {name}"] = error.why
                return None

        project = look("DbtProject", spec.project_ref.name, DbtProject)
        target = look("DbtTarget", spec.target_ref.name, DbtTarget)
        source = spec.state.from_ if spec.state else None
        by_name = isinstance(source, StateOf) and source.run
        run = look("DbtRun", by_name, DbtRun) if by_name else None
        state_run = run[0] if run else None
        return References(project, target, state_run, unreadable)
