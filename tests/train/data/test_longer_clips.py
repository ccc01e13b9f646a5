"""Clips of two to eight frames."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from mivos_models import Propagation
from train.data.augment import Augmentation, Geometry, Jitter, point_in, sample_views, see_frame, warp_mask
from train.data.clips import ClipDataset, sample_times, teachable
from train.propagation import propagation_loss
from train.settings import ClipStage, PropagationSettings
from vosforge import InputError
from vosforge.seeding import rng_for
from vosforge.videos.video import objects_in

GEOMETRY = Geometry(crop=64, area=(0.3, 1), rotation=9)


def published_times(num_frames: int, max_jump: int, rng: np.random.Generator) -> list[int]:
    """The published rule as it was before there were longer clips."""
    jump = min(num_frames, max_jump)
    start = int(rng.integers(num_frames - jump + 1))
    second = min(start + 1 + int(rng.integers(jump + 1)), num_frames - jump, num_frames - 1)
    third = min(second + 1 + int(rng.integers(jump + 1)), num_frames - jump // 2, num_frames - 1)
    times = [start, second, third]
    return times[::-1] if rng.random() < 0.5 else times


@pytest.mark.parametrize("frames", [2, 3])
@pytest.mark.parametrize(("num_frames", "max_jump"), [(160, 5), (160, 25), (7, 5), (3, 25)])
def test_short_clips_are_drawn_as_published(frames: int, num_frames: int, max_jump: int) -> None:
    ours, theirs = np.random.default_rng(1), np.random.default_rng(1)
    for _ in range(200):
        assert (
            sample_times(num_frames, max_jump, ours, frames) == published_times(num_frames, max_jump, theirs)[:frames]
        )


def clip_as_before(videos: list[Any], settings: PropagationSettings, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames and labels of a clip, drawn as before there were sources, longer clips, stills and cut-outs."""
    rng = rng_for(settings.seed, "clip", index)
    epoch, place = divmod(index, len(videos))
    video = videos[rng_for(settings.seed, "videos", epoch).permutation(len(videos))[place]]
    for draw in range(1, 121):
        step = index // settings.batch
        stage = settings.stage_at(step)
        times = published_times(video.num_frames, settings.max_jump(step), rng)[: stage.frames]
        masks, anchor = [video.mask(t) for t in times], None
        if rng.random() < settings.focus:
            anchor = point_in(masks[0] == rng.choice(objects_in(masks[0])), rng)
        augmentation = settings.augmentation.model_copy(update={"geometry": stage.geometry})
        views = sample_views((video.height, video.width), len(times), augmentation, rng, anchor)
        crop = stage.geometry.crop
        seen = np.stack([warp_mask(mask, view.to_frame, crop) for mask, view in zip(masks, views, strict=True)])
        if len(candidates := teachable(seen, settings.small_areas)):
            chosen = rng.permutation(candidates)[: settings.num_objects]
            sizes = (video.height, video.width)
            frames = [
                see_frame(partial(video.frame, t), sizes, view, stage.geometry)
                for t, view in zip(times, views, strict=True)
            ]
            labels = sum((seen == label) * number for number, label in enumerate(chosen, start=1))
            return np.stack(frames).transpose(0, 3, 1, 2), labels
        if draw % 6 == 0:
            video = videos[rng.integers(len(videos))]
    raise AssertionError("no clip")


@pytest.mark.parametrize("stages", [(), (ClipStage(start=0.5, geometry=GEOMETRY, frames=2),)])
def test_clips_are_those_drawn_before(make_video: Any, stages: Any) -> None:
    videos = [make_video(seed, num_frames=7) for seed in range(3)]
    settings = PropagationSettings(
        iterations=6,
        batch=3,
        stages=stages,
        focus=0.5,
        small_areas=(60, 70, 80),
        augmentation=Augmentation(geometry=GEOMETRY, shared_colour=Jitter(brightness=0.3, grey=0.2)),
    )
    data = ClipDataset(videos, settings)
    for index in range(18):
        frames, labels = clip_as_before(videos, settings, index)
        assert np.array_equal(data[index].frames, frames) and np.array_equal(data[index].labels, labels)


@pytest.mark.parametrize("frames", [4, 5, 8])
@pytest.mark.parametrize("num_frames", [8, 20, 160])
def test_longer_clips_fit_and_never_repeat_a_frame(frames: int, num_frames: int) -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([sample_times(num_frames, 10, rng, frames) for _ in range(2000)])
    gaps = np.diff(drawn, axis=1)
    assert drawn.min() == 0 and drawn.max() == num_frames - 1
    assert (np.sign(gaps) == np.sign(gaps[:, :1])).all() and 0.45 < (gaps[:, 0] > 0).mean() < 0.55
    largest = min(10, (num_frames - 1) // (frames - 1) - 1) + 1
    assert set(np.abs(gaps).ravel()) == set(range(1, largest + 1))


@pytest.mark.parametrize("frames", [2, 3, 4, 8])
def test_clips_have_the_frames_of_their_stage_and_teach(make_video: Any, frames: int) -> None:
    settings = PropagationSettings(
        iterations=2,
        batch=1,
        augmentation=Augmentation(geometry=GEOMETRY),
        stages=(ClipStage(start=0.5, geometry=GEOMETRY, frames=frames),),
    )
    data = ClipDataset([make_video(seed, num_frames=9) for seed in range(2)], settings)
    assert data[0].frames.shape == (3, 3, 64, 64) and data[1].frames.shape == (frames, 3, 64, 64)
    torch.manual_seed(0)
    batch = type(data[1])(*(part[None] for part in data[1]))
    loss = propagation_loss(Propagation(18, 0.125), batch, 1.0)
    loss.backward()
    assert torch.isfinite(loss)


def test_videos_too_short_for_a_stage_are_left_out(make_video: Any) -> None:
    videos = [make_video(seed, num_frames=frames) for seed, frames in enumerate((5, 6))]
    settings = PropagationSettings(frames=6, iterations=2, batch=2, augmentation=Augmentation(geometry=GEOMETRY))
    assert ClipDataset(videos, settings)[3].labels.shape == (6, 64, 64)
    with pytest.raises(InputError, match="at least 8 frame"):
        ClipDataset(videos, settings.model_copy(update={"frames": 8}))


def test_published_clips_are_not_written_down() -> None:
    assert "frames" not in PropagationSettings().model_dump()
    assert PropagationSettings(frames=5).model_dump()["frames"] == 5
