"""The texts of a status. What others tell has no limit: messages of the scheduler, of an API
server, of pods.

Everything in a status is a text of one of these types, so that the CRD, which refuses what is too
long, and the planners agree. What is told is cut where it is put into a model; names and times are
never cut, as another name would be another object.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

SHORTENED = "..."


def cut(text: str, limit: int) -> str:
    """A text of at most ``limit`` characters, with dots at its end where something is missing.

    Halves of characters, which JSON can carry and UTF-8 cannot, become question marks.
    """
    whole = text.encode("utf-8", "replace").decode()
    return whole if len(whole) <= limit else whole[: limit - len(SHORTENED)] + SHORTENED


def _cut_to(limit: int) -> Callable[[Any], Any]:
    return lambda value: cut(value, limit) if isinstance(value, str) else value


# Years of times. Nearer to the ends of the calendar nothing could be added or taken away.
_FIRST_YEAR, _LAST_YEAR = 1970, 8999


def _is_moment(text: str) -> str:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("must be a time with an offset, as RFC 3339 has it")
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"must be a time of the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return text


MESSAGE, NOTE = 4096, 1024

# For people.
Message = Annotated[str, BeforeValidator(_cut_to(MESSAGE)), StringConstraints(max_length=MESSAGE)]
# The same where a status may hold twenty of them.
Note = Annotated[str, BeforeValidator(_cut_to(NOTE)), StringConstraints(max_length=NOTE)]
# A word that a pod has told: the ID of a node, the version of dbt, a place in a bucket.
Told = Annotated[str, BeforeValidator(_cut_to(NOTE)), StringConstraints(max_length=NOTE)]
# The name of an object, or its UID.
Known = Annotated[str, StringConstraints(max_length=253)]
# A folder in the bucket.
Place = Annotated[str, StringConstraints(max_length=1024)]
# A time, RFC 3339.
Moment = Annotated[str, StringConstraints(max_length=40), AfterValidator(_is_moment)]
# A number of seconds, of at most 68 years: it is added to times.
Seconds = Annotated[int, Field(ge=0, le=2**31 - 1)]
# A duration or a count, as people read it.
Short = Annotated[str, StringConstraints(max_length=64)]
