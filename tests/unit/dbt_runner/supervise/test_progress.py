"""How far a run is: counted, printed, and moving while real dbt works."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbt_protocol.messages import ProtocolError
from dbt_protocol.plans import Bucket, UploadPlan
from dbt_protocol.summaries import PROGRESS_BYTES, Nodes, Progress
from dbt_runner.layout import Layout
from dbt_runner.presence import held
from dbt_runner.supervise.progress import Tally, find_soonest
from dbt_runner.upload.teller import Teller
from dbt_runner.upload.uploader import Uploader
from dbt_runner.worker_messages import NodeProgress
from tests.support.dbt_projects import SHOP, SLOW
from tests.support.kube import PATIENCE, wait_for
from tests.support.pods import Pod, step

# The protocol


@given(
    st.builds(
        Progress,
        st.integers(0, 1000),
        st.integers(0, 1000),
        st.lists(st.text(max_size=5), max_size=9),
    )
)
def test_progress_survives_its_line(progress: Progress) -> None:
    progress = Progress(progress.done, progress.total, tuple(progress.running))
    assert Progress.from_line(progress.to_line()) == progress


def test_a_line_names_ten_nodes_at_most() -> None:
    progress = Progress(1, 99, tuple(f"model.shop.m{number}" for number in range(50)))
    assert Progress.from_line(progress.to_line()).running == progress.running[:10]


@pytest.mark.parametrize("name", ["m" * 300, "m" * 5000, "größe" * 60])
def test_a_line_is_short_whatever_the_names(name: str) -> None:
    progress = Progress(1, 99, tuple(f"model.shop.{name}{number}" for number in range(9)))
    assert len(progress.to_json().encode()) <= PROGRESS_BYTES
    assert Progress.from_line(progress.to_line()).total == 99


@pytest.mark.parametrize(
    "line",
    [
        "",
        "dbt-operator: waiting for artifacts",
        "dbt-operator: progress ",
        'dbt-operator: progress {"done":1,"total":2,"running":["mod',
        'dbt-operator: progress {"done":1,"total":2}',
        'dbt-operator: progress {"done":-1,"total":2,"running":[]}',
        'dbt-operator: progress {"done":1.5,"total":2,"running":[]}',
        'dbt-operator: progress {"done":true,"total":2,"running":[]}',
        'dbt-operator: progress {"done":1,"total":99999999999,"running":[]}',
        'dbt-operator: progress {"done":1,"total":2,"running":"model"}',
        'dbt-operator: progress {"done":1,"total":2,"running":[1]}',
        'dbt-operator: progress {"done":1,"total":2,"running":[],"windows":["+"]}',
        'dbt-operator: progress {"done":1,"total":2,"running":[],"windows":null}',
        'dbt-operator: progress {"done":1,"total":2,"running":[],"windows":"%s"}' % ("+" * 101),
        "dbt-operator: progress [1]",
        "dbt-operator: progress " + "[" * 100_000,
    ],
)
def test_what_is_no_progress_is_refused(line: str) -> None:
    with pytest.raises(ProtocolError):
        Progress.from_line(line)


def test_a_line_tells_of_a_hundred_windows_and_of_none_where_there_are_none() -> None:
    progress = Progress(1, 99, tuple("m" * 90 for _ in range(10)), "+" * 100)
    assert len(progress.to_json()) <= PROGRESS_BYTES
    assert Progress.from_line(progress.to_line()).windows == "+" * 100
    assert "windows" not in Progress(1, 2).to_json()


def test_a_name_that_is_no_text_can_be_printed() -> None:
    found = Progress.from_json('{"done":0,"total":1,"running":["\\ud800"]}')
    assert found.to_line().encode()


# The supervisor's count


def counted(tally: Tally, progress: Iterable[dict[str, Any]]) -> Progress:
    for each in progress:
        tally.count(NodeProgress(**each))
    return tally.progress


def test_the_nodes_are_those_of_the_window_at_work(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "progress.json")
    tally.set_windows(">-")
    tally.begin_step(counts=True)
    assert (
        counted(tally, [{"total": 2}, {"started": "a"}, {"ended": "a", "status": "success"}]).done
        == 1
    )
    tally.end_step(Nodes(total=2, success=2))
    tally.set_windows("+>")
    assert tally.progress == Progress(0, 0, (), "+>")


def started(*nodes: str) -> list[dict[str, Any]]:
    return [{"started": node} for node in nodes]


def finished(*nodes: str, status: str = "success") -> list[dict[str, Any]]:
    return [{"ended": node, "status": status} for node in nodes]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], Progress()),
        ([{"total": 3}, *started("a", "b")], Progress(0, 3, ("a", "b"))),
        (
            [{"total": 3}, *started("a", "b"), *finished("a"), *started("c")],
            Progress(1, 3, ("b", "c")),
        ),
        ([{"total": 2}, *started("a"), *finished("a", status="error")], Progress(1, 2)),
        ([{"total": 2}, *started("a"), *finished("a", status="skipped")], Progress(0, 2)),
        # A microbatch model with two batches: still at work after the first.
        ([{"total": 1}, *started("m", "m"), *finished("m"), *started("m")], Progress(0, 1, ("m",))),
        (
            [{"total": 1}, *started("m", "m"), *finished("m"), *started("m"), *finished("m", "m")],
            Progress(1, 1),
        ),
        (finished("never-started"), Progress()),
    ],
)
def test_nodes_are_counted(
    tmp_path: Path, events: list[dict[str, Any]], expected: Progress
) -> None:
    assert counted(Tally(tmp_path / "p"), events) == expected


def test_steps_add_up_and_one_that_only_compiles_does_not(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "p")
    build = [{"total": 4}, *started("a", "lost"), *finished("a")]
    tally.begin_step(counts=True)
    assert counted(tally, build) == Progress(1, 4, ("lost",))
    tally.end_step(Nodes(total=4, success=2, error=1, skipped=1))
    assert tally.progress == Progress(3, 4)
    tally.begin_step(counts=False)
    assert counted(tally, build) == Progress(3, 4)
    tally.end_step(Nodes())
    tally.begin_step(counts=True)
    assert counted(tally, build) == Progress(4, 8, ("lost",))


def test_the_count_is_left_in_a_file_not_more_often_than_it_may(tmp_path: Path) -> None:
    path = tmp_path / "p"
    tally = Tally(path, seconds=60)
    assert tally.flush() is None
    assert not path.exists()
    counted(tally, [{"total": 2}])
    assert tally.flush() is None
    first = path.read_text()
    assert Progress.from_json(first) == Progress(0, 2)
    counted(tally, started("a"))
    wait = tally.flush()
    assert wait is not None
    assert 50 < wait <= 60
    assert path.read_text() == first


def test_a_disk_that_is_full_or_gone_stops_nothing(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "no-such-folder/p")
    counted(tally, [{"total": 2}])
    assert tally.flush() is None


@pytest.mark.parametrize(
    ("seconds", "expected"), [((None, None), None), ((3.0, None), 3.0), ((3.0, 1.0), 1.0)]
)
def test_the_soonest_of_some_waits(
    seconds: tuple[float | None, ...], expected: float | None
) -> None:
    assert find_soonest(*seconds) == expected


# The sidecar's lines


def test_a_change_is_printed_once(tmp_path: Path) -> None:
    path = tmp_path / "p"
    lines: list[str] = []
    teller = Teller(path, seconds=0, say=lines.append)
    teller.look()
    for progress in (Progress(0, 2, ("a",)), Progress(0, 2, ("a",)), Progress(2, 2)):
        path.write_text(progress.to_json())
        teller.look()
    path.write_text("half a lin")
    teller.look()
    assert lines == [
        'dbt-operator: progress {"done":0,"total":2,"running":["a"]}',
        'dbt-operator: progress {"done":2,"total":2,"running":[]}',
    ]


def test_lines_come_no_sooner_than_they_may(tmp_path: Path) -> None:
    path = tmp_path / "p"
    lines: list[str] = []
    teller = Teller(path, seconds=60, say=lines.append)
    for done in range(5):
        path.write_text(Progress(done + 1, 5).to_json())
        teller.look()
    assert [Progress.from_line(line).done for line in lines] == [1]


def test_the_sidecar_prints_the_progress_while_dbt_runs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    layout = Layout(str(tmp_path))
    layout.artifacts.mkdir(parents=True)
    progress = Progress(3, 12, ("model.shop.orders",))
    layout.progress.write_text(progress.to_json())

    def refuse() -> None:
        raise AssertionError("there is nothing to upload")

    stop = threading.Event()
    plan = UploadPlan(Bucket("https://store", "b"), "runs/one")
    uploader = Uploader(layout, plan, refuse, poll_seconds=0.01)  # type: ignore[arg-type]
    with held(layout.alive):
        sidecar = threading.Thread(target=uploader.run, args=[stop])
        sidecar.start()
        printed: list[str] = []

        def look() -> bool:
            printed.append(capfd.readouterr().out)
            return "progress" in "".join(printed)

        wait_for("a line of progress", look)
        stop.set()
    sidecar.join(PATIENCE)
    assert Progress.from_line("".join(printed).strip()) == progress


# With dbt


@pytest.mark.one_dbt
def test_a_slow_model_is_named_while_it_runs(tmp_path: Path) -> None:
    """Its start follows right upon the end of a quick one, so it must be told although nothing
    happens after it.
    """
    pod = Pod(tmp_path / "pod", SLOW)
    process = pod.start(
        step("run"), grace_seconds=1
    )  # else it waits, if the interrupt comes before the query
    seen = pod.watch(process, lambda progress: progress.running == ("model.shop.slow",))
    process.send_signal(signal.SIGTERM)
    pod.finish(process)
    assert seen[-1] == Progress(1, 3, ("model.shop.slow",))
    assert [each.done for each in seen] == sorted(each.done for each in seen)


@pytest.mark.one_dbt
@pytest.mark.parametrize("isolation", ["Fork", "Process"])
def test_in_the_end_the_progress_is_what_the_results_say(tmp_path: Path, isolation: str) -> None:
    """The last step is too slow to end, so that what the others left behind can be looked at."""
    pod = Pod(
        tmp_path / "pod",
        {**SHOP, **SLOW, "models/slow.sql": SLOW["models/slow.sql"].replace("quick", "totals")},
    )
    process = pod.start(
        step("build", "--exclude", "slow+", "quick", "after"),
        step("compile", "--exclude", "slow+"),
        step("run", "--select", "slow", name="slow"),
        isolation=isolation,
        grace_seconds=1,
    )
    seen = pod.watch(process, lambda progress: progress.running == ("model.shop.slow",))
    process.send_signal(signal.SIGTERM)
    ended = pod.finish(process)
    # Seed, two models, a snapshot, four tests; the ephemeral model is nobody's result.
    assert ended.step("build")["nodes"]["total"] == 8
    assert seen[-1] == Progress(8, 9, ("model.shop.slow",))
    assert {each.total for each in seen} <= {8, 9}
    assert [each.done for each in seen] == sorted(each.done for each in seen)
