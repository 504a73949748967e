"""What the ``dbt`` on the PATH is, by its own answer, and what it can do.

dbt 2 is a program of its own, of which there are previews that say what has not happened. What is
known of a release stands here, and everything else asks for it. Of a release that is not known, the
least is taken for granted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

# In the answer of dbt 1 the adapters follow, and what the newest releases are.
_VERSION = re.compile(
    r"^(?: {1,8}- installed: {1,8}|dbt[\w-]{0,40} )(\d{1,9}\.\d[\w.+-]{0,60})", re.MULTILINE
)


@dataclass(frozen=True)
class Engine:
    """A release of dbt, as far as it is of concern here."""

    version: str
    # Its log as JSON tells of the start and of the end of each node.
    tells_nodes: bool = False
    # What it leaves when it was interrupted is true, and so are results that its log does not
    # confirm.
    leaves_truth: bool = True
    # It complains of a selector by state where there is no state, in place of selecting nothing.
    misses_state: bool = True
    # Commands that it answers with a warning and exit code 0, without doing anything.
    unhandled: frozenset[tuple[str, ...]] = frozenset()

    def handles(self, argv: list[str]) -> bool:
        """Whether it does what a command line says."""
        return not any(tuple(argv[: len(words)]) == words for words in self.unhandled)

    @property
    def name(self) -> str:
        """It, in messages."""
        return f"dbt {self.version}"


_DBT_2 = Engine("", tells_nodes=True, leaves_truth=False, misses_state=False)
# A release that has been looked at is one line.
_KNOWN = {
    "2.0.0-alpha.4": frozenset({("source", "freshness"), ("docs", "generate")}),
    "2.0.0-preview.196": frozenset({("docs", "generate")}),
}


def identify_engine(answer: str) -> Engine | None:
    """What has answered so to ``--version``; None if that is no dbt that is known."""
    found = _VERSION.search(answer)
    if found is None:
        return None
    version = found[1]
    if version.startswith(("0.", "1.")):
        return Engine(version)
    return replace(_DBT_2, version=version, unhandled=_KNOWN.get(version, frozenset()))
