"""What the warehouses' clients say of an error, each in its own way."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from http import HTTPStatus

from dbt_runner.worker.invocation.spark_errors import describe_server_error

_DEEPEST = 10  # errors behind an error
_DBT = ("dbt", "dbt_common", "dbt_adapters", "builtins", "click", "jinja2")
_SHOWN = 4_000  # characters of a message that are looked at
_ERROR_CLASS = re.compile(r"\[([A-Z][A-Z0-9_.]{1,100})\]")
_SQLSTATE = re.compile(r"SQLSTATE:? \(?([0-9A-Z]{5})\b")
_NO_SQLSTATE = "n/a"  # as Snowflake has it


def describe_error(error: BaseException | None) -> dict[str, str]:
    """The classes, codes and words of the errors behind one of dbt's; nothing if none is the
    client's, the server's or the system's.
    """
    everything = list(follow(error))
    said = [describe_server_error(_find_text(each)) for each in everything]
    if any(said):
        return next(filter(None, said))
    chain = [each for each in everything if _is_foreign(each)]
    if not chain:
        return {}
    codes = dict.fromkeys(code for each in chain for code in _codes(each))
    classes = dict.fromkeys(
        cls.__name__ for each in chain for cls in type(each).__mro__ if cls.__module__ != "builtins"
    )
    builtin = [type(each).__name__ for each in chain if isinstance(each, OSError)]
    return {
        "system": type(chain[0]).__module__.partition(".")[0].lstrip("_"),
        "classes": " ".join(dict.fromkeys([*classes, *builtin])),
        "codes": " ".join(codes),
        "text": _find_text(chain[0]).strip(),
    }


def follow(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was raised out of."""
    for _ in range(_DEEPEST):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__ or _find_hidden_cause(error)


def _find_hidden_cause(error: BaseException) -> BaseException | None:
    """An error that another was made of, but not raised out of."""
    hidden = [getattr(error, "cause", None), *error.args[1:2]]  # Snowflake; Databricks
    return next((each for each in hidden if isinstance(each, BaseException)), None)


def _is_foreign(error: BaseException) -> bool:
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] not in _DBT


def _find_text(error: BaseException) -> str:
    """The words of an error.

    Redshift's are in a dictionary, of which it shows the representation: the message and details.
    Of an answer by Thrift they are in its status. dbt puts a title before its own.
    """
    words = error.args[0] if error.args else None
    if isinstance(words, dict):
        return "\n".join(str(words[key]) for key in ("M", "D") if key in words)
    status = getattr(getattr(words, "status", None), "errorMessage", None)
    if isinstance(status, str):
        return status
    if isinstance(words, str) and not _is_foreign(error):
        return words
    return str(error)


def _codes(error: BaseException) -> Iterator[str]:
    """What an error says of itself for programs, in whichever way its client has for that; the
    more special before the more general.
    """
    found: list[object] = [getattr(error, "pgcode", None)]  # psycopg2
    number = getattr(error, "errno", None)
    if isinstance(error, OSError):
        found.append(errno.errorcode.get(number or 0))
    elif isinstance(number, int) and number >= 0:  # Snowflake
        found.append(f"{number:06d}")
    found.append(getattr(error, "sqlstate", None))  # Snowflake, ADBC
    found += [each.get("C") for each in error.args[:1] if isinstance(each, dict)]  # Redshift
    found.append(getattr(error, "error_code", None))  # Databricks' SDK
    if type(error).__module__.startswith("databricks"):
        found += _ERROR_CLASS.findall(str(error)[:_SHOWN])
        found += _SQLSTATE.findall(str(error)[:_SHOWN])
    reasons = _find_reasons(error)
    found += [*reasons, *_find_http_statuses(error, has_reason=bool(reasons))]
    yield from (each for each in found if isinstance(each, str) and each != _NO_SQLSTATE and each)


def _find_reasons(error: BaseException) -> list[object]:
    """What Google's clients say, and what AWS' do, of a login at Redshift."""
    errors = getattr(error, "errors", None)
    rows = errors if isinstance(errors, list) else []
    found = [each.get("reason") for each in rows if isinstance(each, dict)]
    if getattr(error, "retryable", None) is True and type(error).__module__.startswith("google"):
        found.append("retryable")
    response = getattr(error, "response", None)
    details = response.get("Error") if isinstance(response, dict) else None
    found.append(details.get("Code") if isinstance(details, dict) else None)
    return [each for each in found if each]


def _find_http_statuses(error: BaseException, *, has_reason: bool) -> Iterator[str]:
    """As HTTP503: the statuses that an error says, of answers that were errors.

    Google's client calls it 500 where it does not know what a job's own reason means.
    """
    context = getattr(error, "context", None)  # databricks.sql
    status = context.get("http-code") if isinstance(context, dict) else None
    made_up = has_reason and getattr(error, "response", None) is None
    for each in (status, getattr(error, "code", None), getattr(error, "status_code", None)):
        if not isinstance(each, int) or each < HTTPStatus.BAD_REQUEST:
            continue
        if not (made_up and each >= HTTPStatus.INTERNAL_SERVER_ERROR):
            yield f"HTTP{int(each)}"
