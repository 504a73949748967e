"""Which selectors of a selectors.yml compare with a state, told without a YAML parser."""

from __future__ import annotations

import pytest
import yaml

from dbt_runner.worker.command.selectors_file import may_compare

USUAL = """\
# state:modified was here once
selectors:
  - name: nightly
    description: All, whatever their state
    default: true
    definition:
      union:
        - {method: fqn, value: "*"}
        - exclude:
            - {method: tag, value: by_hand}

  - name: changed
    definition: {method: state, value: modified, children: true}
  - description: What follows on others.
    name: mixed
    definition:
      union:
        - method: selector
          value: changed
        - method: tag
          value: b
  - name: words
    definition: "state:modified+"
  - {name: short, definition: {tag: changed}}
  - name: key
    definition:
      result: error
"""
DEFAULT_BY_TARGET = """\
selectors:
- name: ci
  default: "{{ target.name == 'ci' | as_bool }}"
  definition:
    method: "state"
    value: new
- name: rest
  default: false
  definition: {tag: a}
other:
- name: rest
"""
NO_DEFAULT = "selectors:\n  - name: a\n    definition: {method: source_status, value: fresher}\n"
ALIASED = """\
selectors:
  - name: changed
    definition: &changed {method: state, value: modified}
  - name: usual
    default: true
    definition: *changed
"""
ONE_LINE = 'selectors: [{"name": "a", "definition": {"method": "state", "value": "new"}}]'
IS_DEFAULT = ONE_LINE.replace('"name"', '"default": true, "name"')


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        (USUAL, "", False),
        (USUAL, "nightly", False),
        (USUAL, "changed", True),
        (USUAL, "mixed", True),
        (USUAL, "words", True),
        (USUAL, "short", False),
        (USUAL, "key", True),
        (USUAL, "no-such", True),
        (DEFAULT_BY_TARGET, "", True),
        (DEFAULT_BY_TARGET, "rest", False),
        (NO_DEFAULT, "", False),
        (NO_DEFAULT, "a", True),
        (ALIASED, "", True),
        (ALIASED, "usual", True),
        (ONE_LINE, "", False),
        (ONE_LINE, "a", True),
        (IS_DEFAULT, "", True),
        ("", "", False),
        ("", "a", False),
    ],
)
def test_what_may_compare_with_a_state(text: str, name: str, expected: bool) -> None:
    assert isinstance(yaml.safe_load(text), dict) or not text
    assert may_compare(text, name) is expected
