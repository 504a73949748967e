"""The object store, through minio's client: for the sidecar, which uploads, and the init container,
which restores.

Only these two containers see its Secret. The client is imported when it is needed, and retrying is
left to the callers, who know how much time there is.

A key needs s3:GetObject and s3:PutObject for the objects below the prefix. Without s3:ListBucket
for the bucket, S3 answers 403 and not 404 when it is asked for an object that does not exist, so
whoever asks has to decide what a refusal means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from dbt_protocol.plans import Bucket
from dbt_runner.volume import LARGEST_FILE, NotPlainError, Volume

if TYPE_CHECKING:
    import ssl

    from minio.datatypes import Object
    from minio.helpers import ObjectWriteResult

PARALLEL = 4  # uploads, and one more of what matters most
_PART_BYTES = 1 << 20
_CONNECT_SECONDS, _READ_SECONDS = 5.0, 30.0
# With these the store says that trying again is of no use.
_FINAL = {
    "AccessDenied",
    "NoSuchBucket",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidBucketName",
    # The variables of this process do not change any more.
    "ExpiredToken",
    "InvalidToken",
}
_ABSENT, _DENIED = "NoSuchKey", "AccessDenied"
_LOGIN = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_READING = "s3:GetObject for the object and, to tell whether there is one, s3:ListBucket"
_WRITING = "s3:PutObject and s3:GetObject for the object"


class BucketError(Exception):
    """The store refuses or cannot be reached; the message names no credentials."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final  # trying again is of no use


class DeniedError(BucketError):
    """The key may not read an object, or there is none: a store tells the two apart only for those
    who may list its objects.
    """


class UploadError(BucketError):
    """An object did not arrive."""


class MinioStore:
    """An S3-compatible store. The bucket has to exist: it is an administrator's to make."""

    def __init__(self, bucket: Bucket, env: Mapping[str, str]) -> None:
        # heavy: only when there is something to do, because dbt needs the CPU at the pod's start
        import minio

        address = urlsplit(bucket.endpoint)
        self._bucket = bucket
        self._errors = minio.error
        self._client = minio.Minio(
            address.netloc,
            secure=address.scheme != "http",
            region=bucket.region,
            credentials=_credentials(bucket, env),
            http_client=_http(_trust(bucket, env)),
        )

    def put(self, key: str, file: BinaryIO, size: int, content_type: str) -> None:
        """Upload so many bytes of an opened file, which may have more by now.

        The body travels with a checksum; size and ETag show that the store has kept just that.

        Raises:
            UploadError: it has not arrived whole.
        """
        try:
            sent = self._client.put_object(self._bucket.name, key, file, size, content_type)
            kept = self._client.stat_object(self._bucket.name, key)
        except Exception as error:  # noqa: BLE001 - what is not known goes on as it is
            hint = self._name_permission(error, _WRITING)
            raise self._translated(key, error, UploadError, hint) from None
        self._check(key, size, kept, sent)

    def copy(self, source: str, key: str, size: int) -> None:
        """Have the store make an object like another one, of so many bytes.

        Raises:
            UploadError: it has not, or the other one has another size.
        """
        from minio.commonconfig import CopySource

        name = self._bucket.name
        try:
            copied = self._client.copy_object(name, key, CopySource(name, source))
            kept = self._client.stat_object(name, key)
        except Exception as error:  # noqa: BLE001 - what is not known goes on as it is
            raise self._translated(key, error, UploadError) from None
        self._check(key, size, kept, copied)

    def get(self, key: str, volume: Volume, path: Path) -> bool:
        """Download an object to a file, complete or not at all; whether there is such an object.

        Raises:
            DeniedError: there is none, or the key may not read it.
            BucketError: the store refuses or cannot be reached, or the file cannot be written.
        """
        try:
            answer = self._client.get_object(self._bucket.name, key)
            try:
                with volume.replacing(path) as file:
                    _copy(answer.stream(_PART_BYTES), file)
            finally:
                answer.close()
                answer.release_conn()
        except self._errors.S3Error as error:
            if error.code == _ABSENT:
                return False
            hint = self._name_permission(error, _READING)
            is_about_object = error.code == _DENIED and hint.endswith(_READING)
            kind = DeniedError if is_about_object else BucketError
            raise self._translated(key, error, kind, hint) from None
        except Exception as error:  # noqa: BLE001 - what is not known goes on as it is
            raise self._translated(key, error, BucketError) from None
        return True

    def _check(self, key: str, size: int, kept: Object, sent: ObjectWriteResult) -> None:
        if kept.size != size or kept.etag != sent.etag:
            raise UploadError(self._message(key, f"the store holds {kept.size} bytes of {size}"))

    def _name_permission(self, error: Exception, needed: str) -> str:
        """What to add to a refusal. Of a bucket whose region is not known, that is asked first."""
        if not isinstance(error, self._errors.S3Error) or error.code != _DENIED:
            return ""
        if not self._bucket.region and "location" in (error.response.geturl() or ""):
            return "; set artifacts.region, or let the key have s3:GetBucketLocation for the bucket"
        return f"; the key needs {needed}"

    def _translated(
        self, key: str, error: Exception, kind: type[BucketError], hint: str = ""
    ) -> BucketError:
        """The client's exceptions as one of ours; what is none of the client's goes on as it is."""
        import urllib3

        if isinstance(error, self._errors.S3Error):
            return kind(
                self._message(key, f"{error.code}: {error.message}{hint}"),
                final=error.code in _FINAL,
            )
        if isinstance(error, urllib3.exceptions.HTTPError):
            reason = getattr(error, "reason", None) or error
            return kind(self._message(key, f"{type(reason).__name__}, the store cannot be reached"))
        if isinstance(error, (self._errors.MinioException, ValueError, OSError)):
            final = isinstance(error, NotPlainError)
            return kind(self._message(key, f"{type(error).__name__}: {error}"), final=final)
        raise error

    def _message(self, key: str, what: str) -> str:
        return (
            f"{self._bucket.endpoint}, bucket {self._bucket.name}: {key.rsplit('/', 1)[-1]}: {what}"
        )


