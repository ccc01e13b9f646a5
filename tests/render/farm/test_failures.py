"""What a run does about videos, workers and machines that fail. Nothing is rendered."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from render.farm.events import Done, Failed, Frames, Refused
from render.farm.jobs import Dataset
from render.farm.process import BlenderCrashError
from render.farm.sealing import Places
from tests.render.conftest import make_record
from tests.render.farm.inline_pool import render_inline
from vosforge import VOSForgeError
from vosforge.errors import MachineError
from vosforge.videos import ShardSet, stage_video


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
        with pytest.raises(VOSForgeError, match="started with renderer 1, and renderer 0"):
            render_inline(dataset, rendering, workers=2)
    assert dataset.missing() == missing


def test_the_machines_trouble_ends_the_run_and_quarantines_nothing(dataset):
    def rendering(number, job):
        yield Frames()
        raise MachineError("cannot write to data (No space left on device)", "No space left on device")

    with pytest.raises(MachineError, match="No space left"):
        render_inline(dataset, rendering)
    assert dataset.missing() == [0, 1, 2]


@pytest.mark.parametrize(
    ("failure", "tries", "innocent"),
    [
        (BlenderCrashError("killed", -signal.SIGKILL), 2, True),
        (BlenderCrashError("a traceback", 1), 2, False),
        (Failed("gone", "the worker died"), 2, True),
        (VOSForgeError("a mesh is broken"), 1, False),
    ],
    ids=["killed", "crashed", "worker died", "refused"],
)
def test_only_what_a_video_did_itself_quarantines_it(dataset, failure, tries, innocent):
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
    assert tried == {0: tries, 1: 1, 2: 1}
    assert (done.left, done.quarantined, done.videos_done) == ((1, 0, 2) if innocent else (0, 1, 3))
    assert dataset.missing() == ([0] if innocent else [])
    assert [row.id for row in ShardSet(dataset.root).quarantined] == ([] if innocent else ["000000"])


def test_a_refused_scene_is_drawn_again_until_its_attempts_are_used_up(dataset):
    drawn = []

    def rendering(number, job):
        drawn.append((job["index"], job["attempt"]))
        yield Refused("an object is hidden") if job["index"] == 1 else rendered(job)

    done = render_inline(dataset, rendering)
    attempts = dataset.config.attempts
    assert [attempt for index, attempt in drawn if index == 1] == [*range(attempts)]
    assert (done.redrawn, done.quarantined, done.videos_done) == (attempts - 1, 1, 3)
    assert {row.id: row.reason for row in ShardSet(dataset.root).quarantined} == {"000001": "an object is hidden"}
