from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbt_notifier.texts import clean, cut, defuse, say_duration, say_moment
from tests.support.notifier_messages import EVIL


@given(st.text(st.characters(exclude_categories=())), st.integers(4, 50))
def test_nothing_that_is_not_seen_is_left(text: str, limit: int) -> None:
    found = clean(text, limit)
    assert len(found) <= limit
    assert {unicodedata.category(each) for each in found}.isdisjoint(
        {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}
    )
    assert clean(found, limit) == found


def test_lines_become_one() -> None:
    assert clean(" a\r\n b\u2028c\td ", 20) == "a b c d"


def test_what_is_cut_says_so() -> None:
    assert cut("abcdefgh", 8) == "abcdefgh"
    assert cut("abcdefghi", 8) == "abcde..."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://a", "https[://]a"),
        ("HTTP://a", "HTTP[://]a"),
        ("WwW.a.b", "www[.]a.b"),
        ("MAILTO:a", "mailto[:]a"),
        ("\u0130\u0130 Www.a", "\u0130\u0130 www[.]a"),
        ("www.www.", "www[.]www[.]"),
        ("w\u200bww.a", "w ww.a"),
        ('"prod"."t" a:b //c', '"prod"."t" a:b //c'),
    ],
)
def test_addresses_are_no_links(text: str, expected: str) -> None:
    assert defuse(text, 100) == expected


def test_a_hostile_text_has_no_link() -> None:
    found = defuse(EVIL, 2000).lower()
    assert not any(link in found for link in ("p://", "s://", "www.", "mailto:"))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3.0, "0s"),
        (0.4, "0s"),
        (45.0, "45s"),
        (200.0, "3m20s"),
        (180.0, "3m"),
        (3600.0, "1h"),
        (3720.0, "1h2m"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert say_duration(seconds) == said


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("2025-10-14T03:12:40Z", "2025-10-14 03:12 UTC"),
        ("2025-10-14T05:12:40.123+02:00", "2025-10-14 03:12 UTC"),
        ("2025-10-14T03:12:40", "2025-10-14T03:12:40"),
        ("9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59-23:59"),
        ("http://a\nb", "http[://]a b"),
        ("", ""),
    ],
)
def test_moments(moment: str, said: str) -> None:
    assert say_moment(moment) == said
