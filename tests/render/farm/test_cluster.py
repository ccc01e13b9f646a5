"""A real local Ray with real worker processes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import yaml

from benchmarks.processes import marked
from render.farm.cluster import render_dataset
from render.farm.jobs import Dataset
from render.farm.layout import Resources
from render.farm.parts import Part
from render.farm.process import BlenderUnusableError
from render.farm.run import TRIES
from render.farm.threads import render_here
from tests.render.conftest import make_record
from vosforge.errors import MachineError
from vosforge.files import UNFINISHED
from vosforge.videos import ShardSet, stage_video

pytestmark = [pytest.mark.blender, pytest.mark.ray]


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
    return condition()


def test_a_data_set_is_rendered_sealed_and_not_rendered_twice(tmp_path, small_config, catalog, store):
    dataset = Dataset(tmp_path / "data", small_config, catalog)
    seen = []
    done = render_dataset(dataset, store, Resources(workers=2), on_progress=seen.append)
    assert done.videos_done == small_config.videos
    assert done.quarantined == 0
    assert done.frames_done == done.frames_total >= 7 * 3
    assert [p.frames_done for p in seen] == sorted(p.frames_done for p in seen)
    shards = ShardSet(dataset.root)
    assert [row.id for row in shards.videos] == [f"{index:06d}" for index in range(7)]
    assert sorted(path.name for path in (dataset.root / "shards").iterdir()) == [
        "shard-00000.h5",
        "shard-00001.h5",
        "shard-00002.h5",
    ]
    for video in shards:
        video.verify()
        assert video.spec_json == dataset.spec(int(video.id), video.row.attempt).model_dump_json()
        assert video.attributes["credits"]
        assert all(video.mask(t).any() for t in range(video.num_frames))
    manifest = (dataset.root / "manifest.jsonl").read_bytes()
    again = render_dataset(dataset, store, Resources(workers=2))
    assert again.frames_total == 0
    assert (dataset.root / "manifest.jsonl").read_bytes() == manifest


def test_a_part_without_ray_gives_what_ray_gives(tmp_path, small_config, catalog, store):
    config = small_config.model_copy(update={"videos": 2, "videos_per_shard": 1})
    dataset = Dataset(tmp_path / "data", config, catalog)
    render_dataset(dataset, store, Resources(workers=1))
    part = Dataset(tmp_path / "part", config, catalog, Part(2, 2))
    assert render_here(part, store, Resources(workers=1)).videos_done == 1
    (own,) = ShardSet(part.root)
    assert np.array_equal(own.masks(), ShardSet(dataset.root).video(own.id).masks())
    assert part.shard_path(1).read_bytes() == dataset.shard_path(1).read_bytes()
    assert not part.shard_path(0).exists()


def test_another_renderer_resumes_a_run_only_if_allowed(tmp_path, small_config, catalog, store):
    dataset = Dataset(tmp_path / "data", small_config.model_copy(update={"videos": 2}), catalog)
    record = make_record(0)
    before = {**record.attributes, "renderer": "Blender 4.5.15 Cycles OPTIX"}
    stage_video(dataset.staged_path(0), replace(record, attributes=before))
    with pytest.raises(
        BlenderUnusableError, match=r"started with Blender 4\.5\.15 Cycles OPTIX, and Blender .* CPU may"
    ):
        render_dataset(dataset, store, Resources(workers=1))
    assert dataset.missing() == [1]
    render_here(dataset, store, Resources(workers=1, any_renderer=True))
    assert len({video.attributes["renderer"] for video in ShardSet(dataset.root)}) == 2


@pytest.mark.parametrize("room", [60_000, *(pytest.param(room, marks=pytest.mark.slow) for room in (8_000, 110_000))])
def test_a_full_disk_quarantines_nothing_and_with_room_the_run_resumes(
    small_disk, small_config, catalog, store, room, monkeypatch
):
    monkeypatch.setattr("render.farm.run.FOLDER_PATIENCE", 1.0)
    dataset = Dataset(small_disk / "data", small_config, catalog)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - room))
    with pytest.raises(MachineError, match=r"No space left on device.*run the same command again"):
        render_dataset(dataset, store, Resources(workers=2))
    assert not list(dataset.root.rglob("*.quarantined.json"))
    ballast.unlink()
    done = render_here(dataset, store, Resources(workers=2))
    assert (done.quarantined, done.left) == (0, 0)
    shards = ShardSet(dataset.root)
    assert len(shards.videos) == small_config.videos and not shards.quarantined


def test_a_worker_that_is_always_killed_leaves_its_video_missing(tmp_path, small_config, catalog, store, monkeypatch):
    dataset = Dataset(tmp_path / "data", small_config.model_copy(update={"videos": 1}), catalog)
    monkeypatch.setitem(TRIES, "killed", 2)
    monkeypatch.setenv("VOSFORGE_TEST_RUN", tmp_path.name)

    def kill(progress):
        for pid, command in marked(f"VOSFORGE_TEST_RUN={tmp_path.name}").items():
            if "render.blender.start" in command:
                os.kill(pid, signal.SIGKILL)

    done = render_dataset(dataset, store, Resources(workers=1), kill)
    assert (done.left, done.quarantined, done.videos_done) == (1, 0, 0)
    assert dataset.missing() == [0]
    assert render_here(dataset, store, Resources(workers=1)).videos_done == 1
    assert dataset.missing() == []


PART = ("--part", "1/1")


@pytest.mark.parametrize(
    ("how", "part"),
    [
        (signal.SIGTERM, ()),
        (signal.SIGKILL, ()),
        pytest.param(signal.SIGTERM, PART, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, (), marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, PART, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_leaves_no_process_and_whole_files_and_resumes(
    tmp_path, small_config, catalog, store, how, part
):
    root, marker = tmp_path / "data", f"VOSFORGE_TEST_RUN={tmp_path.name}-{how}"
    root.mkdir()
    catalog.save(root / "catalog.jsonl")
    config = small_config.model_copy(update={"videos": 10, "videos_per_shard": 2})
    (root / "dataset.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    key, value = marker.split("=")
    command = [sys.executable, "-m", "tools.cli", "render", str(root), "--workers", "2", *part]
    environment = {**os.environ, key: value, "VOSFORGE_CACHE": str(store.root.parent / "cache")}
    (store.root.parent / "cache").mkdir(exist_ok=True)
    link = store.root.parent / "cache" / "store"
    if not link.exists():
        link.symlink_to(store.root)

    run = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True)
    try:
        assert wait_for(lambda: list(root.rglob("0*.h5")) or run.poll() is not None, 120)
        assert run.poll() is None, run.stderr.read()
        if how == signal.SIGINT:
            os.killpg(run.pid, how)  # as Ctrl-C in a terminal: the whole group gets it
        else:
            run.send_signal(how)
        _, stderr = run.communicate(timeout=60)
    finally:
        run.kill()
    if how != signal.SIGKILL:
        assert run.returncode == 128 + how, stderr
        assert ("interrupted" if how == signal.SIGINT else "terminated") in stderr
    # Nobody is left to end Ray's own two agents after a SIGKILL: they notice within a minute or so by themselves.
    agents = ("Agent",) if how == signal.SIGKILL else ()

    def left():
        return [name for name in marked(marker).values() if not any(agent in name for agent in agents)]

    assert wait_for(lambda: not left(), 30), left()

    sealed = [path for path in root.rglob("*.h5") if not path.name.startswith(UNFINISHED)]
    assert sealed
    for path in sealed:
        for video in ShardSet(path):
            video.verify()
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr
    assert [row.id for row in ShardSet(root).videos] == [f"{index:06d}" for index in range(10)]
    assert not list(root.rglob(f"{UNFINISHED}*"))
