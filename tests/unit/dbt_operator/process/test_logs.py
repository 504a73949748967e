"""Every line of the log is JSON, whoever writes it."""

from __future__ import annotations

import json
import subprocess
import sys

from dbt_operator.reconcile.log_fields import describe_end, identify
from tests.support.builders import run

# In a process of its own, as it changes what all loggers do.
SCRIPT = """
import logging, structlog
from dbt_operator.common.settings import Settings
from dbt_operator.process.logs import configure_logging
from dbt_operator.watching.watches import quieten_kopf
configure_logging(Settings("runner:1"))
quieten_kopf()
structlog.get_logger().info("ours", name="nightly")
ref = {"kind": "DbtRun", "namespace": "analytics", "name": "nightly", "uid": "1"}
logging.getLogger("kopf.objects").warning("theirs: %s", 7, extra={"k8s_ref": ref})
try:
    raise ValueError("canary\\nsecond line")
except ValueError:
    logging.getLogger("urllib3").exception("broken")
logging.getLogger("urllib3").info("not worth a line")
"""


def test_lines_of_libraries_are_json_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    ours, theirs, broken = map(json.loads, done.stdout.splitlines())
    assert (ours["event"], ours["level"], ours["name"]) == ("ours", "info", "nightly")
    assert (theirs["event"], theirs["logger"]) == ("theirs: 7", "kopf.objects")
    assert (theirs["kind"], theirs["name"], theirs["uid"]) == ("DbtRun", "nightly", "1")
    assert (broken["event"], broken["level"]) == ("broken", "error")
    assert "ValueError: canary" in broken["exception"]
    assert all(line["timestamp"].endswith("Z") for line in (ours, theirs, broken))


def test_a_line_about_an_end_has_all_its_figures() -> None:
    ended = run()
    ended["metadata"]["ownerReferences"] = [
        {"kind": "DbtSchedule", "name": "nightly", "uid": "2", "controller": True}
    ]
    ended["status"] = {
        "phase": "Failed",
        "reason": "ModelError",
        "attempts": [{}, {}],
        "duration": "3m",
        "nodes": {"total": 4, "error": 1, "done": "4/4"},
        "windows": {"total": 7, "succeeded": 6, "failed": 1, "states": "SSSSSSF"},
        "conditions": [],
    }
    assert identify(ended) == {
        "uid": ended["metadata"]["uid"],
        "attempt": 2,
        "schedule": "nightly",
    }
    assert describe_end(ended) == {
        "phase": "Failed",
        "reason": "ModelError",
        "duration": "3m",
        "nodes": {"total": 4, "error": 1, "done": "4/4"},
        "windows": {"total": 7, "succeeded": 6, "failed": 1},
    }
