"""What a data set and its runs say of themselves. Nothing is rendered."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render.farm.events import KINDS, UNSORTED, Frames, Refused, kind_of
from render.farm.jobs import Dataset
from render.farm.runlog import STALE, Moment, Run, RunLog, RunNow, WorkerNow
from render.farm.status import MIN_SPAN, rate_of, read_status, seconds_left
from tests.render.conftest import make_record
from tests.render.farm.inline_pool import render_inline
from tests.render.farm.test_failures import rendered
from vosforge import InputError
from vosforge.files import write_sealed
from vosforge.videos import place, stage_video

START = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.fixture
def dataset(tmp_path, small_config, catalog):
    return Dataset(tmp_path / "data", small_config, catalog)


def counts(dataset):
    found = read_status(dataset.root)
    return found.done, found.missing, found.quarantined, found.state


def test_what_is_done_is_counted_from_the_files_whether_or_not_a_run_was_there(dataset):
    with pytest.raises(InputError, match=r"has no dataset\.yaml"):
        read_status(dataset.root / "logs")
    assert counts(dataset) == (0, 7, {}, "incomplete")
    with dataset.writing():
        for index in (0, 3):
            stage_video(dataset.staged_path(index), make_record(index))
        dataset.quarantine(1, "crash: a traceback")
        dataset.quarantine(4, "refused: it is dark")
        assert counts(dataset) == (2, 3, {"crash": 1, "refused": 1}, "incomplete")
        dataset.quarantine(2, "it broke")  # as older versions wrote reasons
        dataset.pack()
        assert counts(dataset) == (2, 2, {"crash": 1, UNSORTED: 1, "refused": 1}, "incomplete")
        for index in (5, 6):
            stage_video(dataset.staged_path(index), make_record(index))
        assert counts(dataset)[1:] == (0, {"crash": 1, UNSORTED: 1, "refused": 1}, "incomplete"), "two are not sealed"
        assert (read_status(dataset.root).shards, read_status(dataset.root).sealed) == (3, 1)
        dataset.pack()
        assert counts(dataset) == (4, 0, {"crash": 1, UNSORTED: 1, "refused": 1}, "quarantined")
        dataset.retry_quarantined()
        for index in (1, 2):
            stage_video(dataset.staged_path(index), make_record(index))
        assert counts(dataset) == (6, 0, {"refused": 1}, "incomplete"), "a shard is to be made anew"
        dataset.pack()
        assert counts(dataset) == (6, 0, {"refused": 1}, "quarantined")
        dataset.retry_quarantined()
        stage_video(dataset.staged_path(4), make_record(4))
        dataset.pack()
    assert counts(dataset) == (7, 0, {}, "finished")


@pytest.mark.parametrize("damage", ["", "{", None])
def test_shards_that_the_manifest_lacks_count(dataset, damage):
    with dataset.writing():
        for index in range(7):
            stage_video(dataset.staged_path(index), make_record(index))
        dataset.pack()
    manifest = dataset.root / "manifest.jsonl"
    if damage is None:
        manifest.unlink()
    elif damage:
        manifest.write_text(manifest.read_text()[:-20])
    else:
        manifest.write_text(manifest.read_text().splitlines()[0] + "\n")
    before = sorted((path, path.read_bytes()) for path in dataset.root.rglob("*") if path.is_file())
    assert counts(dataset)[0] >= 7 - 2 * (damage == "")
    assert sorted((path, path.read_bytes()) for path in dataset.root.rglob("*") if path.is_file()) == before


def test_a_run_is_under_way_until_it_ends_or_says_nothing_for_a_while(dataset):
    seen = []

    def rendering(number, job):
        yield Frames()
        seen.append(read_status(dataset.root))
        yield Refused("it is dark") if job["index"] == 1 else rendered(job)

    render_inline(dataset, rendering, workers=2, on_progress=lambda _: None)
    assert {status.state for status in seen} == {"running"}
    assert counts(dataset) == (6, 0, {"refused": 1}, "quarantined")

    with RunLog(dataset.places, 7, "07-of-40") as log:
        log.begin(1)
        found = read_status(dataset.root)
        assert [(run.now.label, run.alive) for run in found.runs] == [("07-of-40", True), ("", False)]
        path = dataset.root / "logs" / "status-07-of-40.json"
        old = RunNow.model_validate_json(path.read_text())
        write_sealed(path, old.model_copy(update={"time": old.time - timedelta(seconds=STALE)}).model_dump_json())
        found = read_status(dataset.root)
        assert (found.state, found.runs[0].alive, found.runs[0].now.outcome) == ("quarantined", False, None)
        assert STALE <= found.runs[0].silent < 2 * STALE
    assert (dataset.root / "logs" / "run-07-of-40.jsonl").exists()


def test_videos_in_work_are_those_of_the_workers_of_live_runs(dataset):
    write_sealed(dataset.root / "logs" / "status.json", run(()).now.model_dump_json())
    assert read_status(dataset.root).running == 0, "its time is long past"
    fresh = run(()).now.model_copy(update={"time": datetime.now(UTC)})
    write_sealed(dataset.root / "logs" / "status.json", fresh.model_dump_json())
    assert read_status(dataset.root).running == 2


def run(history, frames_left=0):
    """A run with two workers that render, and one that does not."""
    worker = {"attempt": 0, "seconds": 9.0, "silent": 3.0, "memory": 0}
    workers = [WorkerNow(worker=n, node="here", video=5 * n if n else None, **worker) for n in range(3)]
    now = RunNow(
        label="",
        time=START,
        started=START,
        host="here",
        pid=1,
        outcome=None,
        videos=9,
        videos_done=0,
        frames_done=0,
        frames_left=frames_left,
        redrawn=0,
        failures={},
        history=tuple(history),
        workers=tuple(workers),
    )
    return Run(now, 0.0)


def moments(*points):
    return [Moment(seconds=seconds, videos=frames // 10, frames=frames) for seconds, frames in points]


def test_a_rate_is_that_of_the_history_without_the_set_up_before_its_first_frame():
    assert rate_of([]) is None and rate_of(moments((0, 0))) is None and rate_of(moments((0, 0), (60, 0))) is None
    even = rate_of(moments((0, 0), (600, 0), (660, 60), (720, 120)))
    assert (even.seconds, even.frames, even.videos, even.slowest, even.fastest) == (120, 3600, 360, 3600, 3600)
    uneven = rate_of(moments((0, 0), (60, 30), (120, 120)))
    assert (uneven.frames, uneven.slowest, uneven.fastest) == (3600, 1800, 5400)
    left = seconds_left([run(moments((0, 0), (60, 30), (120, 120)), 5400)])
    assert (left.expected, left.low, left.high) == (5400, 3600, 10800)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 100), st.integers(0, 1000)), min_size=2, max_size=60), st.integers(1, 10**6))
def test_the_range_of_what_is_left_holds_what_is_expected(steps, frames_left):
    seconds, frames, points = 0.0, 0, []
    for step, more in steps:
        seconds, frames = seconds + step, frames + more
        points.append((seconds, frames))
    rate = rate_of(moments(*points))
    if frames > points[0][1]:
        assert 0 <= rate.slowest <= rate.frames <= rate.fastest
        left = seconds_left([run(moments(*points), frames_left)])
        assert left.low <= left.expected and (left.high is None or left.high >= left.expected)
        assert left.expected == pytest.approx(3600 * frames_left / rate.frames)
    if seconds < MIN_SPAN and rate:
        assert rate.slowest == rate.fastest == rate.frames


def test_of_several_runs_the_last_to_end_counts_and_one_that_cannot_tell_leaves_it_open():
    fast, slow = (run(moments((0, 0), (3600, frames)), 100) for frames in (200, 50))
    assert seconds_left([fast, slow]).expected == seconds_left([slow]).expected == 7200
    assert seconds_left([]) is None and seconds_left([fast, run([], 100)]) is None
    paused = run(moments((0, 0), (600, 100), (1200, 100)), 100)
    assert seconds_left([paused]).high is None


def test_the_kind_of_a_reason_is_its_first_words():
    assert [kind_of(f"{kind}: because: of it") for kind in KINDS] == [*KINDS]
    assert {kind_of(reason) for reason in (None, "", "it broke", "died: crash: x", "crash")} == {UNSORTED}


def test_a_copy_behind_a_url_has_the_same_status(dataset, cache):
    with dataset.writing():
        for index in (0, 3, 4, 5):
            stage_video(dataset.staged_path(index), make_record(index))
        dataset.quarantine(1, "crash: a traceback")
        dataset.pack()
    with RunLog(dataset.places, 7):
        pass
    here = read_status(dataset.root)
    fsspec.filesystem("memory").put(str(dataset.root), "/copy", recursive=True)
    there = read_status(place("memory://copy"))
    assert (here.done, here.quarantined, here.sealed) == (4, {"crash": 1}, 1)
    assert there == replace(here, runs=there.runs)
    assert [run.now for run in there.runs] == [run.now for run in here.runs]
