"""What is done to texts that somebody else wrote, before they are put into a message of any kind.

They come from a tenant's project, or from a server. Each kind of channel escapes them for its own
format after that.
"""

from __future__ import annotations

_CUT = "..."
# What programs make a link of that was none, and what is written instead.
_LINKS = (("://", "[://]"), ("www.", "www[.]"), ("mailto:", "mailto[:]"))


def clean(text: str, limit: int) -> str:
    """One line of printable characters: without control characters, and without those that change
    the direction of text or have no width.
    """
    spaced = "".join(each if each.isprintable() else " " for each in text[: limit * 4])
    return cut(" ".join(spaced.split()), limit)


def cut(text: str, limit: int) -> str:
    """A text of at most so many characters, with dots at its end where something is missing."""
    return text if len(text) <= limit else text[: limit - len(_CUT)] + _CUT


def defuse(text: str, limit: int) -> str:
    """The same as :func:`clean`, and no program takes an address in it for a link."""
    found = clean(text, limit)
    for link, instead in _LINKS:
        found = found.replace(link, instead)
    return cut(found, limit)


def say_duration(seconds: float) -> str:
    """Seconds as people read them: 1h2m, 3m20s, 45s."""
    rest = max(0, round(seconds))
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    if minutes:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    return f"{rest}s"
