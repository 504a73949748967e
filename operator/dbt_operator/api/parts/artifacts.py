"""Where artifacts are stored."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, StringConstraints

from dbt_operator.api.base import KeyRef, Model, SecretRef, Word, rules


class Artifacts(Model):
    """Where artifacts are uploaded: a bucket of MinIO, S3 or what speaks like it."""

    endpoint: Annotated[
        str,
        StringConstraints(min_length=8, max_length=512, pattern=r"^https?://[^/?#@]+/?$"),
    ]
    """Address of the object store, for example https://s3.eu-west-1.amazonaws.com."""
    bucket: Annotated[
        str,
        StringConstraints(min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$"),
    ]
    """Name of the bucket. It must exist."""
    prefix: (
        Annotated[
            str,
            StringConstraints(
                max_length=512, pattern=r"^[A-Za-z0-9!_.*'()=-]+(/[A-Za-z0-9!_.*'()=-]+)*$"
            ),
        ]
        | None
    ) = None
    """Put before every object's name, without a slash at either end."""
    region: Word | None = None
    """The region that requests are signed for."""
    secret_ref: SecretRef | None = None
    """Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and with AWS_SESSION_TOKEN where the
    keys are temporary. Blanks and line ends around the values are left out. Default: the identity
    of the pod's ServiceAccount.
    """
    ca_secret_ref: KeyRef | None = None
    """The Secret and the key in it that hold the certificates, in PEM, of who has signed that of
    the endpoint. They are trusted beside the public ones, and for this bucket only. Default: the
    public ones alone.
    """
    insecure: bool | None = None
    """Allow an endpoint that begins with http://. Default: false."""
    on_failure: Literal["Warn", "Fail"] | None = None
    """Fail: a run whose artifacts did not all arrive has failed, with reason UploadFailed. Default:
    Warn, which leaves the verdict as it is and says so in the condition ArtifactsUploaded."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!self.endpoint.startsWith('http:') || (has(self.insecure) && self.insecure)",
                "an endpoint without TLS needs insecure: true",
            ),
            (
                "!has(self.caSecretRef) || self.endpoint.startsWith('https:')",
                "caSecretRef has a meaning with an endpoint that begins with https:// only",
            ),
        )
    )
