"""Looks at pages in Debian's Chromium, without a window and without a network."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import packages

_CHROMIUM = "chromium"  # Debian's package, and its program
_PATIENCE = 300  # seconds
# Each page is in a frame of the width that is asked for: a window of Chromium is at least 500 wide.
_MEASURE = """
<script>
addEventListener("load", () => {
  const widths = {};
  for (const frame of document.querySelectorAll("iframe")) {
    widths[frame.name] = frame.contentDocument.documentElement.scrollWidth;
  }
  const found = document.createElement("pre");
  found.id = "widths";
  found.textContent = JSON.stringify(widths);
  document.body.replaceChildren(found);
});
</script>
"""
_BEGIN, _END = '<pre id="widths">', "</pre>"


def install_chromium() -> str:
    """The program, which is installed if need be.

    Raises:
        ClusterError: that is not possible here.
    """
    packages.install({_CHROMIUM: _CHROMIUM})
    found = shutil.which(_CHROMIUM)
    assert found is not None
    return found


def measure_widths(program: str, pages: Mapping[str, str], width: int) -> dict[str, int]:
    """How wide each page becomes that is shown in a certain width. Chromium starts once for all.

    Args:
        program: Chromium.
        pages: HTML, each with a name.
        width: in CSS pixels, that of a telephone for example.

    Raises:
        AssertionError: Chromium has measured nothing.
    """
    frames = "".join(
        f'<iframe name="{html.escape(name)}" srcdoc="{html.escape(page)}"'
        f' style="width:{width}px;height:640px;border:0"></iframe>'
        for name, page in pages.items()
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pages.html"
        file.write_text(f"<!DOCTYPE html><html><body>{frames}{_MEASURE}</body></html>", "utf-8")
        done = subprocess.run(
            [
                program,
                "--headless=new",
                "--no-sandbox",  # it runs as root
                "--disable-gpu",
                "--disable-dev-shm-usage",  # which is small in containers
                "--disable-background-networking",
                "--host-resolver-rules=MAP * ~NOTFOUND",
                f"--user-data-dir={folder}/profile",
                "--virtual-time-budget=60000",
                "--dump-dom",
                file.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        )
    _, begin, rest = done.stdout.partition(_BEGIN)
    assert begin, f"Chromium has measured nothing: {done.stdout[:500]} {done.stderr[-2000:]}"
    found: dict[str, int] = json.loads(html.unescape(rest.partition(_END)[0]))
    assert found.keys() == pages.keys()
    return found
