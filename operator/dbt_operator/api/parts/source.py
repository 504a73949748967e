"""Where a project's files come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from dbt_operator.api.base import Key, Model, Name, SecretRef, rules


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
    """The project is in a ConfigMap, which holds at most 1 MiB: for small projects and
    demonstrations.
    """

    name: Name
    """Name of the ConfigMap. Every key is a file; one that ends in .tar.gz or .tgz is unpacked."""
    items: Annotated[list[Item], Field(min_length=1, max_length=500)] | None = None
    """Which keys are which files, for example {key: orders, path: models/orders.sql}. Default: all,
    by their names.
    """


# What git allows for in a ref, and no dash in front: that would be an option.
GitRef = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=255,
        pattern=r"^[^\x00-\x20\x7f~^:?*\[\\{-][^\x00-\x20\x7f~^:?*\[\\{]*$",
    ),
    Field(json_schema_extra=rules(("!self.contains('..')", "must not contain two dots in a row"))),
]


class GitSource(Model):
    """The project is in a Git repository."""

    url: Annotated[
        str,
        StringConstraints(min_length=1, max_length=512),
        Field(
            json_schema_extra=rules(
                (
                    (
                        "self.matches('^https?://[^-/?#\\\\s][^/?#\\\\s]*/[^?#\\\\s]+$')"
                        " || "
                        "self.matches('^ssh://([A-Za-z0-9_][A-Za-z0-9_.:-]*@)?"
                        "[^-/@\\\\s][^/@\\\\s]*/\\\\S+$')"
                        " || "
                        "self.matches('^[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:"
                        "[^-\\\\s]\\\\S*$')"
                    ),
                    "must be like https://host/path, ssh://user@host/path or user@host:path",
                ),
                (
                    "!self.matches('^https?://[^/]*@') && !self.matches('^ssh://[^/@]*:[^/@]*@')",
                    "must hold no credentials: put them into a Secret, and name that in secretRef",
                ),
            )
        ),
    ]
    """The repository: https://host/path, ssh://user@host/path or user@host:path; http:// without
    secretRef only.
    """
    ref: GitRef | None = None
    """Branch, tag or commit; a branch is preferred to a tag of its name. It is resolved to a commit
    once in a run, and all attempts use that commit. Default: what the repository's HEAD is."""
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
    """The folder with dbt_project.yml. The whole repository is checked out. Default: the
    repository's top folder.
    """
    secret_ref: SecretRef | None = None
    """Secret with username and password (a token is a password) for https, and ca.crt if the
    server's certificate is from a CA of your own; or with ssh-privatekey and known_hosts for ssh,
    where ca.crt is for files that Git LFS keeps. Only the init container sees it."""
    submodules: bool | None = None
    """Whether submodules are checked out, and theirs, from https, http and ssh. The Secret is used
    for those on the repository's own host. Default false: a run whose project needs a submodule
    ends as ConfigError."""
    lfs: bool | None = None
    """Whether the project's files that Git LFS keeps are fetched, from where git fetches or from
    where .lfsconfig says. The Secret is used for the repository's own host. Default false: a run
    whose project holds a pointer of Git LFS ends as ConfigError."""

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
                (
                    "[has(self.image), has(self.git), has(self.configMap)]"
                    ".filter(set, set).size() == 1"
                ),
                "set exactly one of image, git and configMap",
            )
        )
    )


Deps = Literal["IfMissing", "Always", "Never"]
