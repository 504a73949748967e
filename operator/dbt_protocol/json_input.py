"""Reading JSON that somebody else has written."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Read JSON from a pod, a file or the network.

    Raises:
        ValueError: it is no JSON, or is nested deeper than Python's parser can follow. The parser
            calls that a RecursionError, which the handlers of bad input do not expect: 1,000
            brackets in a termination message would end whoever reads it.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
