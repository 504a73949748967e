"""The supervisor, with a stub in place of dbt's interpreter: what dbt cannot be made to do at
will.
"""

from __future__ import annotations

import calendar
import fcntl
import json
import signal
import sys
import time
from pathlib import Path

import pytest

from dbt_protocol.plans import RunPlan
from dbt_protocol.summaries import Nodes
from dbt_runner.__main__ import main
from tests.support.kube import PATIENCE, wait_for
from tests.support.pods import Pod, step

# Stands in for the zygote: talks its protocol and does what STUB says.
STUB = f"""#!{sys.executable}
import json, os, signal, sys, time
given = dict(a[2:].split("=") for a in sys.argv if a.startswith("--"))
def send(kind, **content):
    write(json.dumps(dict(content, kind=kind)) + "\\n")
def write(text):
    os.write(int(given["events"]), text.encode())
def say(text):
    sys.stdout.write(text)
    sys.stdout.flush()
signal.signal(signal.SIGINT, signal.SIG_IGN)
exec(os.environ["STUB"])
"""

READY = (
    "send('ready', dbt_version='1.11.16', isolation='Fork', seconds=1, cached=False, "
    "project_dir='.')\n"
)
FOREVER = "signal.pause()\n"


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    """A pod in which ``dbt`` is written for the stub."""
    pod = Pod(tmp_path / "pod", {})
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "stub-python").write_text(STUB)
    (bin_folder / "dbt").write_text(f"#!{bin_folder}/stub-python\n")
    for path in bin_folder.iterdir():
        path.chmod(0o755)
    pod.env["PATH"] = str(bin_folder)
    return pod


def test_what_does_not_end_in_time_is_killed(pod: Pod) -> None:
    pod.env["STUB"] = READY + "say('hello')\n" + FOREVER
    ended = pod.run(step("build"), step("docs", always=True), timeout_seconds=5, grace_seconds=0.2)
    assert ended.summary.reason == "Timeout"
    assert ended.summary.exit_code == ended.code == 137
    assert "killing it" in ended.log
    assert "hello\n" in ended.log
    assert [each["state"] for each in ended.result["steps"]] == ["Failed", "Skipped"]


def test_a_signal_before_the_first_step_ends_the_run(pod: Pod) -> None:
    pod.env["STUB"] = "say('importing\\n')\n" + FOREVER
    process = pod.start(step("build"), grace_seconds=0.1)
    log = pod.wait_for(process, "importing")
    process.send_signal(signal.SIGTERM)
    assert pod.finish(process, log).summary.reason == "Cancelled"


@pytest.mark.parametrize(
    ("version", "path"), [("v2", "memory.events"), ("v1", "memory/memory.oom_control")]
)
def test_the_oom_killer_is_recognized_by_its_counter(pod: Pod, version: str, path: str) -> None:
    counter = pod.root / "sys/fs/cgroup" / path
    counter.parent.mkdir(parents=True)
    counter.write_text(
        "oom 1\noom_kill 1\n"
        if version == "v2"
        else "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"
    )
    more = counter.read_text().replace("oom_kill 1", "oom_kill 2")
    pod.env["STUB"] = f"{READY}open({str(counter)!r}, 'w').write({more!r})\nos.kill(os.getpid(), 9)"
    ended = pod.run(step("build"))
    assert (ended.code, ended.summary.reason) == (137, "OOMKilled")


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (11, "SIGSEGV")])
def test_other_signals_are_named(pod: Pod, number: int, name: str) -> None:
    pod.env["STUB"] = f"{READY}os.kill(os.getpid(), {number})"
    ended = pod.run(step("build"))
    assert (ended.code, ended.summary.reason) == (128 + number, "Unknown")
    assert name in ended.summary.message


def test_an_end_without_a_word_is_unknown(pod: Pod) -> None:
    pod.env["STUB"] = "say('Traceback: it broke\\n')\nsys.exit(1)"
    ended = pod.run(step("build"))
    assert (ended.code, ended.summary.reason) == (1, "Unknown")
    assert "it broke" in ended.log


