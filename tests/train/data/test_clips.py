from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from benchmarks.s3 import upload
from tests.render.conftest import make_record, without_colors
from train.data.augment import Augmentation, Geometry
from train.data.clips import ClipDataset, ShardDataset
from train.data.order import RunOrder
from train.settings import PropagationSettings
from vosforge import InputError
from vosforge.videos import ShardSet, VideoRecord, build_manifest, pack_shard, stage_video
from vosforge.videos.codec import encode
from vosforge.videos.video import MemoryVideo

SETTINGS = PropagationSettings(
    iterations=4, batch=3, augmentation=Augmentation(geometry=Geometry(crop=64, area=(0.3, 1), rotation=9))
)


@pytest.fixture(scope="module")
def videos(make_video: Any) -> list[MemoryVideo]:
    return [make_video(seed, num_frames=6) for seed in range(3)]


@pytest.fixture(scope="module")
def data(videos: list[MemoryVideo], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same videos, in shards."""
    root: Path = tmp_path_factory.mktemp("data")
    staged = []
    for number, video in enumerate(videos):
        staged.append(root / "staging" / f"{number}.h5")
        record = VideoRecord(
            id=f"{number:06d}",
            split="train",
            rgb=tuple(encode(frame, "png", 0) for frame in video.frames()),
            encoding="png",
            mask=video.masks(),
            category=("thing",) * max(video.object_ids),
            darkest=9.0,
        )
        stage_video(staged[-1], record)
    pack_shard(root / "shards", 0, staged, {})
    build_manifest(root)
    return root


def test_shards_give_the_clips_that_decoded_videos_give(videos: list[MemoryVideo], data: Path) -> None:
    shards, memory = ShardDataset(data, SETTINGS), ClipDataset(videos, SETTINGS)
    assert len(shards) == len(memory) == 12
    for index in range(len(shards)):
        assert all(torch.equal(a, b) for a, b in zip(shards[index], memory[index], strict=True))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_give_the_same_batches_and_a_resumed_run_goes_on(data: Path, method: str) -> None:
    dataset = ShardDataset(data, SETTINGS)
    dataset[0]  # opened here before any worker starts
    alone = list(DataLoader(dataset, 3, sampler=RunOrder(len(dataset), 3)))
    loader = DataLoader(
        dataset, 3, sampler=RunOrder(len(dataset), 3, start=1), num_workers=2, multiprocessing_context=method
    )
    resumed = list(loader)
    assert len(resumed) == len(alone) - 1
    for one, other in zip(alone[1:], resumed, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_remote_shards(data: Path, bucket: str, cache: Path, method: str) -> None:
    upload(data, f"{bucket}/clips")
    here, there = ShardDataset(data, SETTINGS), ShardDataset(f"{bucket}/clips", SETTINGS)
    loader = DataLoader(there, 3, num_workers=2, multiprocessing_context=method)
    for one, other in zip(DataLoader(here, 3), loader, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert len(list(cache.glob("*.h5"))) == 1


def test_every_video_is_drawn_from_before_any_is_again(videos: list[MemoryVideo]) -> None:
    drawn: list[str] = []

    class Spy(MemoryVideo):
        def mask(self, t: int) -> np.ndarray:
            drawn.append(self.id)
            return super().mask(t)

    named = [Spy(str(n), video.all_frames, video.all_masks) for n, video in enumerate(videos)]
    dataset = ClipDataset(named, SETTINGS)
    first = []
    for index in range(9):
        drawn.clear()
        dataset[index]
        first.append(drawn[0])
    assert all(set(first[start : start + 3]) == {"0", "1", "2"} for start in (0, 3, 6))
    assert len(set(map(tuple, (first[0:3], first[3:6], first[6:9])))) > 1


def test_a_data_set_without_colours_is_refused_at_once(tmp_path: Path) -> None:
    stage_video(tmp_path / "000000.h5", without_colors(make_record(0)))
    with pytest.raises(InputError, match=r"none of the 1 training videos has colours: render them with render\.colors"):
        ShardDataset(tmp_path / "000000.h5", SETTINGS)


def test_a_split_without_videos_is_refused(data: Path) -> None:
    with pytest.raises(InputError, match="none of the 0 training videos"):
        ShardDataset(data, SETTINGS, split="val")
    assert len(ShardSet(data).split("train")) == 3
