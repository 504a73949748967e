"""What may be set on the pods: a list of what is allowed, not a PodSpec, so that every pod stays
restricted.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from dbt_operator.api.base import Key, Model, Name, Word, rules
from dbt_operator.api.parts.name_resolution import DnsConfig, HostAlias
from dbt_operator.api.parts.placement import TopologySpreadConstraints
from dbt_operator.api.parts.pod_marks import PodAnnotations, PodLabels
from dbt_operator.api.parts.steps import FreeForm

Quantity = Annotated[
    int | str,
    Field(json_schema_extra={"x-kubernetes-int-or-string": True}),
]


class Resources(Model):
    """As in a container of a pod."""

    requests: Annotated[dict[str, Quantity], Field(max_length=16)] | None = None
    """What is set aside."""
    limits: Annotated[dict[str, Quantity], Field(max_length=16)] | None = None
    """What it may use at most."""


class Toleration(Model):
    """As in a pod."""

    key: Word | None = None
    """The taint's key."""
    operator: Literal["Exists", "Equal"] | None = None
    """How value is compared. Default: Equal."""
    value: Word | None = None
    """The taint's value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect. Default: all."""
    toleration_seconds: int | None = None
    """For NoExecute: how long the pod stays."""


class RunPod(Model):
    """What a run may set on its pods. Maps are merged over those of the project by key, lists
    replace them.
    """

    resources: Resources | None = None
    """Of the dbt container. Default: 250m CPU and 512Mi requested, no limits."""
    sidecar_resources: Resources | None = None
    """Of each of the operator's own containers, which fetch the source and upload artifacts.
    Default: 10m CPU and 64Mi requested, at most 256Mi."""
    ephemeral_storage: Quantity | None = None
    """The most that the project with dbt's target path, and /tmp, may each take on the node. What
    takes more is evicted. Default: no limit but the node's."""
    node_selector: Annotated[dict[str, Word], Field(max_length=32)] | None = None
    """Labels that a node must have."""
    affinity: FreeForm | None = None
    """As in a pod."""
    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = None
    """Taints that the pods tolerate."""
    priority_class_name: Name | None = None
    """As in a pod."""
    labels: PodLabels | None = None
    """Labels of the pods, for example of a cost centre. A run may set those that allowedRunLabels
    of its target names."""
    annotations: PodAnnotations | None = None
    """Annotations of the pods. A run may set those that allowedRunLabels of its target names."""


class VolumeItem(Model):
    """A file of a volume."""

    key: Key
    """The key in the Secret or ConfigMap."""
    path: Annotated[
        str,
        StringConstraints(min_length=1, max_length=253),
        Field(
            json_schema_extra=rules(
                (
                    "!self.startsWith('/') && !self.split('/').exists(p, p == '..')",
                    "must stay inside the volume",
                )
            )
        ),
    ]
    """Where it belongs in the volume."""


VolumeItems = Annotated[list[VolumeItem], Field(min_length=1, max_length=50)]


class ClaimVolume(Model):
    """A PersistentVolumeClaim of the same namespace, for example with a DuckDB file."""

    claim_name: Name
    """Its name."""


class ConfigMapVolume(Model):
    """A ConfigMap of the same namespace, for example with a CA's certificates."""

    name: Name
    """Its name."""
    items: VolumeItems | None = None
    """Which keys are which files. Default: all, by their names."""


class SecretVolume(Model):
    """A Secret of the same namespace, for example with a key file that the profile names."""

    secret_name: Name
    """Its name."""
    items: VolumeItems | None = None
    """Which keys are which files. Default: all, by their names."""
    default_mode: Annotated[int, Field(ge=0, le=0o777)] | None = None
    """Mode of the files, which are root's and of the group fsGroup; the kubelet lets the group read
    them in any case. YAML takes 0440, JSON only 288. Default: 0440, as what reads private keys asks
    for: libpq takes one of root's that its group may read, and none that everybody may."""


