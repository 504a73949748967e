"""What is done to texts that somebody else wrote, before they are put into a message of any kind.

They come from a tenant's project, or from a server. Each kind of channel escapes them for its own
format after that.
"""

from __future__ import annotations

from datetime import UTC, datetime
from string import ascii_lowercase, ascii_uppercase

_CUT = "..."
# What programs make a link of that was none, and what is written instead.
_LINKS = (("://", "[://]"), ("www.", "www[.]"), ("mailto:", "mailto[:]"))
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
# Python calls these printable, and yet nobody sees them: fillers, joiners and variation selectors.
_UNSEEN = frozenset(
    map(chr, [0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0])
) | frozenset(map(chr, [*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))


def clean(text: str, limit: int) -> str:
    """One line of printable characters: without control characters, and without those that change
    the direction of text or have no width.
    """
    spaced = "".join(each if _is_seen(each) else " " for each in text[: limit * 4])
    return cut(" ".join(spaced.split()), limit)


def _is_seen(character: str) -> bool:
    return character.isprintable() and character not in _UNSEEN


def cut(text: str, limit: int) -> str:
    """A text of at most so many characters, with dots at its end where something is missing."""
    return text if len(text) <= limit else text[: limit - len(_CUT)] + _CUT


def defuse(text: str, limit: int) -> str:
    """The same as :func:`clean`, and no program takes an address in it for a link."""
    found = clean(text, limit)
    for link, instead in _LINKS:
        found = _replace(found, link, instead)
    return cut(found, limit)


def _replace(text: str, link: str, instead: str) -> str:
    """Programs find links in capitals as well."""
    lowered = text.translate(_LOWER)
    parts, begin = [], 0
    while (place := lowered.find(link, begin)) >= 0:
        parts += [text[begin:place], instead]
        begin = place + len(link)
    return "".join([*parts, text[begin:]])


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


def say_moment(moment: str) -> str:
    """A moment of RFC 3339 as people read it: 2025-10-14 03:12 UTC. What is none stays as it is."""
    try:
        found = datetime.fromisoformat(moment)
        if found.tzinfo is not None:
            return found.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError):
        pass
    return defuse(moment, 40)
