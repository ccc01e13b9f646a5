"""A writer is killed again and again, at instants it cannot know of."""

import multiprocessing
import os
import shutil
import signal
import time

import numpy as np

from render.farm.jobs import Dataset
from tests.render.conftest import make_record
from vosforge.files import UNFINISHED
from vosforge.seeding import rng_for
from vosforge.videos import ShardSet
from vosforge.videos.reader import ShardVideo, shard_rows

KILLS = 60


def write_all(dataset: Dataset) -> None:
    from vosforge.videos import stage_video

    with dataset.writing():
        for index in dataset.missing():
            if index % 9 == 8:
                dataset.quarantine(index, "it broke")
            else:
                stage_video(dataset.staged_path(index), make_record(index, frames=3))
            dataset.pack()
        dataset.pack()
        dataset.manifest()


def whole_videos(dataset: Dataset) -> set[int]:
    """The videos in all files that have a name of their own, each held against its checksums and its source."""
    found = set()
    for path in (*dataset.root.glob("staging/*.h5"), *dataset.root.glob("shards/*.h5")):
        if path.name.startswith(UNFINISHED):
            continue
        for row in shard_rows(path):
            found.add(int(row.id))
            if row.state == "sealed":
                video = ShardVideo(path, row)
                video.verify()
                assert np.array_equal(video.masks(), make_record(int(row.id), frames=3).mask)
    return found


def test_sixty_kills_leave_only_whole_files_and_what_is_missing_is_known(tmp_path, small_config, catalog):
    config = small_config.model_copy(update={"videos": 40, "videos_per_shard": 5})
    root = tmp_path / "data"
    dataset = Dataset(root, config, catalog)
    started = time.monotonic()
    write_all(dataset)
    duration = time.monotonic() - started
    reference = {path.name: path.read_bytes() for path in (*root.glob("shards/*.h5"), root / "manifest.jsonl")}
    context, rng = multiprocessing.get_context("fork"), rng_for("kills")
    killed = unfinished = 0
    progress = []
    shutil.rmtree(root)
    dataset = Dataset(root, config, catalog)
    while killed < KILLS:
        writer = context.Process(target=write_all, args=(dataset,))
        writer.start()
        time.sleep(rng.uniform(0, duration / 3))
        if writer.is_alive():
            os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        killed += writer.exitcode == -signal.SIGKILL
        unfinished += any(root.glob(f"*/{UNFINISHED}*"))
        done, missing = whole_videos(dataset), dataset.missing()
        staged_notes = {int(path.name[:6]) for path in root.glob("staging/*.quarantined.json")}
        assert set(missing) == set(range(40)) - done - staged_notes
        progress.append(len(missing))
        if not missing and writer.exitcode == 0:
            rebuilt = {path.name: path.read_bytes() for path in (*root.glob("shards/*.h5"), root / "manifest.jsonl")}
            assert rebuilt == reference, "a writer that was killed and went on leaves what an undisturbed one leaves"
            assert len(ShardSet(root).quarantined) == 4
            shutil.rmtree(root)
            dataset = Dataset(root, config, catalog)
    assert unfinished, "no kill fell into the writing of a file"
    assert len(set(progress)) > 10
