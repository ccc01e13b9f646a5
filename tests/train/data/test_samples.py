import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mivos_models import Propagation
from train.data.augment import Augmentation, Geometry
from train.data.clips import ClipDataset, sample_times, teachable
from train.data.fusion_data import FusionDataset
from train.data.recorded import RecordedVideo, record_references
from train.recipes import recipe
from train.s2m import FrameDataset
from train.settings import FusionSettings, PropagationSettings, Recipe, S2MSettings
from vosforge import InputError, VOSForgeError
from vosforge.config import read_config
from vosforge.videos.video import MemoryVideo

SMALL = Augmentation(geometry=Geometry(crop=64, short_side=96, zoom=(0.8, 1.2), cubic=False))
CLIPS = PropagationSettings(iterations=4, batch=3, augmentation=Augmentation(geometry=Geometry(crop=64, area=(0.3, 1))))
FRAMES = S2MSettings(iterations=4, batch=3, augmentation=SMALL)
FUSED = FusionSettings(
    iterations=4, batch=3, augmentation=Augmentation(geometry=Geometry(crop=64)), references=3, between=True
)


@pytest.fixture(scope="module")
def videos(make_video: Any) -> Any:
    return [make_video(seed, num_frames=7) for seed in range(2)]


@pytest.fixture(scope="module")
def fused(videos: Any, tmp_path_factory: Any) -> Any:
    torch.manual_seed(0)
    network, folder = Propagation(18, 0.125).eval(), tmp_path_factory.mktemp("fusion-data")
    return FusionDataset(record_references(videos, network, FUSED, folder), FUSED)


def equal(a: Any, b: Any) -> Any:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("kind", ["clips", "frames", "fusion"])
def test_a_sample_depends_on_the_seed_and_its_index_only(videos: Any, fused: Any, kind: Any) -> None:
    data = {"clips": ClipDataset(videos, CLIPS), "frames": FrameDataset(videos, FRAMES), "fusion": fused}[kind]
    copy = pickle.loads(pickle.dumps(data))
    assert len(data) == 12
    assert equal(data[5], copy[5])
    assert equal(copy[3], data[3]) and not equal(data[3], data[4])
    one = next(iter(DataLoader(data, 3, num_workers=0)))
    other = next(iter(DataLoader(data, 3, num_workers=1)))
    assert equal(one, other)


def test_clips(videos: Any) -> None:
    data = ClipDataset(videos, CLIPS)
    for index in range(len(data)):
        frames, labels, present, _ = data[index]
        assert frames.shape == (3, 3, 64, 64) and labels.shape == (3, 64, 64) and present.shape == (2,)
        assert set(labels[0].unique().tolist()) - {0} == {k + 1 for k in range(2) if present[k]}
        assert set(labels.unique().tolist()) <= {0, *(k + 1 for k in range(2) if present[k])}


def test_times_are_those_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([sample_times(160, 10, rng) for _ in range(4000)])
    ordered = np.where(drawn[:, :1] > drawn[:, 2:], drawn[:, ::-1], drawn)
    assert 0.45 < (drawn[:, 0] > drawn[:, 2]).mean() < 0.55
    assert ordered[:, 0].min() == 0 and ordered[:, 0].max() == 150 and ordered[:, 2].max() <= 159
    free = ordered[ordered[:, 0] < 120]
    first, second = free[:, 1] - free[:, 0], free[:, 2] - free[:, 1]
    assert set(first) == set(second) == set(range(1, 12))
    for num_frames in (3, 4, 7):
        assert all(0 <= t < num_frames for _ in range(50) for t in sample_times(num_frames, 25, rng))


def test_small_objects_are_taught_only_if_they_stay_small() -> None:
    masks = np.zeros((3, 384, 384), np.uint8)
    for label, side in enumerate((5, 15, 15, 35), start=1):  # too small, small, growing, large
        masks[:, 40 * label : 40 * label + side, :side] = label
    masks[1, 120:145, :25] = 3
    assert teachable(masks, (10, 20, 30)).tolist() == [2, 4]
    masks[0, 300:, 300:] = 255
    assert teachable(masks, (10, 20, 30)).tolist() == [2, 4]


