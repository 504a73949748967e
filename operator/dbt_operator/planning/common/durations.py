"""Durations and points in time, as the API writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from dbt_operator.api.base import parse_duration as seconds

__all__ = ["duration", "format_time", "parse_time", "seconds"]


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
