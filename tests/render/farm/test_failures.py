"""What a run does about videos, workers and machines that fail. Nothing is rendered."""

import errno
import importlib
import os
import signal
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from render.farm.events import Done, Failed, Frames, Refused
from render.farm.jobs import Dataset
from render.farm.process import BlenderCrashError, BlenderUnusableError
from render.farm.run import STREAK, TRIES, render_missing
from render.farm.sealing import Places
from tests.render.conftest import make_record
from tests.render.farm.inline_pool import InlinePool, render_inline
from vosforge import VOSForgeError
from vosforge.errors import MachineError
from vosforge.seeding import rng_for
from vosforge.videos import ShardSet, read_manifest, stage_video


def rendered(job, renderer="Blender"):
    """Stage the video of a job; returns the last event."""
    stage_video(Places(Path(job["dataset"])).staged(job["index"]), make_record(job["index"]))
    return Done(renderer=renderer)


@pytest.fixture
def dataset(tmp_path, small_config, catalog):
    return Dataset(tmp_path / "data", small_config.model_copy(update={"videos": 3}), catalog)


@pytest.mark.parametrize(("any_renderer", "missing"), [(False, [1, 2]), (True, [])])
def test_nodes_that_differ_do_not_begin_a_data_set_together(dataset, any_renderer, missing):
    def rendering(number, job):
        yield rendered(job, f"renderer {number}")

    if any_renderer:
        render_inline(dataset, rendering, workers=2, any_renderer=True)
    else:
        with pytest.raises(VOSForgeError, match="started with renderer 0, and renderer 1"):
            render_inline(dataset, rendering, workers=2)
    assert dataset.missing() == missing


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("render.farm.run.FOLDER_PATIENCE", 0.0)
    monkeypatch.setattr("render.farm.run.WORKER_PATIENCE", 0.3)
    monkeypatch.setattr("render.farm.run.PAUSE", 0.0)


def test_the_machines_trouble_ends_the_run_and_quarantines_nothing(dataset, impatient):
    def rendering(number, job):
        yield Frames()
        raise MachineError("cannot write to data (No space left on device)", "No space left on device")

    with pytest.raises(MachineError, match="No space left"):
        render_inline(dataset, rendering)
    assert dataset.missing() == [0, 1, 2]


@pytest.mark.parametrize(
    ("failure", "trouble", "innocent"),
    [
        (BlenderCrashError("it was killed", -signal.SIGKILL), "killed", True),
        (BlenderCrashError("a traceback", 1), "crash", False),
        (BlenderCrashError("a segmentation fault", -signal.SIGSEGV), "crash", False),
        (BlenderCrashError("it said nothing"), "hang", False),
        (BlenderCrashError("MemoryError", 1), "out of memory", False),
        (MachineError("the store lacks it", "missing asset"), "missing asset", False),
        (Failed("gone", "the worker died"), "gone", True),
        (VOSForgeError("a mesh is broken"), "content", False),
    ],
)
def test_a_video_that_keeps_failing_is_quarantined_with_its_trouble_or_left_if_it_is_innocent(
    dataset, failure, trouble, innocent
):
    tried = Counter()

    def rendering(number, job):
        tried[job["index"]] += 1
        yield Frames()
        if job["index"] == 0 and isinstance(failure, Failed):
            yield failure
        elif job["index"] == 0:
            raise failure
        else:
            yield rendered(job)

    done = render_inline(dataset, rendering)
    assert tried == {0: TRIES[trouble], 1: 1, 2: 1}
    assert (done.left, done.quarantined, done.videos_done) == ((1, 0, 2) if innocent else (0, 1, 3))
    assert dataset.missing() == ([0] if innocent else [])
    reasons = [row.reason for row in ShardSet(dataset.root).quarantined]
    assert reasons == ([] if innocent else [f"{trouble}: {failure}"])


def test_a_failed_video_is_tried_again_by_another_worker(dataset):
    tried = []

    def rendering(number, job):
        yield Frames()
        if job["index"] == 1:
            tried.append(number)
            raise BlenderCrashError("a traceback", 1)
        yield rendered(job)

    assert render_inline(dataset, rendering, workers=4).quarantined == 1
    assert len(tried) == len(set(tried)) == TRIES["crash"]


def test_a_worker_that_fails_one_video_after_the_other_is_no_longer_used(dataset, caplog):
    tried = Counter()

    def rendering(number, job):
        tried[number] += 1
        yield Frames()
        if number == 1:
            raise BlenderCrashError("its Blender is broken", 1)
        yield rendered(job)

    more = Dataset(dataset.root.parent / "more", dataset.config.model_copy(update={"videos": 12}), dataset.catalog)
    done = render_inline(more, rendering, workers=2)
    assert (done.videos_done, done.quarantined, done.left) == (12, 0, 0)
    assert tried[1] == STREAK and "no longer used" in caplog.text


