"""The labels and annotations that a template gives its runs, without those by which Helm, Argo CD
and Flux know what is theirs: they would delete such a run, as it stands in no repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dbt_operator.api.kinds.schedule import TemplateMetadata
from dbt_operator.planning.common.managers import is_tracking


@dataclass(frozen=True)
class Marks:
    """What runs get, and what was left out, by its path in the spec."""

    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def find_marks(metadata: TemplateMetadata | None) -> Marks:
    """What runs get of the metadata of a template."""
    if metadata is None:
        return Marks()
    labels, annotations = metadata.labels or {}, metadata.annotations or {}
    left_out = (*_find_tracking("labels", labels), *_find_tracking("annotations", annotations))
    return Marks(_without_tracking(labels), _without_tracking(annotations), left_out)


def _without_tracking(marks: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in marks.items() if not is_tracking(name)}


def _find_tracking(field_name: str, marks: Mapping[str, str]) -> list[str]:
    return [f"{field_name}[{name}]" for name in sorted(marks) if is_tracking(name)]
