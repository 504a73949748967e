"""Signs of life of a thread."""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]


class Pulse:
    """Signs of life of one thread, which either rests or is at something that ends within a
    bound.
    """

    def __init__(self, name: str, bound: float, clock: Clock) -> None:
        self._name = name
        self._bound = bound
        self._clock = clock
        self._state: tuple[float, str] | None = (
            None  # one value, so that it is read as it was written
        )

    def beat(self, doing: str) -> None:
        """Something has been finished, and something begins."""
        self._state = (self._clock(), doing)

    def rest(self) -> None:
        """Nothing is to be done; that may last."""
        self._state = None

    def trouble(self) -> str:
        """What the thread is at for too long; empty when all is well."""
        if (state := self._state) is None:
            return ""
        seconds = self._clock() - state[0]
        return (
            f"{self._name} has been at {state[1]} for {seconds:.0f} s"
            if seconds > self._bound
            else ""
        )
