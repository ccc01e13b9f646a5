"""What a run writes for those who watch it. Nothing is rendered."""

import json
import os
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assets.catalog import Catalog
from benchmarks.null_child import FRAMES, SIDE
from blender_scenes.spec import RenderSettings
from render.farm.events import Done, Frames, Refused
from render.farm.jobs import Dataset, DatasetConfig
from render.farm.pool import Render
from render.farm.process import BlenderCrashError
from render.farm.run import STREAK, TRIES
from render.farm.runlog import KEPT, RunLog, RunNow
from render.farm.threads import ThreadPool
from render.farm.worker import Workplace
from tests.render.farm.inline_pool import render_inline
from tests.render.farm.test_failures import rendered
from vosforge.errors import MachineError


@pytest.fixture
def dataset(tmp_path, small_config, catalog):
    return Dataset(tmp_path / "data", small_config, catalog)


def null_dataset(root, videos):
    """A data set that null children fill."""
    render = RenderSettings(width=SIDE, height=SIDE, frames=FRAMES)
    return Dataset(root, DatasetConfig(videos=videos, held_out_every=0, render=render), Catalog())


def lines(dataset):
    return [json.loads(line) for line in (dataset.root / "logs" / "run.jsonl").read_text().splitlines()]


def of(dataset, event):
    return [line for line in lines(dataset) if line["event"] == event]


def status(dataset):
    return RunNow.model_validate_json((dataset.root / "logs" / "status.json").read_text())


def test_each_video_worker_and_shard_has_its_lines(dataset):
    def rendering(number, job):
        yield Frames(2)
        yield Refused("it is dark") if job["index"] == 1 and not job["attempt"] else rendered(job)

    render_inline(dataset, rendering, workers=2, nodes=2)
    (began,), (ended,) = of(dataset, "run started"), of(dataset, "run ended")
    assert (began["pid"], began["workers"], began["videos"]) == (os.getpid(), 2, 7)
    assert (ended["outcome"], ended["videos_done"], ended["redrawn"]) == ("finished", 7, 1)
    assert [(line["worker"], line["node"]) for line in of(dataset, "worker ready")] == [(0, "node 0"), (1, "node 1")]
    done = of(dataset, "video done")
    assert sorted((line["index"], line["attempt"]) for line in done) == [(i, int(i == 1)) for i in range(7)]
    assert all(line["node"] == f"node {line['worker']}" and line["seconds"] >= 0 for line in done)
    assert [(line["index"], line["reason"]) for line in of(dataset, "video refused")] == [(1, "it is dark")]
    assert sorted(line["shard"] for line in of(dataset, "shard sealed")) == [f"shard-0000{n}.h5" for n in range(3)]
    times = [datetime.fromisoformat(line["time"]) for line in lines(dataset)]
    assert times == sorted(times) and all(time.utcoffset() == timedelta(0) for time in times)
    assert abs(datetime.now(UTC) - times[-1]) < timedelta(minutes=1)


def test_failures_quarantines_and_workers_that_leave_have_their_lines(dataset):
    def rendering(number, job):
        yield Frames()
        if number == 0:
            raise BlenderCrashError("its Blender is broken", 1)
        if job["index"] == 5:
            raise BlenderCrashError("a segmentation fault", -signal.SIGSEGV)
        if job["index"] == 6:
            raise BlenderCrashError("it was killed", -signal.SIGKILL)
        yield rendered(job)

    render_inline(dataset, rendering, workers=3)
    failed = Counter((line["index"], line["trouble"]) for line in of(dataset, "video failed"))
    assert failed[5, "crash"] == TRIES["crash"] and failed[6, "killed"] == TRIES["killed"]
    assert [(line["index"], line["trouble"]) for line in of(dataset, "video quarantined")] == [(5, "crash")]
    assert [line["index"] for line in of(dataset, "video left")] == [6]
    assert [line["worker"] for line in of(dataset, "worker left")] == [0]
    assert len({line["index"] for line in of(dataset, "video failed") if line["worker"] == 0}) == STREAK
    now = status(dataset)
    assert now.failures == of(dataset, "run ended")[0]["failures"] == dict(sum_by_trouble(failed))
    assert (now.outcome, now.workers) == ("incomplete", ())


def sum_by_trouble(failed):
    found = Counter()
    for (_, trouble), count in failed.items():
        found[trouble] += count
    return found