class EmptyDirVolume(Model):
    """A folder of the pod's own."""

    medium: Literal["Memory"] | None = None
    """Memory: in memory, which counts as that of the container. Default: on the node's disk."""
    size_limit: Quantity | None = None
    """How much it may hold."""


_OWN_PATHS = "['tmp', 'dev', 'proc', 'sys']"


class Volume(Model):
    """A volume of the dbt container: where it is mounted, and exactly one of what it is."""

    name: Annotated[
        str,
        StringConstraints(min_length=1, max_length=40, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"),
    ]
    """Its name, unique among the volumes."""
    mount_path: Annotated[
        str,
        StringConstraints(min_length=2, max_length=512, pattern=r"^(/[-A-Za-z0-9_.@+]+)+$"),
        Field(
            json_schema_extra=rules(
                ("!self.split('/').exists(p, p in ['.', '..'])", "must not hold . or .."),
                (
                    f"!(self.split('/')[1] in {_OWN_PATHS}) && !self.startsWith('/dbt-operator')",
                    (
                        "must not be in /dbt-operator*, /tmp, /dev, /proc or /sys, which are not "
                        "the project's"
                    ),
                ),
            )
        ),
    ]
    """Where it is mounted."""
    sub_path: (
        Annotated[
            str,
            StringConstraints(
                min_length=1, max_length=512, pattern=r"^[-A-Za-z0-9_.@+]+(/[-A-Za-z0-9_.@+]+)*$"
            ),
            Field(
                json_schema_extra=rules(
                    ("!self.split('/').exists(p, p == '..')", "must stay inside the volume")
                )
            ),
        ]
        | None
    ) = None
    """The part of the volume that is mounted. Default: all of it."""
    read_only: bool | None = None
    """Mount it so that it cannot be written. Default: false."""
    persistent_volume_claim: ClaimVolume | None = None
    """A PersistentVolumeClaim."""
    config_map: ConfigMapVolume | None = None
    """A ConfigMap."""
    secret: SecretVolume | None = None
    """A Secret."""
    empty_dir: EmptyDirVolume | None = None
    """A folder of the pod's own."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "[has(self.persistentVolumeClaim), has(self.configMap), has(self.secret), "
                    "has(self.emptyDir)].filter(set, set).size() == 1"
                ),
                "set exactly one of persistentVolumeClaim, configMap, secret and emptyDir",
            )
        )
    )


class Pod(RunPod):
    """What a project may set on the pods of its runs."""

    volumes: (
        Annotated[
            list[Volume],
            Field(
                max_length=8,
                json_schema_extra=rules(
                    (
                        "self.all(v, self.exists_one(w, w.name == v.name))",
                        "two volumes have the same name",
                    ),
                    (
                        "self.all(v, self.exists_one(w, w.mountPath == v.mountPath))",
                        "two volumes have one mountPath",
                    ),
                ),
            ),
        ]
        | None
    ) = None
    """Volumes of the dbt container, of the same namespace."""
    labels: PodLabels | None = None
    """Labels of the pods, for example one that keeps a service mesh from injecting its proxy."""
    annotations: PodAnnotations | None = None
    """Annotations of the pods."""
    host_aliases: Annotated[list[HostAlias], Field(max_length=32)] | None = None
    """Names of hosts that no DNS server knows, as in a pod."""
    dns_config: DnsConfig | None = None
    """Servers and options for looking names up, as in a pod."""
    runtime_class_name: Name | None = None
    """The RuntimeClass of the pods, for example one with a sandbox."""
    topology_spread_constraints: TopologySpreadConstraints | None = None
    """How pods are spread over nodes or zones, as in a pod."""
    run_as_user: Annotated[int, Field(ge=1)] | None = None
    """User of all containers, but for the init container that fetches a Git repository over ssh,
    which is 65532. Default: 65532. Never root."""
    fs_group: Annotated[int, Field(ge=1)] | None = None
    """Group that owns the pod's volumes. Default: that of runAsUser."""
