"""How the time that some work takes grows with the text that it is given.

Nothing is compared with a clock, as machines differ and are shared: the time for a text is compared
with that for a text of four times its length, both of this process alone. Four times the time is
linear, sixteen times is quadratic.
"""

from __future__ import annotations

import gc
import importlib
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Work = Callable[[str], object]

# The parser of the standard library, which has no public name.
_PARSER = importlib.import_module("re._parser")
_REPEATS = (_PARSER.MAX_REPEAT, _PARSER.MIN_REPEAT, _PARSER.POSSESSIVE_REPEAT)

# What looks too long is measured again until there were so many tries and so many seconds of this
# thread went into them: 50 tries with a short text are over in 5 ms, in which a busy machine has no
# quiet moment.
_TRIES = 50
_SECONDS = 2.0
# How often a piece is repeated first: 20 times take a thousand times as long as 10 where the time
# is exponential, and a longer text would never end.
_SHORT = (10, 20)
_SHORT_LIMIT = 100
# Characters. A scan that ends after some thousand of them, and not after some hundred, is found out
# by the first.
_SIZES = (1_000, 4_000, 16_000, 64_000)
_LIMIT = 8


@dataclass(frozen=True)
class Pump:
    """A text that can be made as long as one likes: a head, and a piece that is repeated."""

    piece: str
    head: str = ""

    def repeat(self, count: int) -> str:
        """The text with so many pieces."""
        return self.head + self.piece * count


def find_excess(work: Work, pump: Pump) -> str:
    """How the time for a text grows that is too much for linear work; empty if it is linear."""
    few, many = (pump.repeat(count) for count in _SHORT)
    if (ratio := _compare(work, few, many, _SHORT_LIMIT)) > _SHORT_LIMIT:
        return f"{ratio:.0f} times the time for {_SHORT[1]} pieces instead of {_SHORT[0]}"
    texts = [pump.repeat(size // len(pump.piece)) for size in _SIZES]
    for short, long in pairwise(texts):
        if (ratio := _compare(work, short, long, _LIMIT)) > _LIMIT:
            return f"{ratio:.0f} times the time for {len(long)} characters instead of {len(short)}"
    return ""


def _compare(work: Work, short: str, long: str, limit: float) -> float:
    """By how much the longer text takes longer. What looks too long is measured again, in turn, as
    what else the machine does can only make a time longer.
    """
    work(short)
    begun = time.thread_time()
    best = [_measure(work, text) for text in (long, short)]
    tries = 1
    while best[0] > limit * best[1] and (tries < _TRIES or time.thread_time() - begun < _SECONDS):
        best = [
            min(least, _measure(work, text))
            for least, text in zip(best, (long, short), strict=True)
        ]
        tries += 1
    return best[0] / best[1]


def _measure(work: Work, text: str) -> float:
    """Seconds of this thread, without what it takes to look through everything that is alive in
    this process, which no text is to blame for.
    """
    gc.disable()
    try:
        begun = time.thread_time()
        work(text)
        return max(time.thread_time() - begun, 1e-6)
    finally:
        gc.enable()


def derive_pumps(pattern: re.Pattern[str]) -> list[Pump]:
    """Texts that are hard for a pattern: each beginning of it, and each of its parts after what
    stands before that, over and over.
    """
    tree = _PARSER.parse(pattern.pattern, pattern.flags & ~re.UNICODE)
    return sorted(
        {pump for pump in _walk(list(tree), "") if pump.piece},
        key=lambda pump: (pump.head, pump.piece),
    )


def _walk(items: list[Any], head: str) -> Iterator[Pump]:
    for place, item in enumerate(items):
        if item[0] is _PARSER.LITERAL and place < len(items) - 1:
            continue
        before = head + _sample(items[:place])
        yield Pump(before + _sample([item]))
        yield Pump("-" + before + _sample([item]))  # the end of a word, before the next begins
        yield Pump(_sample([item]), before)
        for inner in _find_inner(item):
            yield from _walk(inner, before)


def _find_inner(item: Any) -> list[list[Any]]:
    """The sequences within a part of a pattern."""
    kind, content = item
    if kind in _REPEATS:
        return [list(content[2])]
    if kind is _PARSER.SUBPATTERN:
        return [list(content[3])]
    if kind is _PARSER.BRANCH:
        return [list(each) for each in content[1]]
    return [list(content)] if kind is _PARSER.ATOMIC_GROUP else []


def _sample(items: Iterable[Any]) -> str:
    """A short text that the parts fit, as far as that can be told of each by itself."""
    return "".join(map(_sample_of, items))


def _sample_of(item: Any) -> str:
    kind, content = item
    if kind is _PARSER.LITERAL:
        return chr(content)
    if kind in (_PARSER.ANY, _PARSER.NOT_LITERAL):
        return "a"
    if kind is _PARSER.IN:
        return _choose(content)
    if kind is _PARSER.GROUPREF:
        return "'"  # what groups are asked for again here are quotes
    inner = _find_inner(item)
    if not inner:
        return ""
    is_repeat = kind in _REPEATS
    return _sample(inner[0]) * (max(content[0], 1) if is_repeat else 1)


def _choose(content: Any) -> str:
    """A character of a set."""
    if content[0][0] is _PARSER.NEGATE:
        excluded = {chr(value) for kind, value in content if kind is _PARSER.LITERAL}
        return next(each for each in "ab1" if each not in excluded)
    kind, value = content[0]
    if kind is _PARSER.RANGE:
        return chr(value[0])
    if kind is _PARSER.CATEGORY:
        return {"CATEGORY_DIGIT": "1", "CATEGORY_SPACE": " "}.get(str(value), "a")
    return chr(value)