def test_the_status_names_what_each_worker_does_and_is_written_every_few_seconds(dataset, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("render.farm.runlog.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("render.farm.worker.Worker.memory", lambda worker: 1000)
    seen = []

    def rendering(number, job):
        for _ in range(3):
            clock[0] += 2.0
            yield Frames()
        yield rendered(job)

    def look(progress):
        now = status(dataset)
        if not seen or now != seen[-1]:
            seen.append(now)

    render_inline(dataset, rendering, workers=2, on_progress=look)
    assert 7 <= len(seen) <= 9, "42 seconds of work, 5 seconds each, and the start"
    assert [now.frames_done for now in seen] == sorted(now.frames_done for now in seen)
    rendering_now = [worker for now in seen for worker in now.workers if worker.memory]
    assert {(worker.worker, worker.memory) for worker in rendering_now} == {(0, 1000), (1, 1000)}
    assert {worker.video for worker in rendering_now} - {None} <= set(range(7))
    assert all(worker.silent <= worker.seconds for worker in rendering_now if worker.silent is not None)
    assert [moment.frames for moment in seen[-1].history] == sorted(moment.frames for moment in seen[-1].history)


def test_a_history_has_as_many_points_however_long_the_run(dataset, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("render.farm.runlog.time.monotonic", lambda: clock[0])
    sizes = []

    def rendering(number, job):
        for _ in range(20):
            clock[0] += 40.0
            yield Frames(0)
        yield rendered(job)

    render_inline(dataset, rendering, on_progress=lambda _: sizes.append(len(status(dataset).history)))
    assert max(sizes) == 61 == sizes[-1]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(143), "terminated"),
        (MachineError("the share is gone"), "failed"),
        (RuntimeError("a bug"), "failed"),
    ],
)
def test_how_a_run_ended_is_its_last_line(dataset, error, outcome):
    def rendering(number, job):
        if job["index"] == 2:
            raise error
        yield rendered(job)

    with pytest.raises(type(error)) as caught, pytest.MonkeyPatch.context() as patch:
        patch.setattr("render.farm.run.FOLDER_PATIENCE", 0.1)
        patch.setattr("render.farm.run.PAUSE", 0.0)
        render_inline(dataset, rendering)
    last = lines(dataset)[-1]
    assert (last["event"], last["outcome"]) == ("run ended", outcome)
    assert last.get("error") == (str(caught.value) if outcome == "failed" else None)
    assert status(dataset).outcome == outcome


def test_a_workers_memory_is_told_with_its_frames(tmp_path, monkeypatch):
    monkeypatch.setattr("render.farm.worker.BATCH_SECONDS", 0.0)
    dataset = null_dataset(tmp_path / "data", 1)
    with ThreadPool(Workplace(dataset.root, tmp_path, 1, "cpu", "benchmarks.null_child"), 1) as pool:
        worker = pool.start()
        pool.submit(worker, Render(0))
        events = []
        while not (events and isinstance(events[-1], Done)):
            events += [event for _, _, event in pool.events(10.0)]
    told = [event.memory for event in events if isinstance(event, Frames)]
    assert len(told) == 160 and all(10 * 2**20 < memory < 2**30 for memory in told)


def rendering_all(number, job):
    yield rendered(job)


def test_a_log_that_cannot_be_written_ends_no_run_and_is_written_later(dataset, monkeypatch, caplog):
    monkeypatch.setattr("render.farm.runlog.PERIOD", 0.0)

    def change(progress):
        if progress.videos_done in (1, 4):
            name = "absent/run.jsonl" if progress.videos_done == 1 else "run.jsonl"
            monkeypatch.setattr("render.farm.runlog.RUN_LOG", name)

    assert render_inline(dataset, rendering_all, on_progress=change).videos_done == 7
    assert caplog.text.count("the run's log waits") == 1
    assert [line["index"] for line in of(dataset, "video done")] == [*range(7)]


def test_of_lines_that_wait_for_too_long_the_number_is_told(dataset):
    with RunLog(dataset.places, 7) as log:
        for number in range(KEPT // 50):
            log.note("waiting", number=number)
    kept, (lost,) = len(of(dataset, "waiting")), of(dataset, "lines lost")
    assert kept and kept + lost["count"] == KEPT // 50 + 1, "the run's end is lost, too"


def test_nothing_is_written_below_the_empty_mount_point_of_a_lost_share(dataset):
    with RunLog(dataset.places, 7):
        dataset.root.rename(dataset.root.with_name("elsewhere"))
        dataset.root.mkdir()
    assert not any(Path(dataset.root).iterdir())
