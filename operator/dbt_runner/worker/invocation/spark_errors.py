"""What a server of Spark's says of an error.

dbt-spark asks the server how a statement does, and raises an error of dbt's with all that is said:
the error's class in brackets, a sentence, and a stack trace of Java's. Beyond the sentence anything
may stand, such as what a model has raised itself; so may it in the sentence, of an error without a
class. So words are left to people, and the name of Java's exception is the code where there is no
other.

The classes: https://spark.apache.org/docs/3.5.9/sql-error-conditions.html
"""

from __future__ import annotations

import re

# Not any SQLException: other clients have Java's, whose words count.
_BEGINNING = re.compile(
    r"org\.apache\.hive\.(?:[a-z]{1,40}\.){1,10}HiveSQLException: "
    r"(?:Error [a-z]{1,20} [A-Za-z]{1,40}: )?"
)
_CLASS = re.compile(r"\[([A-Z][A-Z0-9_.]{1,100})\]")
_EXCEPTION = re.compile(r"(?:[a-z][a-z0-9]{0,40}\.){1,10}([A-Z][A-Za-z]{0,80})")
_PLACE = "\n\tat "


def describe_server_error(text: str) -> dict[str, str]:
    """What stands for an error in :mod:`dbt_runner.outcome.meanings`; nothing if it is none of
    Spark's.
    """
    beginning = _BEGINNING.match(text)
    if not beginning:
        return {}
    said = text[beginning.end() :].partition(_PLACE)[0]
    code = _CLASS.match(said) or _EXCEPTION.match(said)
    found = code[1] if code else "SQLException"
    return {"system": "spark", "classes": "", "codes": found, "text": said.strip()}