# A step that finds its source stale, as often as STALE_FOR says, and then fresh.
STALE_SOURCE = (
    READY
    + """
for line in os.fdopen(int(given["commands"])):
    count = len(open("count").read()) + 1 if os.path.exists("count") else 1
    open("count", "w").write("x" * count)
    work = os.path.join(given["root"], "dbt-operator", "work", "sourceFreshness")
    os.makedirs(work)
    stale = count <= int(os.environ["STALE_FOR"])
    results = [{"unique_id": "source.shop.raw.orders", "status": "error" if stale else "pass"}]
    with open(os.path.join(work, "sources.json"), "w") as file:
        json.dump({"metadata": {"invocation_id": str(count)}, "results": results}, file)
    send("step-outcome", step=0, exit_code=int(stale), invocation_id=str(count), expected=["source.shop.raw.orders"])
    send("step-ended", step=0, status=0)
"""
)


def test_stale_sources_are_waited_for_until_they_are_fresh(pod: Pod) -> None:
    pod.env.update(STUB=STALE_SOURCE, STALE_FOR="1")
    ended = pod.run(step("sourceFreshness", on_stale="Wait"), timeout_seconds=PATIENCE)
    assert (ended.code, ended.summary.reason) == (0, "")
    assert (
        ended.log.count("waiting, since source.shop.raw.orders is older than error_after allows")
        == 1
    )
    assert "the next check is in 5 s" in ended.log
    (checked,) = ended.artifact("sourceFreshness/sources.json")["results"]
    assert checked["status"] == "pass"
    assert ended.summary.nodes == Nodes(total=1, passed=1)


@pytest.mark.parametrize(
    ("reason", "words"), [("Cancelled", "was cancelled"), ("Timeout", "longer than its timeout")]
)
def test_waiting_for_sources_ends_at_once_when_the_run_is_stopped(
    pod: Pod, reason: str, words: str
) -> None:
    pod.env.update(STUB=STALE_SOURCE, STALE_FOR="99")
    limit = 12.0 if reason == "Timeout" else PATIENCE
    process = pod.start(
        step("sourceFreshness", on_stale="Wait"), step("build"), timeout_seconds=limit
    )
    # A pause that neither signal nor limit ended would be over after 10 s, the seconds of the
    # result cut off.
    log = pod.wait_for(process, "the next check is in 10 s")
    began = time.time()
    if reason == "Cancelled":
        process.send_signal(signal.SIGTERM)
    ended = pod.finish(process, log)
    finished = calendar.timegm(
        time.strptime(ended.result["steps"][0]["finished_at"], "%Y-%m-%dT%H:%M:%SZ")
    )
    assert finished - began < 9
    assert ended.summary.reason == reason
    assert (
        f"{words} while it waited for fresh sources: source.shop.raw.orders is older"
        in ended.summary.message
    )
    assert [each["state"] for each in ended.result["steps"]] == ["Failed", "Skipped"]
    assert ended.artifact("sourceFreshness/sources.json")


def test_stale_sources_may_skip_the_rest_of_the_run(pod: Pod) -> None:
    pod.env.update(STUB=STALE_SOURCE, STALE_FOR="99")
    ended = pod.run(step("sourceFreshness", on_stale="Skip"), step("build"))
    assert (ended.code, ended.summary.reason, ended.summary.failures) == (0, "NotFresh", [])
    assert [each["state"] for each in ended.result["steps"]] == ["NotFresh", "Skipped"]
    assert ended.log.rstrip().endswith(
        "Skipped (NotFresh): source.shop.raw.orders is older than error_after allows"
    )


def test_output_is_redacted_line_by_line(pod: Pod) -> None:
    pod.env["STUB"] = (
        "send('secrets', values=['the-secret'])\nsay('the-sec')\nsay('ret and\\nmore')\n"
        "send('failed', step=0, reason='ParseError', message='about the-secret')"
    )
    ended = pod.run(step("build"))
    assert "***** and\nmore" in ended.log
    assert ended.summary.message == "about *****"
    assert "the-secret" not in ended.log + ended.layout.result.read_text()


def test_secrets_of_an_unreadable_profile_are_redacted_as_well(pod: Pod) -> None:
    (pod.layout.profiles / "profiles.yml").write_text("shop: [\n  password: the-secret")
    pod.env["STUB"] = (
        "say('near password: the-secret\\n')\nsend('failed', step=0, reason='ConfigError', "
        "message='x')"
    )
    assert "the-secret" not in pod.run(step("build")).log


