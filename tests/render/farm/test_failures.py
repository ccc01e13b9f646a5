"""What a run does about videos, workers and machines that fail. Nothing is rendered."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from render.farm.jobs import Dataset
from render.farm.layout import Resources
from render.farm.process import BlenderCrashError
from tests.render.conftest import make_record
from tests.render.farm.inline_ray import install
from vosforge import VOSForgeError
from vosforge.errors import MachineError
from vosforge.videos import ShardSet, stage_video

cluster = pytest.importorskip("render.farm.cluster", exc_type=ImportError)
exceptions = pytest.importorskip("ray.exceptions")


def index_of(job):
    return int(Path(job["staged"]).stem)


def rendered(job, renderer="Blender"):
    """Stage the video of a job; returns the last event."""
    stage_video(Path(job["staged"]), make_record(index_of(job)))
    return {"done": {}, "renderer": renderer}


@pytest.fixture
def dataset(tmp_path, small_config, catalog):
    return Dataset(tmp_path / "data", small_config.model_copy(update={"videos": 3}), catalog)


@pytest.mark.parametrize(("any_renderer", "missing"), [(False, [1, 2]), (True, [])])
def test_nodes_that_differ_do_not_begin_a_data_set_together(monkeypatch, dataset, store, any_renderer, missing):
    def rendering(number, job):
        yield rendered(job, f"renderer {number}")

    install(monkeypatch, rendering)
    resources = Resources(workers=2, any_renderer=any_renderer)
    if any_renderer:
        cluster.render_dataset(dataset, store, resources)
    else:
        with pytest.raises(VOSForgeError, match="started with renderer 1, and renderer 0"):
            cluster.render_dataset(dataset, store, resources)
    assert dataset.missing() == missing


def test_the_machines_trouble_ends_the_run_and_quarantines_nothing(monkeypatch, dataset, store):
    def rendering(number, job):
        yield {"frame": 0}
        raise MachineError("cannot write to data (No space left on device)", "No space left on device")

    install(monkeypatch, rendering)
    with pytest.raises(MachineError, match="No space left"):
        cluster.render_dataset(dataset, store, Resources(workers=1))
    assert dataset.missing() == [0, 1, 2]


@pytest.mark.parametrize(
    ("failure", "tries", "innocent"),
    [
        (BlenderCrashError("killed", -signal.SIGKILL), 2, True),
        (BlenderCrashError("a traceback", 1), 2, False),
        (exceptions.RayActorError(), 2, True),
        (VOSForgeError("a mesh is broken"), 1, False),
    ],
    ids=["killed", "crashed", "worker died", "refused"],
)
def test_only_what_a_video_did_itself_quarantines_it(monkeypatch, dataset, store, failure, tries, innocent):
    tried = Counter()

    def rendering(number, job):
        tried[index_of(job)] += 1
        yield {"frame": 0}
        if index_of(job) == 0:
            raise failure
        yield rendered(job)

    install(monkeypatch, rendering)
    done = cluster.render_dataset(dataset, store, Resources(workers=1))
    assert tried == {0: tries, 1: 1, 2: 1}
    assert (done.left, done.quarantined, done.videos_done) == ((1, 0, 2) if innocent else (0, 1, 3))
    assert dataset.missing() == ([0] if innocent else [])
    assert [row.id for row in ShardSet(dataset.root).quarantined] == ([] if innocent else ["000000"])


def test_a_refused_scene_is_drawn_again_until_its_attempts_are_used_up(monkeypatch, dataset, store):
    drawn = []

    def rendering(number, job):
        drawn.append((index_of(job), job["spec"]))
        yield {"refused": "an object is hidden"} if index_of(job) == 1 else rendered(job)

    install(monkeypatch, rendering)
    done = cluster.render_dataset(dataset, store, Resources(workers=1))
    attempts = dataset.config.attempts
    assert [spec for index, spec in drawn if index == 1] == [
        dataset.spec(1, attempt).model_dump_json() for attempt in range(attempts)
    ]
    assert (done.redrawn, done.quarantined, done.videos_done) == (attempts - 1, 1, 3)
    assert {row.id: row.reason for row in ShardSet(dataset.root).quarantined} == {"000001": "an object is hidden"}
