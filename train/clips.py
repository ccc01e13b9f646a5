"""Training samples for propagation: three frames of a video, a few jumps apart, and up to a few objects in them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mivos_models import normalise
from train.augment import Clip, augment_clip, point_in
from train.settings import PropagationSettings
from train.video import VOID, Video, objects_in, usable_for_training
from vosforge import VOSForgeError
from vosforge.seeding import rng_for

CLIP_FRAMES = 3
DRAWS_OF_A_VIDEO = 6
DRAWS = 120


class ClipSample(NamedTuple):
    """A clip, or a batch of them with B in front.

    frames: [T, 3, H, W] float32, normalised; labels: [T, H, W] int64, 0..K; present: [K] bool, False for an object
    that only fills the batch.
    """

    frames: Tensor
    labels: Tensor
    present: Tensor


class ClipDataset(Dataset[ClipSample]):
    """The clips of a whole run, in order: item i belongs to step i // batch and depends on the seed and i only."""

    def __init__(self, videos: Sequence[Video], settings: PropagationSettings) -> None:
        self.videos = usable_for_training(videos, CLIP_FRAMES)
        self.settings = settings

    def __len__(self) -> int:
        return self.settings.iterations * self.settings.batch

    def __getitem__(self, index: int) -> ClipSample:
        """Clip ``index``. VOSForgeError when the videos hardly ever show an object large enough."""
        rng = rng_for(self.settings.seed, "clip", index)
        step = index // self.settings.batch
        max_jump, stage = self.settings.max_jump(step), self.settings.stage_at(step)
        augmentation = self.settings.augmentation.model_copy(update={"geometry": stage.geometry})
        for draw in range(DRAWS):
            if draw % DRAWS_OF_A_VIDEO == 0:
                video = self.videos[rng.integers(len(self.videos))]
            times = sample_times(video.num_frames, max_jump, rng)[: stage.frames]
            frames, masks = [video.frame(t) for t in times], [video.mask(t) for t in times]
            anchor = _object_point(masks[0], rng) if rng.random() < self.settings.focus else None
            clip = augment_clip(frames, masks, augmentation, rng, anchor)
            candidates = teachable(clip.masks, self.settings.small_areas)
            if len(candidates):
                chosen = rng.permutation(candidates)[: self.settings.num_objects]
                return _sample(clip, chosen, self.settings.num_objects)
        raise VOSForgeError(
            f"{DRAWS} random crops in a row showed no object large enough to teach propagation (last video: "
            f"'{video.id}'); render larger objects or lower small_areas"
        )


def sample_times(num_frames: int, max_jump: int, rng: np.random.Generator) -> list[int]:
    """Three frame indices, at most ``max_jump`` + 1 apart, in reverse with probability 1/2 (published, § BL30K)."""
    jump = min(num_frames, max_jump)
    start = int(rng.integers(num_frames - jump + 1))
    second = min(start + 1 + int(rng.integers(jump + 1)), num_frames - jump, num_frames - 1)
    third = min(second + 1 + int(rng.integers(jump + 1)), num_frames - jump // 2, num_frames - 1)
    times = [start, second, third]
    return times[::-1] if rng.random() < 0.5 else times


def teachable(masks: np.ndarray, small_areas: tuple[int, int, int]) -> np.ndarray:
    """Labels in the first of ``masks [T, S, S]`` that are large enough, or small and small for good (published)."""
    tiny, small, large = (side**2 * masks[0].size / 384**2 for side in small_areas)
    first, *others = (np.bincount(mask.ravel(), minlength=VOID + 1) for mask in masks)
    stays_small = np.all([areas < small for areas in others], axis=0)
    taught = (first >= large) | ((first >= tiny) & stays_small)
    taught[[0, VOID]] = False
    return np.flatnonzero(taught)


def _object_point(mask: np.ndarray, rng: np.random.Generator) -> tuple[float, float] | None:
    """A random point of a random object, whatever its size."""
    labels = objects_in(mask)
    return point_in(mask == rng.choice(labels), rng) if labels else None


def _sample(clip: Clip, chosen: np.ndarray, num_objects: int) -> ClipSample:
    renumber = np.zeros(VOID + 1, np.int64)
    renumber[chosen] = np.arange(1, len(chosen) + 1)
    present = torch.arange(num_objects) < len(chosen)
    return ClipSample(normalise(clip.frames), torch.from_numpy(renumber[clip.masks]), present)