def test_a_failure_of_a_later_step_ends_the_run_before_the_first(pod: Pod) -> None:
    pod.env["STUB"] = "send('failed', step=1, reason='EnvironmentMismatch', message='x')"
    ended = pod.run(step("build"), step("docs", allow_failure=True))
    assert [each["state"] for each in ended.result["steps"]] == ["Skipped", "Failed"]
    assert (ended.code, ended.summary.reason) == (2, "EnvironmentMismatch")


def test_a_failure_of_a_step_that_is_none_is_one_of_the_first(pod: Pod) -> None:
    pod.env["STUB"] = "send('failed', step=2, reason='ConfigError', message='no such step')"
    ended = pod.run(step("build"), step("docs"))
    assert (ended.code, ended.summary.reason) == (2, "ConfigError")
    assert [each["state"] for each in ended.result["steps"]] == ["Failed", "Skipped"]


def test_a_project_folder_that_is_missing_is_named(pod: Pod) -> None:
    ended = pod.run(step("build"), project_dir="/no/such/project")
    assert ended.summary.reason == "ConfigError"
    assert "/no/such/project" in ended.summary.message


def test_a_plan_that_cannot_be_read_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dev").mkdir()
    for command in ("prepare", "run", "artifacts"):
        monkeypatch.setenv("DBT_OPERATOR_PLAN", '{"protocol": 99}')
        assert main([command, f"--root={tmp_path}"]) == 2
        assert "protocol 99" in (tmp_path / "dev/termination-log").read_text()


@pytest.mark.parametrize(
    ("isolation", "words"),
    [
        ("Auto", "what is called dbt answers to --version: nothing"),
        ("Fork", "dbt cannot be imported"),
    ],
)
def test_an_image_without_dbt_is_told_so(
    pod: Pod, tmp_path: Path, isolation: str, words: str
) -> None:
    base = str(Path(getattr(sys, "_base_executable", sys.executable)))
    (tmp_path / "bin/dbt").write_text(f"#!{base}\n")
    ended = pod.run(step("build"), isolation=isolation)
    assert (ended.code, ended.summary.reason) == (2, "ConfigError")
    assert words in ended.summary.message


def test_a_plan_with_more_in_it_is_understood(pod: Pod) -> None:
    newer = {**json.loads(pod.plan(step("build")).to_json()), "brand_new": 1}
    assert RunPlan.from_json(json.dumps(newer)) == pod.plan(step("build"))


GARBLED = [
    "write('no message about the-secret\\n')\n",
    'write(\'{"kind": "the-secret"}\\n\')\n',
    "write('[' * 100000 + 'the-secret\\n')\n",
    "send('step-outcome', step=0, exit_code='the-secret')\n",
]
SUCCEEDED = "send('step-outcome', step=0, exit_code=0, expected=[], empty=True)\n"


@pytest.mark.parametrize("garbled", GARBLED)
@pytest.mark.parametrize("before", ["", READY, READY + SUCCEEDED])
def test_what_is_no_message_fails_the_step_and_is_not_quoted(
    pod: Pod, before: str, garbled: str
) -> None:
    pod.env["STUB"] = before + garbled + FOREVER
    ended = pod.run(step("build", allow_empty=True), step("docs"))
    assert ended.summary.reason == "Unknown"
    assert "what runs dbt was ended, since" in ended.summary.message
    assert [each["state"] for each in ended.result["steps"]] == ["Failed", "Skipped"]
    assert "the-secret" not in ended.log + ended.layout.result.read_text()


HOLD = """
import fcntl
told, tell = os.pipe()
if not os.fork():
    lock = open({path!r}, "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    lock.write("held")
    lock.flush()
    os.write(tell, b"!")
    while True: signal.pause()
os.read(told, 1)
"""


def test_nothing_of_the_group_outlives_what_is_no_message(pod: Pod, tmp_path: Path) -> None:
    path = tmp_path / "held"
    pod.env["STUB"] = READY + HOLD.format(path=str(path)) + "write('garbled\\n')\n" + FOREVER
    assert pod.run(step("build")).summary.reason == "Unknown"
    assert path.read_text() == "held"
    # A lock is free once nobody of the group lives, also if nobody has reaped it.
    wait_for("the end of the group", lambda: is_free(path))


def is_free(path: Path) -> bool:
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
