"""Durations and points in time, as the API writes them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_UNITS = {"h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(\d+h)?(\d+m)?(\d+s)?")
_PART = re.compile(r"(\d+)([hms])")


def seconds(duration: str) -> int:
    """``1h30m`` in seconds.

    Raises:
        ValueError: it is not a duration.
    """
    if not _DURATION.fullmatch(duration) or not duration:
        raise ValueError(f"{duration!r} is not a duration such as 90s, 30m or 1h30m")
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(duration))


def duration(total: float) -> str:
    """Seconds as people read them: 1h2m, 3m20s, 45s."""
    rest = max(0, round(total))
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    if minutes:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    return f"{rest}s"


def parse_time(text: str) -> datetime:
    """RFC 3339, as Kubernetes writes it."""
    return datetime.fromisoformat(text)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC, in whole seconds, as Kubernetes writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