def _copy(parts: Iterable[bytes], file: BinaryIO) -> None:
    size = 0
    for part in parts:
        size += len(part)
        if size > LARGEST_FILE:
            raise NotPlainError(f"it has more than {LARGEST_FILE} bytes")
        file.write(part)


def _credentials(bucket: Bucket, env: Mapping[str, str]) -> object:
    from minio.credentials import IamAwsProvider, StaticProvider

    key, secret, token = (_read_login(bucket, env, name) for name in _LOGIN)
    if key and secret:
        return StaticProvider(key, secret, token or None)
    # the pod's identity
    return IamAwsProvider(region=bucket.region, http_client=_http(_trust(bucket, env)))


def _read_login(bucket: Bucket, env: Mapping[str, str], name: str) -> str:
    """A part of the login, without the line end that `echo` has put into the Secret.

    Raises:
        BucketError: it holds a blank or a line end within, so it goes into no header; the error of
            whoever tried would show it.
    """
    value = env.get(name, "").strip()
    if len(value.split()) > 1:
        raise BucketError(f"{bucket.endpoint}: there are blanks or lines in {name}", final=True)
    return value


def _trust(bucket: Bucket, env: Mapping[str, str]) -> ssl.SSLContext:
    """Whom the store's certificate may be from: whom everybody trusts, and the project's own CA.

    Raises:
        BucketError: the CA's certificates cannot be read.
    """
    import ssl

    import certifi

    context = ssl.create_default_context(cafile=env.get("SSL_CERT_FILE") or certifi.where())
    if bucket.ca:
        try:
            context.load_verify_locations(cafile=bucket.ca)
        except OSError as error:  # ssl.SSLError is one
            why = f"artifacts.caSecretRef holds no certificates that can be read: {error}"
            raise BucketError(f"{bucket.endpoint}: {why}", final=True) from None
    return context


def _http(trust: ssl.SSLContext) -> object:
    """A client that gives up soon: retrying is the uploader's business, which knows how much time
    is left.
    """
    import urllib3

    return urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
        retries=False,
        maxsize=PARALLEL + 2,  # the parse cache, too
        ssl_context=trust,
    )
