"""What an error of a warehouse's means: the reason that it gives a run, and whether it may be over
by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

# Whether another attempt may do better: never, once more, or as often as there are attempts.
AGAIN = NO, ONCE, YES = "No", "Once", "Yes"
_CONFIG, _AWAY, _FAILED = "ConfigError", "Unavailable", "ModelError"


@dataclass(frozen=True)
class Ending:
    """What an error means."""

    what: str  # happened, in words for people
    reason: str
    again: str
    lost: bool = False  # the connection went, so that an answer may be missing
    login: bool = False  # who logs in is refused

    @property
    def lost_for_good(self) -> bool:
        """Whether nobody knows if what was sent has been done, and it must not be done twice."""
        return self.lost and self.again == NO


def config(what: str) -> Ending:
    """Somebody has to change the profile, or the rights of its user."""
    return Ending(what, _CONFIG, NO)


def login(what: str) -> Ending:
    """Who logs in is refused."""
    return Ending(what, _CONFIG, NO, login=True)


def away(what: str, again: str = YES, *, lost: bool = False) -> Ending:
    """The warehouse does not answer, or not as it should."""
    return Ending(what, _AWAY, again, lost=lost)


def passing(what: str) -> Ending:
    """A statement that failed by what others did meanwhile."""
    return Ending(what, _FAILED, YES)


def failed(what: str) -> Ending:
    """A statement that fails as often as it is sent."""
    return Ending(what, _FAILED, NO)
