"""A writer is killed again and again, at instants it cannot know of."""

import shutil
from functools import cache, partial
from pathlib import Path

import numpy as np

from render.farm.jobs import Dataset
from tests.kills import calls, killed_before_call, killed_in_a_write
from tests.render.conftest import make_record
from vosforge.files import UNFINISHED
from vosforge.seeding import rng_for
from vosforge.videos import ShardSet
from vosforge.videos.reader import ShardVideo, shard_rows

VIDEOS = 20
KILLS = 40
record = cache(partial(make_record, frames=3))


def write_all(dataset: Dataset) -> None:
    from vosforge.videos import stage_video

    with dataset.writing():
        for index in dataset.missing():
            if index % 9 == 8:
                dataset.quarantine(index, "it broke")
            else:
                stage_video(dataset.staged_path(index), record(index))
            dataset.pack()
        dataset.pack()
        dataset.manifest()


def whole_videos(dataset: Dataset) -> set[int]:
    """The videos in all files that have a name of their own, each held against its checksums and its source."""
    paths = (*dataset.root.glob("staging/*.h5"), *dataset.root.glob("shards/*.h5"))
    sealed = [(path, path.stat()) for path in paths if not path.name.startswith(UNFINISHED)]
    return {index for path, stat in sealed for index in whole_videos_of(path, stat.st_ino, stat.st_mtime_ns)}


@cache
def whole_videos_of(path: Path, inode: int, changed: int) -> set[int]:
    """The videos of one file, which is read once as long as nobody touches it."""
    rows = shard_rows(path)
    for row in rows:
        if row.state == "sealed":
            video = ShardVideo(path, row)
            video.verify()
            assert np.array_equal(video.masks(), record(int(row.id)).mask)
    return {int(row.id) for row in rows}


def test_kills_leave_only_whole_files_and_what_is_missing_is_known(tmp_path, small_config, catalog):
    config = small_config.model_copy(update={"videos": VIDEOS, "videos_per_shard": 5})
    root = tmp_path / "data"

    def sealed() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (*root.glob("shards/*.h5"), root / "manifest.jsonl")}

    for index in range(VIDEOS):
        record(index)  # all that is counted is the writer's
    dataset = Dataset(root, config, catalog)
    whole = calls(partial(write_all, dataset))
    reference = sealed()
    smallest = min(map(len, reference.values()))
    rng = rng_for("kills")
    unfinished = finished = 0
    progress = []
    shutil.rmtree(root)
    dataset = Dataset(root, config, catalog)
    for number in range(KILLS):
        if number % 4:
            killed = killed_before_call(int(rng.integers(whole // 3)), partial(write_all, dataset))
        else:
            killed = killed_in_a_write(int(rng.integers(smallest)), partial(write_all, dataset))
        unfinished += any(root.glob(f"*/{UNFINISHED}*"))
        done, missing = whole_videos(dataset), dataset.missing()
        staged_notes = {int(path.name[:6]) for path in root.glob("staging/*.quarantined.json")}
        assert set(missing) == set(range(VIDEOS)) - done - staged_notes
        progress.append(len(missing))
        if not killed:
            assert not missing
            assert sealed() == reference, "a writer that was killed and resumed leaves what an undisturbed one leaves"
            assert len(ShardSet(root).quarantined) == 2
            shutil.rmtree(root)
            dataset = Dataset(root, config, catalog)
            finished += 1
    assert unfinished, "no kill fell into the writing of a file"
    assert finished and len(set(progress)) > 10
