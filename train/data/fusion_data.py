"""Training samples for fusion: masks of a frame, propagated by a trained network from two references."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mivos_models import normalise
from train.data.augment import apply_colour, colour_matrix, point_in, sample_window, warp_image, warp_mask
from train.data.recorded import RecordedVideo, reference_pairs
from train.settings import FusionSettings
from vosforge.seeding import rng_for
from vosforge.terms import VOID

STATE_DRAWS = 20
TENTH = 25
"""A probability of one tenth, stored as 0..255."""


class FusionSample(NamedTuple):
    """Two results for one frame t, or a batch with a leading dimension B; the second reference is the newer one.

    image, reference_image: [3,H,W] float32 normalised (frame t, second reference); old, new: [K,H,W] probabilities at
    t from the first and the second reference; given, before: [K,H,W] at the second reference, the true masks and those
    propagated from the first; time: [2]; label: [H,W] int64, 0..K; present: [K] bool; instructive: [] bool, False if
    the two results hardly differ.
    """

    image: Tensor
    reference_image: Tensor
    old: Tensor
    new: Tensor
    given: Tensor
    before: Tensor
    time: Tensor
    label: Tensor
    present: Tensor
    instructive: Tensor


class FusionDataset(Dataset[FusionSample]):
    """All fusion samples of a run in order: item i depends only on the seed, i and the recorded results.

    Reads what a sample needs, one frame at a time; safe to pickle, fork and spawn.
    """

    def __init__(self, videos: Sequence[RecordedVideo], settings: FusionSettings) -> None:
        self.videos = videos
        self.settings = settings
        self.pairs = [reference_pairs(video, settings.min_pixels) for video in videos]

    def __len__(self) -> int:
        return self.settings.iterations * self.settings.batch

    def __getitem__(self, index: int) -> FusionSample:
        """Sample ``index``: the first of up to 20 draws whose results visibly differ, else the most different one."""
        rng = rng_for(self.settings.seed, "fusion sample", index)
        best: _Draw | None = None
        for _ in range(STATE_DRAWS):
            draw = self._draw(rng)
            if best is None or draw.differing > best.differing:
                best = draw
            if best.differing >= self.settings.min_pixels:
                break
        assert best is not None
        return self._sample(best, rng)

    def _draw(self, rng: np.random.Generator) -> "_Draw":
        which = int(rng.integers(len(self.videos)))
        video = self.videos[which]
        r1, r2, t = self._times(video, self.pairs[which][rng.integers(len(self.pairs[which]))], rng)
        shared = video.objects_at(r1, self.settings.min_pixels) & video.objects_at(r2, self.settings.min_pixels)
        objects = rng.permutation(sorted(shared))[: self.settings.num_objects]
        old, new = video.results((r1, r2), objects, t)
        differs = (cv2.absdiff(old, new) > TENTH).any(axis=0)
        height, width = differs.shape
        anchor = point_in(differs, rng)
        window = sample_window(height, width, self.settings.augmentation.geometry, rng, anchor)
        differing = int(np.count_nonzero(self._crop(differs, window)))
        return _Draw(video, r1, r2, t, objects, old, new, window, differing)

    def _times(self, video: RecordedVideo, pair: tuple[int, int], rng: np.random.Generator) -> tuple[int, int, int]:
        r1, r2 = pair if rng.random() < 0.5 else pair[::-1]
        reach = self.settings.reach or video.num_frames
        inside = range(min(pair) + 1, max(pair))
        everywhere = range(video.num_frames) if not self.settings.between else inside
        targets = [t for t in everywhere if t not in pair and max(abs(t - r1), abs(t - r2)) <= reach]
        # References farther apart than the reach still have frames between them.
        return r1, r2, int(rng.choice(targets or inside))

    def _crop(self, plane: np.ndarray, window: np.ndarray) -> np.ndarray:
        """Warp ``plane [H, W]`` (bool, uint8) by ``window``: nearest pixels, 0 outside, ``[crop, crop]`` uint8."""
        return warp_mask(plane.astype(np.uint8), window, self.settings.augmentation.geometry.crop)

    def _sample(self, draw: "_Draw", rng: np.random.Generator) -> FusionSample:
        video, r1, r2, t = draw.video, draw.r1, draw.r2, draw.t
        geometry, K = self.settings.augmentation.geometry, self.settings.num_objects
        colour = colour_matrix(self.settings.augmentation.shared_colour, rng)

        def image(frame: int) -> Tensor:
            warped = warp_image(video.frame(frame), draw.window, geometry.crop, geometry.cubic)
            return normalise(apply_colour(warped, [colour]))

        def planes(source: np.ndarray, scale: float) -> Tensor:
            filled = np.zeros((K, geometry.crop, geometry.crop), np.float32)
            for slot, plane in enumerate(source):
                filled[slot] = self._crop(plane, draw.window) * np.float32(scale)
            return torch.from_numpy(filled)

        before = planes(video.results((r1,), draw.objects, r2)[0], 1 / 255)
        given = planes(video.truth(r2) == draw.objects[:, None, None], 1.0)
        renumber = np.zeros(VOID + 1, np.int64)
        renumber[draw.objects] = np.arange(1, len(draw.objects) + 1)
        label = renumber[self._crop(video.truth(t), draw.window)]
        return FusionSample(
            image=image(t),
            reference_image=image(r2),
            old=planes(draw.old, 1 / 255),
            new=planes(draw.new, 1 / 255),
            given=given,
            before=before,
            time=torch.tensor([abs(r1 - t), abs(r2 - t)], dtype=torch.float32) / abs(r1 - r2),
            label=torch.from_numpy(label),
            present=torch.arange(K) < len(draw.objects),
            instructive=torch.tensor(draw.differing >= self.settings.min_pixels),
        )


class _Draw(NamedTuple):
    video: RecordedVideo
    r1: int
    r2: int
    t: int
    objects: np.ndarray
    old: np.ndarray
    new: np.ndarray
    window: np.ndarray
    differing: int
