"""Training samples for propagation: a few nearby frames of a video and up to a few of their objects.

Four pieces: videos (``ShardVideo`` or folders), the choice of frames and objects (``sample_times``, ``teachable``),
decoding only what a crop shows (``see_frame``), and the typed sample (``ClipSample``).
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from train.data.augment import point_in, sample_views, see_frame, warp_mask
from train.settings import PropagationSettings
from vosforge import VOSForgeError
from vosforge.seeding import rng_for
from vosforge.terms import VOID
from vosforge.videos import ShardSet
from vosforge.videos.video import Video, label_areas, objects_in, usable_for_training

DRAWS_OF_A_VIDEO = 6
DRAWS = 120


class ClipSample(NamedTuple):
    """A clip, or a batch with a leading dimension B.

    frames: [T, 3, H, W] uint8 RGB; labels: [T, H, W] uint8, 0..K; present: [K] bool, False for padding objects.
    """

    frames: Tensor
    labels: Tensor
    present: Tensor


class ClipDataset(Dataset[ClipSample]):
    """All clips of a run in order: item i belongs to step i // batch and depends only on the seed and i.

    Videos follow seeded permutations: each is used once before any repeats.
    """

    def __init__(self, videos: Sequence[Video], settings: PropagationSettings) -> None:
        self.videos = usable_for_training(videos, settings.longest_clip)
        self.settings = settings

    def __len__(self) -> int:
        return self.settings.iterations * self.settings.batch

    def __getitem__(self, index: int) -> ClipSample:
        """Clip ``index``. Raises VOSForgeError if large enough objects are too rare."""
        rng = rng_for(self.settings.seed, "clip", index)
        epoch, place = divmod(index, len(self.videos))
        video = self.videos[_permutation(self.settings.seed, epoch, len(self.videos))[place]]
        for draw in range(1, DRAWS + 1):
            clip = self._draw(video, index // self.settings.batch, rng)
            if clip is not None:
                return clip
            if draw % DRAWS_OF_A_VIDEO == 0:
                video = self.videos[rng.integers(len(self.videos))]
        raise VOSForgeError(
            f"{DRAWS} random crops in a row showed no object large enough to teach propagation (last video: "
            f"'{video.id}'); render larger objects or lower small_areas"
        )

    def _draw(self, video: Video, step: int, rng: np.random.Generator) -> ClipSample | None:
        """A random clip of ``video``, or None if its first frame has no suitable object."""
        settings, stage = self.settings, self.settings.stage_at(step)
        size = video.height, video.width
        times = sample_times(video.num_frames, settings.max_jump(step), rng, stage.frames)
        masks = [video.mask(t) for t in times]
        anchor = _object_point(masks[0], rng) if rng.random() < settings.focus else None
        augmentation = settings.augmentation.model_copy(update={"geometry": stage.geometry})
        views = sample_views(size, len(times), augmentation, rng, anchor)
        crop = stage.geometry.crop
        seen = np.stack([warp_mask(mask, view.to_frame, crop) for mask, view in zip(masks, views, strict=True)])
        candidates = teachable(seen, settings.small_areas)
        if not len(candidates):
            return None
        chosen = rng.permutation(candidates)[: settings.num_objects]
        frames = np.empty((len(times), 3, crop, crop), np.uint8)
        for t, view, planes in zip(times, views, frames, strict=True):
            cv2.split(see_frame(partial(video.frame, t), size, view, stage.geometry), list(planes))
        return _sample(frames, seen, chosen, settings.num_objects)


class ShardDataset(ClipDataset):
    """Clips of a rendered or imported data set, for a ``torch.utils.data.DataLoader``.

    Safe to pickle, fork and spawn: each process opens the shards it reads.
    """

    def __init__(self, path: Path | str, settings: PropagationSettings, split: str = "train") -> None:
        """Use the videos of ``split`` in a data set or shard (path or URL). Raises InputError if there are none."""
        super().__init__(ShardSet(path).split(split), settings)


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, videos: int) -> np.ndarray:
    return rng_for(seed, "videos", epoch).permutation(videos)


def sample_times(num_frames: int, max_jump: int, rng: np.random.Generator, frames: int = 3) -> list[int]:
    """``frames`` indices, at most ``max_jump`` + 1 apart, in reverse with probability 1/2.

    Up to three as published (§ BL30K), where the last ones of a video may repeat; two are the first two of three. More
    have gaps like the published ones, as large as fit in the video, and never repeat.
    """
    if frames > 3:
        return _longer_times(num_frames, max_jump, rng, frames)
    jump = min(num_frames, max_jump)
    start = int(rng.integers(num_frames - jump + 1))
    second = min(start + 1 + int(rng.integers(jump + 1)), num_frames - jump, num_frames - 1)
    third = min(second + 1 + int(rng.integers(jump + 1)), num_frames - jump // 2, num_frames - 1)
    times = [start, second, third]
    return (times[::-1] if rng.random() < 0.5 else times)[:frames]


def _longer_times(num_frames: int, max_jump: int, rng: np.random.Generator, frames: int) -> list[int]:
    longest = (num_frames - 1) // (frames - 1) - 1
    if longest < 0:
        raise ValueError(f"{frames} frames do not fit in a video of {num_frames}")
    gaps = 1 + rng.integers(min(max_jump, longest) + 1, size=frames - 1)
    times = int(rng.integers(num_frames - int(gaps.sum()))) + np.cumsum([0, *gaps])
    return (times[::-1] if rng.random() < 0.5 else times).tolist()


def teachable(masks: np.ndarray, small_areas: tuple[int, int, int]) -> np.ndarray:
    """Labels in the first of ``masks [T, S, S]`` that are large enough, or stay small in all of them (published)."""
    tiny, small, large = (side**2 * masks[0].size / 384**2 for side in small_areas)
    first = label_areas(masks[0])
    taught, maybe = first >= large, (first >= tiny) & (first < large)
    taught[[0, VOID]] = maybe[[0, VOID]] = False
    if maybe.any():
        taught |= maybe & np.all([label_areas(mask) < small for mask in masks[1:]], axis=0)
    return np.flatnonzero(taught)


def _object_point(mask: np.ndarray, rng: np.random.Generator) -> tuple[float, float] | None:
    """A random point of a random object of any size."""
    labels = objects_in(mask)
    return point_in(mask == rng.choice(labels), rng) if labels else None


def _sample(frames: np.ndarray, masks: np.ndarray, chosen: np.ndarray, num_objects: int) -> ClipSample:
    renumber = np.zeros(VOID + 1, np.uint8)
    renumber[chosen] = np.arange(1, len(chosen) + 1)
    present = torch.arange(num_objects) < len(chosen)
    return ClipSample(torch.from_numpy(frames), torch.from_numpy(cv2.LUT(masks, renumber)), present)
