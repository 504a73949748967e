"""Every suite, in two lanes side by side: `make test`.

Suites of one lane start dbt over and over and keep the processors busy; those of the other wait for
a cluster most of the time. Whatever becomes of one suite, the others run and are told.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from tests.cluster.progress import say

# The lane of the cluster, which takes longest, is shown while it runs; of the other a suite's
# output comes when it has ended, in one piece.
SHOWN = ("api", "test-faults", "e2e")
QUIET = ("lint", "unit", "unit-versions")


def run_suite(suite: str, output: IO[bytes] | None) -> tuple[bool, float]:
    """Run a suite; whether it passed, and how many seconds it took."""
    say(f"suite {suite} begins")
    began = time.monotonic()
    make = ["make", "--no-print-directory", suite]
    passed = subprocess.run(make, stdout=output, stderr=output, check=False).returncode == 0
    took = time.monotonic() - began
    say(f"suite {suite} has {'passed' if passed else 'FAILED'} in {took:.0f} s")
    return passed, took


def run_quietly(suite: str) -> tuple[bool, float]:
    """Run a suite, and show what it printed."""
    with tempfile.TemporaryFile() as output:
        result = run_suite(suite, output)
        output.seek(0)
        sys.stdout.buffer.write(output.read())
        sys.stdout.flush()
    return result


def main() -> int:
    """Run all suites; the exit code."""
    began = time.monotonic()
    with ThreadPoolExecutor(1) as lane:
        quiet = {suite: lane.submit(run_quietly, suite) for suite in QUIET}
        results = {suite: run_suite(suite, None) for suite in SHOWN}
        if any(not future.done() for future in quiet.values()):
            say(f"waiting for {' and '.join(s for s, f in quiet.items() if not f.done())}")
        results |= {suite: future.result() for suite, future in quiet.items()}
    times = ", ".join(f"{suite} {took:.0f} s" for suite, (_, took) in results.items())
    say(f"all took {time.monotonic() - began:.0f} s: {times}")
    failed = [suite for suite, (passed, _) in results.items() if not passed]
    if failed:
        say(f"failed: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
