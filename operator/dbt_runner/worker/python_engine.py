"""Finds out whether this Python has dbt's Python API.

The ``dbt`` on the PATH may be a Python script and dbt none the less a program in another language:
wheels of dbt 2 have such a script, which starts it. So what a script begins with only says which
Python to ask, and this is the question.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

_API = "cli/main.py"  # in a folder of the package ``dbt``


def has_python_api() -> bool:
    """Whether dbt's API is there to be imported. It is only looked for: to import it takes
    seconds.
    """
    try:
        found = find_spec("dbt")
    except (ImportError, ValueError):
        return False
    if found is None:
        return False
    # Adapters have their part of the package in places of their own.
    below = (Path(place) for place in found.submodule_search_locations or ())
    places = chain(below, (Path(place, "dbt") for place in sys.path))
    return any((place / _API).is_file() for place in places)
