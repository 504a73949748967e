"""DbtProject: what is run, in which image, and where its artifacts go."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from dbt_operator.api.base import Image, Key, Model, Name, SecretRef, Variables, Word, rules
from dbt_operator.api.pod import Pod
from dbt_operator.api.retry import Defaults
from dbt_operator.api.status import Condition
from dbt_operator.api.text import Known, Moment, Place, Told


class ImageSource(Model):
    """The project is part of the dbt image."""

    path: Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^/.*$")]
    """The absolute path of the folder with dbt_project.yml."""


class Item(Model):
    """A file of the project."""

    key: Key
    """The key in the ConfigMap."""
    path: Annotated[
        str,
        StringConstraints(min_length=1, max_length=253),
        Field(
            json_schema_extra=rules(
                (
                    "!self.startsWith('/') && !self.split('/').exists(p, p == '..')",
                    "must stay inside the project's folder",
                )
            )
        ),
    ]
    """Where it belongs, relative to the project's folder."""


class ConfigMapSource(Model):
    """The project is in a ConfigMap, which holds at most 1 MiB: for small projects and demonstrations."""

    name: Name
    """Name of the ConfigMap. Every key is a file; one that ends in .tar.gz or .tgz is unpacked."""
    items: Annotated[list[Item], Field(min_length=1, max_length=500)] | None = None
    """Which keys are which files, for example {key: orders, path: models/orders.sql}. Default: all, by their names."""


# What git allows for in a ref, and no dash in front: that would be an option.
GitRef = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=255, pattern=r"^[^\x00-\x20\x7f~^:?*\[\\{-][^\x00-\x20\x7f~^:?*\[\\{]*$"
    ),
    Field(json_schema_extra=rules(("!self.contains('..')", "must not contain two dots in a row"))),
]