def test_a_machine_whose_disk_is_full_leaves_the_run(dataset, caplog):
    def rendering(number, job):
        yield Frames()
        if number % 2:
            raise MachineError("cannot write to /tmp (No space left on device)", "No space left on device")
        yield rendered(job)

    more = Dataset(dataset.root.parent / "more", dataset.config.model_copy(update={"videos": 12}), dataset.catalog)
    done = render_inline(more, rendering, workers=4, nodes=2)
    assert (done.videos_done, done.quarantined, done.left) == (12, 0, 0)
    assert caplog.text.count("node 1 leaves the run") == 1


def test_a_machine_that_cannot_render_leaves_the_run_and_the_last_one_ends_it(dataset):
    def rendering(number, job):
        if number != 2:
            raise BlenderUnusableError("Blender is missing")
        yield rendered(job)

    assert render_inline(dataset, rendering, workers=3).videos_done == 3
    again = Dataset(dataset.root.parent / "again", dataset.config, dataset.catalog)
    with pytest.raises(BlenderUnusableError, match="Blender is missing"):
        render_inline(again, rendering, workers=2)
    assert again.missing() == [0, 1, 2]


@pytest.mark.parametrize("step", ["pack_shard", "append_manifest", "quarantine_video"])
def test_a_folder_that_cannot_be_written_to_for_a_while_loses_nothing(dataset, monkeypatch, step):
    monkeypatch.setattr("render.farm.run.PAUSE", 0.0)
    left = [3]
    place = {"pack_shard": "render.farm.sealing", "append_manifest": "render.farm.jobs"}.get(step, "render.farm.jobs")
    works = getattr(importlib.import_module(place), step)

    def refuse(*arguments):
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return works(*arguments)

    monkeypatch.setattr(f"{place}.{step}", refuse)

    def rendering(number, job):
        yield Refused("it is dark") if job["index"] == 1 else rendered(job)

    done = render_inline(dataset, rendering, workers=2)
    assert (done.videos_done, done.quarantined, done.left) == (3, 1, 0)
    assert not left[0] and not dataset.missing()
    assert [row.id for row in read_manifest(dataset.root)] == ["000000", "000001", "000002"]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_killed_at_random_every_video_is_there_once(dataset, seed):
    rng = rng_for("kills", seed)
    config = dataset.config.model_copy(update={"videos": 30, "videos_per_shard": 4})
    more = Dataset(dataset.root.parent / "more", config, dataset.catalog)

    def rendering(number, job):
        yield Frames(1)
        if (chance := rng.random()) < 0.15:
            yield Failed("gone", "the worker died")
        elif chance < 0.3:
            raise BlenderCrashError("it was killed", -signal.SIGKILL)
        else:
            yield rendered(job)

    done = render_inline(more, rendering, workers=3, nodes=2)
    assert (done.videos_done, done.quarantined, done.left) == (30, 0, 0)
    assert [row.id for row in ShardSet(more.root).videos] == [f"{index:06d}" for index in range(30)]
    assert not any(more.places.staging.iterdir())


def test_where_no_worker_ever_comes_the_run_ends(dataset, impatient):
    class Nobody(InlinePool):
        def start(self) -> int:
            self._workers.append(None)
            return len(self._workers) - 1

    @contextmanager
    def pool_for(videos):
        yield Nobody(dataset, 2, None)

    with pytest.raises(MachineError, match="no worker is left"):
        render_missing(dataset, pool_for)
    assert dataset.missing() == [0, 1, 2]


def test_refusals_are_counted_by_kind_and_module(dataset):
    def rendering(number, job):
        if job["attempt"] == 0:
            yield Refused("frame 0 is black", "black")
        elif job["index"] == 1 and job["attempt"] == 1:
            yield Refused("no object is seen in frame 0", "hidden", ("occluders", "paths"))
        else:
            yield rendered(job)

    done = render_inline(dataset, rendering)
    assert done.refusals == {"black": 3, "hidden (occluders, paths)": 1}
    assert done.redrawn == 4


def test_a_refused_scene_is_drawn_again_until_its_attempts_are_used_up(dataset):
    drawn = []

    def rendering(number, job):
        drawn.append((job["index"], job["attempt"]))
        yield Refused("an object is hidden") if job["index"] == 1 else rendered(job)

    done = render_inline(dataset, rendering)
    attempts = dataset.config.attempts
    assert [attempt for index, attempt in drawn if index == 1] == [*range(attempts)]
    assert (done.redrawn, done.quarantined, done.videos_done) == (attempts - 1, 1, 3)
    assert {row.id: row.reason for row in ShardSet(dataset.root).quarantined} == {
        "000001": "refused: an object is hidden"
    }