def test_jumps_and_learning_rates_follow_the_run() -> None:
    paper = PropagationSettings()
    shares = (0, 0.05, 0.1, 0.25, 0.35, 0.5, 0.79, 0.8, 0.99)
    assert [paper.max_jump(int(share * 500_000)) for share in shares] == [5, 5, 10, 15, 20, 25, 25, 5, 5]
    assert [paper.lr_factor(step) for step in (0, 449_999, 450_000)] == [1.0, 1.0, 0.1]
    cosine = PropagationSettings(iterations=100, warmup=10, schedule="cosine")
    factors = [cosine.lr_factor(step) for step in range(100)]
    assert factors[:10] == sorted(factors[:10]) and factors[10:] == sorted(factors[10:], reverse=True)
    assert 0 < factors[-1] < 0.02


def test_scribbled_frames(videos: Any) -> None:
    data = FrameDataset(videos, FRAMES)
    for index in range(len(data)):
        inputs, label = data[index]
        assert inputs.shape == (6, 64, 64) and label.shape == (64, 64)
        assert set(inputs[3:].unique().tolist()) <= {0.0, 1.0}
        assert label.sum() > 0 and (inputs[4].any() or inputs[5].any())


def test_fusion_samples(fused: Any) -> None:
    for index in range(len(fused)):
        sample = fused[index]
        assert sample.old.shape == sample.new.shape == sample.given.shape == (2, 64, 64)
        assert sample.time.sum() == pytest.approx(1.0) and (sample.time > 0).all()  # between its references
        absent = ~sample.present
        assert not sample.given[absent].any() and not sample.old[absent].any()
        assert int(sample.label.max()) <= int(sample.present.sum())
        differing = ((sample.old - sample.new).abs() > 0.1).any(dim=0).sum()
        assert bool(sample.instructive) == (int(differing) >= 100)


def test_propagated_results_are_the_runners(videos: Any, fused: Any) -> None:
    for video, source in zip(fused.videos, videos, strict=True):
        assert list(video.areas) == [0, 3, 6]
        for reference in video.areas:
            (result,) = video.results((reference,), np.array([1, 2]), reference)
            assert result.shape == (2, 96, 128) and result.dtype == np.uint8
            given = np.stack([source.mask(reference) == label for label in (1, 2)])
            assert np.array_equal(result >= 254, given)


def test_videos_that_cannot_teach_are_named(videos: Any, tmp_path: Any) -> None:
    empty = MemoryVideo("empty", videos[0].frames(), np.zeros_like(videos[0].masks()))
    with pytest.raises(InputError, match="none of the 1 training videos"):
        ClipDataset([empty], CLIPS)
    with pytest.raises(InputError, match="none of the 1 training videos"):
        FrameDataset([empty], FRAMES)
    specks = np.zeros_like(videos[0].masks())
    specks[:, 4, 4] = 1
    tiny = MemoryVideo("tiny", videos[0].frames(), specks)
    with pytest.raises(VOSForgeError, match="'tiny'"):
        ClipDataset([tiny], CLIPS)[0]
    with pytest.raises(VOSForgeError, match="'tiny'"):
        FrameDataset([tiny], FRAMES)[0]
    with pytest.raises(InputError, match="no training video shows one object in two"):
        record_references([tiny], Propagation(18, 0.125).eval(), FUSED, tmp_path)


def test_recipes() -> None:
    assert recipe("mivos").stages["renders"].fusion == FusionSettings()
    assert recipe("demo").propagation.depth == 18
    with pytest.raises(InputError, match="demo, debug, mivos"):
        recipe("large")
    with pytest.raises(InputError, match="'paper' is called 'mivos' now"):
        recipe("paper")
    assert read_config(Recipe, None, {"s2m.batch": 4}).s2m.batch == 4
    with pytest.raises(InputError, match="multiple of 16"):
        read_config(Recipe, None, {"s2m.augmentation.geometry.crop": 100})


def test_a_videos_references_are_each_looked_at_once(monkeypatch):
    looked: list[int] = []
    monkeypatch.setattr(RecordedVideo, "objects_at", lambda self, t, least: {looked.append(t) or t % 2})
    video = RecordedVideo(Path("a.h5"), [], 0, 50, (4, 4), dict.fromkeys(range(0, 50, 5), ()))
    [pairs] = FusionDataset([video], FUSED).pairs
    assert looked == list(range(0, 50, 5))
    assert len(pairs) == 20 and all(a < b and (b - a) % 10 == 0 for a, b in pairs)