class GitSource(Model):
    """The project is in a Git repository. Submodules are not followed, and files in Git LFS stay pointers."""

    url: Annotated[
        str,
        StringConstraints(min_length=1, max_length=512),
        Field(
            json_schema_extra=rules(
                (
                    "self.matches('^https?://[^-/?#\\\\s][^/?#\\\\s]*/[^?#\\\\s]+$')"
                    " || self.matches('^ssh://([A-Za-z0-9_][A-Za-z0-9_.:-]*@)?[^-/@\\\\s][^/@\\\\s]*/\\\\S+$')"
                    " || self.matches('^[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^-\\\\s]\\\\S*$')",
                    "must be like https://host/path, ssh://user@host/path or user@host:path",
                ),
                (
                    "!self.matches('^https?://[^/]*@') && !self.matches('^ssh://[^/@]*:[^/@]*@')",
                    "must hold no credentials: put them into a Secret, and name that in secretRef",
                ),
            )
        ),
    ]
    """The repository: https://host/path, ssh://user@host/path or user@host:path; http:// without secretRef only."""
    ref: GitRef | None = None
    """Branch, tag or commit; a branch is preferred to a tag of its name. It is resolved to a commit once in a run, and
    all attempts use that commit. Default: what the repository's HEAD is."""
    sub_path: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=253),
            Field(
                json_schema_extra=rules(
                    (
                        "!self.startsWith('/') && !self.split('/').exists(p, p == '..')",
                        "must stay inside the repository",
                    )
                )
            ),
        ]
        | None
    ) = None
    """The folder with dbt_project.yml. The whole repository is checked out. Default: the repository's top folder."""
    secret_ref: SecretRef | None = None
    """Secret with username and password (a token is a password) for https, and ca.crt if the server's certificate is
    from a CA of your own; or with ssh-privatekey and known_hosts for ssh. Only the init container sees it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!self.url.startsWith('http://') || !has(self.secretRef)",
                "credentials are not sent over http://: use https://, or leave out secretRef",
            )
        )
    )


class Source(Model):
    """Where the project's files come from: exactly one of the following."""

    image: ImageSource | None = None
    """A folder of the dbt image."""
    git: GitSource | None = None
    """A Git repository."""
    config_map: ConfigMapSource | None = None
    """A ConfigMap."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "[has(self.image), has(self.git), has(self.configMap)].filter(set, set).size() == 1",
                "set exactly one of image, git and configMap",
            )
        )
    )


class Artifacts(Model):
    """Where artifacts are uploaded: a bucket of MinIO, S3 or what speaks like it."""

    endpoint: Annotated[
        str,
        StringConstraints(min_length=8, max_length=512, pattern=r"^https?://[^/?#@]+/?$"),
    ]
    """Address of the object store, for example https://s3.eu-west-1.amazonaws.com."""
    bucket: Annotated[str, StringConstraints(min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$")]
    """Name of the bucket. It must exist."""
    prefix: (
        Annotated[str, StringConstraints(max_length=512, pattern=r"^[A-Za-z0-9!_.*'()=-]+(/[A-Za-z0-9!_.*'()=-]+)*$")]
        | None
    ) = None
    """Put before every object's name, without a slash at either end."""
    region: Word | None = None
    """The region that requests are signed for."""
    secret_ref: SecretRef | None = None
    """Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Default: the identity of the pod's ServiceAccount."""
    insecure: bool | None = None
    """Allow an endpoint that begins with http://. Default: false."""
    on_failure: Literal["Warn", "Fail"] | None = None
    """Fail: a run whose artifacts did not all arrive has failed, with reason UploadFailed. Default: Warn, which leaves
    the verdict as it is and says so in the condition ArtifactsUploaded."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!self.endpoint.startsWith('http:') || (has(self.insecure) && self.insecure)",
                "an endpoint without TLS needs insecure: true",
            )
        )
    )


Deps = Literal["IfMissing", "Always", "Never"]


class DbtProjectSpec(Model):
    """What is run."""

    image: Annotated[
        Image,
        Field(
            json_schema_extra=rules(
                (
                    "self.matches('@sha256:[0-9a-f]{64}$') || (self.matches(':[^:/@]+$') && !self.endsWith(':latest'))",
                    "must be pinned: give a digest (@sha256:...) or a tag that is not latest",
                )
            )
        ),
    ]
    """Image with dbt and its adapter, pinned by a digest or by a tag that is not latest."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """As in a container of a pod."""
    image_pull_secrets: Annotated[list[SecretRef], Field(max_length=16)] | None = None
    """Secrets for the registry."""
    source: Source
    """Where the project's files come from."""
    deps: Deps | None = None
    """Whether dbt deps runs before the first step. IfMissing: if dbt says that packages are not installed. Always: if
    packages.yml or dependencies.yml names any. Default: IfMissing."""
    parse_cache: Literal["Auto", "Never"] | None = None
    """Whether what dbt has parsed is kept in the bucket for later runs. Auto: unless the project
    asks, while it is parsed, for what differs from run to run: run_started_at, invocation_id, the
    time of day or dbt's flags.
    Default: Auto."""
    env: Variables | None = None
    """Environment of the dbt container. A target's env is put over it, a run's over both."""
    artifacts: Artifacts
    """Where artifacts are uploaded."""
    pod: Pod | None = None
    """What may be set on the pods."""
    defaults: Defaults | None = None
    """What holds for runs that leave it out."""


class StateEntry(Model):
    """The current state of a target: what runs against it are compared with."""

    target: Known
    """The DbtTarget."""
    run: Known
    """The DbtRun that left it."""
    key: Place
    """Its folder in the bucket."""
    commit: Told | None = None
    """The commit that was built."""
    dbt_version: Told | None = None
    """The dbt-core that built it."""
    at: Moment
    """When dbt started in that run. A state is never replaced by one that was begun earlier."""


class DbtProjectStatus(Model):
    """What the operator found."""

    observed_generation: int | None = None
    """The generation of the spec that this status is about."""
    conditions: Annotated[list[Condition], Field(max_length=16)] | None = None
    """Ready, Reconciling, Stalled."""
    states: Annotated[list[StateEntry], Field(max_length=256)] | None = None
    """The current state of each target."""


class DbtProject(Model):
    """What is run: an image with dbt, the project's files, and the bucket for its artifacts."""

    spec: DbtProjectSpec
    """What is run."""
    status: DbtProjectStatus | None = None
    """What the operator found."""
