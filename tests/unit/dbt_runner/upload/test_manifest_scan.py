"""Reading a manifest in parts, wherever they are cut."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest

from dbt_runner.upload import manifest_scan
from dbt_runner.upload.manifest_scan import scan_sections

MANIFEST: dict[str, Any] = {
    "metadata": {"dbt_version": "1.11.16", "generated": None},
    "nodes": {
        "model.a": {"name": "a", "raw_code": 'select "{" -- }\\', "n": [1, 2.5e3, -1, True, {}]},
        "model.ü": {"name": "ü😀", "meta": {"owner": {"name": "Ana"}}},
    },
    "macros": {"macro.m": {"sql": "x" * 50}},
    "disabled": {},
    "saved_queries": [],
    "number": 12345,
    "exposures": {"exposure.e": {"label": "E"}},
}
LATER = float("inf")


def scan(text: bytes, *sections: str, deadline: float = LATER) -> list[tuple[str, str, Any]]:
    return list(scan_sections(io.BytesIO(text), sections or ("nodes", "exposures"), deadline))


@pytest.mark.parametrize("as_ascii", [True, False])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1 << 20])
def test_entries_are_those_of_the_whole_file(
    monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int | None, *, as_ascii: bool
) -> None:
    monkeypatch.setattr(manifest_scan, "_CHUNK", chunk)
    text = json.dumps(MANIFEST, indent=indent, ensure_ascii=as_ascii).encode()
    assert scan(text) == [
        (section, key, value)
        for section in ("nodes", "exposures")
        for key, value in MANIFEST[section].items()
    ]
    assert scan(text, "metadata") == [
        ("metadata", "dbt_version", "1.11.16"),
        ("metadata", "generated", None),
    ]


WHOLE = json.dumps(MANIFEST).encode()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"nothing",
        WHOLE[:-1],
        WHOLE[: len(WHOLE) // 2],
        b'{"nodes": {"a": 1 "b": 2}}',
        b'{"nodes": {1: 1}}',
        b'{"nodes" {}}',
        b'{"nodes": {"a": ' + b"[" * 100_000,
        b'{"nodes": {"a": "' + b"x" * (7 << 20) + b'"}}',
    ],
)
def test_what_is_no_such_file_is_an_error_and_nothing_worse(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        scan(text)


def test_there_is_an_end_to_reading() -> None:
    with pytest.raises(ValueError, match="no time"):
        scan(WHOLE, deadline=time.monotonic() - 1)
