"""Mails on a telephone: no page is wider than its screen."""

from __future__ import annotations

from pathlib import Path

from tests.support.notifier_browser import install_chromium, measure_widths

GOLDEN = Path(__file__).parent / "golden"
WIDTH = 360
ENDING = ".mail.html"
WIDE = "<!DOCTYPE html><p style='white-space:nowrap'>" + "word " * 100


def test_no_mail_is_wider_than_a_telephone() -> None:
    program = install_chromium()
    pages = {
        path.name.removesuffix(ENDING): path.read_text("utf-8")
        for path in GOLDEN.glob(f"*{ENDING}")
    }
    widths = measure_widths(program, {**pages, "too wide": WIDE}, WIDTH)
    assert widths.pop("too wide") > WIDTH
    assert {name: width for name, width in widths.items() if width > WIDTH} == {}
    assert len(widths) > 10
