"""What can be told of a selectors.yml without a YAML parser, which an image with dbt 2 need not
have.

The file is taken apart by its indentation, as people write it. What does not look so is taken as a
whole: then one selector that compares with a state stands for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# A method of its own, or the beginning of a criterion as on the command line.
_COMPARES = re.compile(
    r"""\bmethod["']?\s{0,9}:\s{0,9}["']?(?:state|result|source_status)\b"""
    r"|\b(?:state|result|source_status):"
)
_REFERS = re.compile(r"""\bmethod["']?\s{0,9}:\s{0,9}["']?selector\b|\bselector:""")
# What stands elsewhere in the file.
_ALIAS = re.compile(r"[\s\[{,:]\*\w")
_NAME = re.compile(r"""\bname["']?\s{0,9}:\s{0,9}["']?([\w.-]{1,200})""")
_DEFAULT = re.compile(
    r"""\bdefault["']?\s{0,9}:\s{0,9}["']?(?!false\b|no\b|off\b)[\w{]""", re.IGNORECASE
)


@dataclass(frozen=True)
class _Selector:
    name: str
    text: str

    @property
    def is_default(self) -> bool:
        return may_have_default(self.text)


def may_have_default(text: str) -> bool:
    """Whether one of the selectors may be what is taken where none is named."""
    return _DEFAULT.search(text) is not None


def may_compare(text: str, name: str = "") -> bool:
    """Whether a selector may compare with a state, by itself or by others that it is made of.

    Args:
        text: of selectors.yml.
        name: of the selector; empty: the default one, if there is one.
    """
    found = {each.name: each for each in _take_apart(text)}
    is_clear = found and "" not in found and not _ALIAS.search(text)
    if not is_clear or (name and name not in found):
        return _COMPARES.search(text) is not None and (bool(name) or may_have_default(text))
    asked = [each for each in found.values() if (each.name == name if name else each.is_default)]
    known = {each.name for each in asked}
    while asked:
        selector = asked.pop()
        if _COMPARES.search(selector.text):
            return True
        if _REFERS.search(selector.text):
            more = [each for each in found.values() if each.name not in known]
            more = [each for each in more if each.name in selector.text]
            asked += more
            known.update(each.name for each in more)
    return False


def _take_apart(text: str) -> Iterator[_Selector]:
    """The selectors, each with all that is written of it; without a name where none is found."""
    lines = [line for line in text.splitlines() if line.strip() and not _is_comment(line)]
    begin = next((at for at, line in enumerate(lines) if line.rstrip() == "selectors:"), None)
    if begin is None:
        return
    items: list[list[str]] = []
    depth = -1
    for line in lines[begin + 1 :]:
        inner = line.lstrip()
        here = len(line) - len(inner)
        if here < depth or (here == 0 and not inner.startswith("-")):
            break  # another key of the file
        if inner.startswith("-") and (depth < 0 or here == depth):
            depth = here
            items.append([])
        if not items:
            return
        items[-1].append(line)
    for item in items:
        name = _NAME.search("\n".join(item))
        yield _Selector(name[1] if name else "", "\n".join(item))


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")
