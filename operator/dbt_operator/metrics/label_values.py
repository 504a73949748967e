"""Whom a series is about. Only what exists becomes a label: who may create runs could otherwise
have as many series made as there are names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dbt_operator.api.registry import PROJECT, SCHEDULE, TARGET
from dbt_operator.cluster.store import Store
from dbt_operator.planning.common.manifests import schedule_of, work

Manifest = Mapping[str, Any]
RunLabels = tuple[str, str, str]  # namespace, project, target

_KINDS = {"project": PROJECT.kind, "target": TARGET.kind, "schedule": SCHEDULE.kind}


class LabelValues:
    """The values of labels, looked up in what is known of the cluster."""

    def __init__(self, find_uid: Callable[[str, str, str], str]) -> None:
        """``find_uid`` gives the UID of an object by kind, namespace and name; empty where there is
        none.
        """
        self._find_uid = find_uid

    @classmethod
    def looked_up(cls, store: Store) -> LabelValues:
        """For one look now and then: each asks the store."""

        def find_uid(kind: str, namespace: str, name: str) -> str:
            found = store.get(kind, namespace, name)
            return "" if found is None else str(found["metadata"]["uid"])

        return cls(find_uid)

    @classmethod
    def read_once(cls, store: Store) -> LabelValues:
        """For thousands of looks at a time: the store is asked once."""
        metadata = [
            (kind, each["metadata"]) for kind in _KINDS.values() for each in store.all(kind)
        ]
        known = {(kind, each["namespace"], each["name"]): each["uid"] for kind, each in metadata}
        return cls(lambda kind, namespace, name: known.get((kind, namespace, name), ""))

    def find_run(self, run: Manifest) -> RunLabels:
        """Namespace, project and target of a run or backfill."""
        return self.find_work(run["metadata"]["namespace"], work(run))

    def find_work(self, namespace: str, spec: Manifest) -> RunLabels:
        """The same for the spec of what is run; empty for what does not exist."""
        project, target = spec["projectRef"]["name"], spec["targetRef"]["name"]
        return (
            namespace,
            project if self._find_uid(PROJECT.kind, namespace, project) else "",
            target if self._find_uid(TARGET.kind, namespace, target) else "",
        )

    def find_schedule(self, run: Manifest) -> str:
        """The schedule that a run or backfill is of; empty for one of none."""
        owner = schedule_of(run)
        if owner is None:
            return ""
        name, uid = owner
        return (
            name if self._find_uid(SCHEDULE.kind, run["metadata"]["namespace"], name) == uid else ""
        )

    def exist(self, labels: Mapping[str, str]) -> bool:
        """Whether everything exists that a series names."""
        namespace = labels.get("namespace", "")
        return all(
            self._find_uid(kind, namespace, labels[label])
            for label, kind in _KINDS.items()
            if labels.get(label)
        )
