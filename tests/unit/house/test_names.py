"""Names of files: none is taken for one of the standard library, or for another one of ours."""

from __future__ import annotations

import re
import sys
from collections import defaultdict

from tests.support.places import OPERATOR, TESTS, modules

IMPORT_OF_TESTS = re.compile(r"\s*(from|import) .*\btest_")
PYTHONS_OWN = {"__init__", "__main__"}
# Once a kind; api/status.py has the words in which all of them speak.
ONCE_A_KIND = {"facts", "planner", "status"}
# A kind's model, what is read for it and what is planned for it have the kind's name.
KINDS = {"backfill", "project", "run", "target", "schedule"}
EXCEPTIONS = {
    "channels": "who may use one, and what it takes to send on it",
    "messages": "what two processes say to each other, for each pair of them",
    "settings": "of each process",
    "main": "the start of each process of the dbt container",
    "progress": "what dbt says, what is read of it, and when it is looked at again",
    "retry": "the fields of the API, and the policy that they are about",
    "slots": "who gets a slot, and how that is written",
    "steps": "what is to be done, and what has become of it",
    "texts": "how texts of others are cut, by whom they are shown",
    "windows": "the fields of the API, the windows that they stand for, and one at a time in a pod",
}


def test_no_module_has_the_name_of_one_of_the_standard_library() -> None:
    taken = sys.stdlib_module_names - PYTHONS_OWN
    paths = [*modules(OPERATOR), *(path.parent for path in OPERATOR.rglob("__init__.py"))]
    found = [str(path.relative_to(OPERATOR)) for path in paths if path.stem in taken]
    assert found == []


def test_a_name_of_a_file_stands_in_one_folder() -> None:
    folders = defaultdict(set)
    for path in modules(OPERATOR):
        folders[path.stem].add(str(path.parent.relative_to(OPERATOR)))
    known = PYTHONS_OWN | ONCE_A_KIND | KINDS | EXCEPTIONS.keys()
    found = {name: where for name, where in folders.items() if len(where) > 1 and name not in known}
    assert found == {}, "rename one, or give the reason in EXCEPTIONS"


def test_json_is_read_in_one_place() -> None:
    # dbt_protocol/json_input.py says why.
    found = {
        str(path.relative_to(OPERATOR))
        for path in modules(OPERATOR)
        if "json.load" in path.read_text(encoding="utf-8")
    }
    assert found == {"dbt_protocol/json_input.py"}


def test_nothing_is_imported_from_a_file_of_tests() -> None:
    found = [
        f"{path.relative_to(TESTS)}: {line}"
        for path in modules(TESTS)
        for line in path.read_text(encoding="utf-8").splitlines()
        if IMPORT_OF_TESTS.match(line)
    ]
    assert found == []
