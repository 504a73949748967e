"""On which nodes the pods are, beside those of others."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from dbt_operator.api.base import Model, rules
from dbt_operator.api.parts.steps import FreeForm

LabelName = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=317,
        pattern=(
            r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
        ),
    ),
]
_Policy = Literal["Honor", "Ignore"]


class TopologySpreadConstraint(Model):
    """As in a pod: how evenly pods are spread over the cluster."""

    max_skew: Annotated[int, Field(ge=1, le=1000)]
    """By how many pods one domain may have more than another."""
    topology_key: LabelName
    """The label of nodes whose values are the domains, for example topology.kubernetes.io/zone."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    """What becomes of a pod that would make the difference larger: it waits, or it is put where it
    makes the least of it."""
    label_selector: FreeForm | None = None
    """The labels of the pods that are counted, for example matchLabels with
    dbt-operator.dev/project. Default: none are."""
    match_label_keys: Annotated[list[LabelName], Field(max_length=16)] | None = None
    """Labels whose values are those of the pod itself, beside labelSelector."""
    min_domains: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How many domains there have to be, for DoNotSchedule only."""
    node_affinity_policy: _Policy | None = None
    """Whether nodes that nodeSelector and affinity leave out are left out here. Default: Honor."""
    node_taints_policy: _Policy | None = None
    """Whether nodes whose taints the pod does not tolerate are left out. Default: Ignore."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.minDomains) || self.whenUnsatisfiable == 'DoNotSchedule'",
                "minDomains has a meaning with whenUnsatisfiable: DoNotSchedule only",
            ),
            (
                "!has(self.matchLabelKeys) || has(self.labelSelector)",
                "matchLabelKeys are put beside a labelSelector: set it, too",
            ),
        )
    )


TopologySpreadConstraints = Annotated[
    list[TopologySpreadConstraint],
    Field(
        max_length=8,
        json_schema_extra=rules(
            (
                (
                    "self.all(a, self.exists_one(b, b.topologyKey == a.topologyKey"
                    " && b.whenUnsatisfiable == a.whenUnsatisfiable))"
                ),
                "two constraints have one topologyKey and one whenUnsatisfiable",
            )
        ),
    ),
]
