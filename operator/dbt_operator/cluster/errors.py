"""What may come of a request to the API server."""

from __future__ import annotations

from dbt_protocol.json_input import parse_json

# As etcd says it, and its client before it asks etcd; the API server passes both on as an internal
# error (500).
_TOO_LARGE = ("request is too large", "trying to send message larger than max")


class ClusterError(Exception):
    """The API server refused a request or did not answer; the request may be tried again."""


class NotFoundError(ClusterError):
    """The object does not exist."""


class ConflictError(ClusterError):
    """The object has changed since it was read, or exists already."""


class InvalidError(ClusterError):
    """The API server finds the object wrong (400, 403, 422): trying again changes nothing by
    itself.
    """


class NoNameError(InvalidError, NotFoundError):
    """No object can have this name, or no namespace: so there is none, and nothing is asked for."""


class TooLargeError(InvalidError):
    """The object is larger than the API server or its etcd takes."""


def translate_error(status: int, reason: str, body: bytes) -> ClusterError:
    """The exception for an answer of the API server that is no success."""
    message = _read_message(body)
    kinds = {
        400: InvalidError,
        403: InvalidError,
        404: NotFoundError,
        409: ConflictError,
        413: TooLargeError,
        422: InvalidError,
    }
    kind = kinds.get(status, ClusterError)
    if status >= 500 and any(words in message for words in _TOO_LARGE):
        kind = TooLargeError
    return kind(f"{status} {reason}: {message}")


def _read_message(body: bytes) -> str:
    try:
        return str(parse_json(body)["message"])
    except (ValueError, TypeError, KeyError):
        return body.decode(errors="replace")[:500]
