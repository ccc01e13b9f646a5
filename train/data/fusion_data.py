"""Training samples for fusion: masks of a frame, propagated by a trained network from two references."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mivos_models import InteractiveRunner, SpaceTimeNetwork, normalise
from train.data.augment import apply_colour, colour_matrix, point_in, sample_window, warp_image, warp_mask
from train.settings import FusionSettings
from vosforge import InputError
from vosforge.log import logger
from vosforge.seeding import rng_for
from vosforge.terms import VOID
from vosforge.videos.video import Video, usable_for_training

STATE_DRAWS = 20
TENTH = 25
"""A probability of one tenth, stored as 0..255."""


@dataclass(frozen=True)
class PropagatedVideo:
    """One video with the masks propagated from some of its frames.

    frames [T,H,W,3] uint8; truth [T,H,W] uint8, labels 1..K; results: reference -> [K,T,H,W] uint8, aggregated
    probabilities times 255, truncated.
    """

    id: str
    frames: np.ndarray
    truth: np.ndarray
    results: dict[int, np.ndarray]

    def objects_at(self, t: int, min_pixels: int) -> set[int]:
        """Labels with more than ``min_pixels`` ground-truth pixels in frame ``t``."""
        return {int(label) for label in np.flatnonzero(np.bincount(self.truth[t].ravel()) > min_pixels) if label}


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


def propagate_references(
    videos: Sequence[Video], propagation: SpaceTimeNetwork, settings: FusionSettings
) -> list[PropagatedVideo]:
    """Propagate true masks from evenly spaced reference frames through ``videos`` (at most ``settings.num_videos``).

    Raises InputError if no video has two references that share an object.
    """
    usable = usable_for_training(videos, settings.references + 1)
    if settings.num_videos is not None:
        chosen = rng_for(settings.seed, "fusion videos").permutation(len(usable))[: settings.num_videos]
        usable = [usable[i] for i in sorted(chosen)]
    propagated = [_propagate(video, propagation, settings) for video in usable]
    kept = [video for video in propagated if _pairs(video, settings.min_pixels)]
    if len(kept) < len(propagated):
        logger.info(
            "fusion: %d of %d videos show no object in two references", len(propagated) - len(kept), len(usable)
        )
    if not kept:
        raise InputError(
            "no training video shows one object in two reference frames: render longer videos or larger ones"
        )
    return kept


class FusionDataset(Dataset[FusionSample]):
    """All fusion samples of a run in order: item i depends only on the seed, i and the propagated results."""

    def __init__(self, videos: Sequence[PropagatedVideo], settings: FusionSettings) -> None:
        self.videos = videos
        self.settings = settings
        self.pairs = [_pairs(video, settings.min_pixels) for video in videos]

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
        old, new = (video.results[r][objects - 1, t] for r in (r1, r2))
        differs = (cv2.absdiff(old, new) > TENTH).any(axis=0)
        height, width = differs.shape
        anchor = point_in(differs, rng)
        window = sample_window(height, width, self.settings.augmentation.geometry, rng, anchor)
        return _Draw(video, r1, r2, t, objects, window, int(np.count_nonzero(self._crop(differs, window))))

    def _times(self, video: PropagatedVideo, pair: tuple[int, int], rng: np.random.Generator) -> tuple[int, int, int]:
        r1, r2 = pair if rng.random() < 0.5 else pair[::-1]
        reach = self.settings.reach or len(video.truth)
        inside = range(min(pair) + 1, max(pair))
        everywhere = range(len(video.truth)) if not self.settings.between else inside
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
            warped = warp_image(video.frames[frame], draw.window, geometry.crop, geometry.cubic)
            return normalise(apply_colour(warped, [colour]))

        def planes(source: np.ndarray, scale: float) -> Tensor:
            filled = np.zeros((K, geometry.crop, geometry.crop), np.float32)
            for slot, plane in enumerate(source):
                filled[slot] = self._crop(plane, draw.window) * np.float32(scale)
            return torch.from_numpy(filled)

        old, new = (planes(video.results[r][draw.objects - 1, t], 1 / 255) for r in (r1, r2))
        before = planes(video.results[r1][draw.objects - 1, r2], 1 / 255)
        given = planes(video.truth[r2] == draw.objects[:, None, None], 1.0)
        renumber = np.zeros(VOID + 1, np.int64)
        renumber[draw.objects] = np.arange(1, len(draw.objects) + 1)
        label = renumber[self._crop(video.truth[t], draw.window)]
        return FusionSample(
            image=image(t),
            reference_image=image(r2),
            old=old,
            new=new,
            given=given,
            before=before,
            time=torch.tensor([abs(r1 - t), abs(r2 - t)], dtype=torch.float32) / abs(r1 - r2),
            label=torch.from_numpy(label),
            present=torch.arange(K) < len(draw.objects),
            instructive=torch.tensor(draw.differing >= self.settings.min_pixels),
        )


class _Draw(NamedTuple):
    video: PropagatedVideo
    r1: int
    r2: int
    t: int
    objects: np.ndarray
    window: np.ndarray
    differing: int


def _propagate(video: Video, propagation: SpaceTimeNetwork, settings: FusionSettings) -> PropagatedVideo:
    frames, truth = video.frames(), np.where(video.masks() == VOID, 0, video.masks()).astype(np.uint8)
    ids = sorted(int(i) for i in np.unique(truth) if i)
    renumber = np.zeros(VOID + 1, np.uint8)
    renumber[ids] = np.arange(1, len(ids) + 1)
    truth = renumber[truth]
    if settings.short_side is not None:
        scale = settings.short_side / min(truth.shape[1:])
        size = (round(truth.shape[2] * scale), round(truth.shape[1] * scale))
        frames = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])
        truth = np.stack([cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST) for mask in truth])
    references = np.linspace(0, len(frames) - 1, settings.references).round().astype(int)
    results = {}
    for r in references:
        runner = InteractiveRunner(propagation, frames, max(len(ids), 1), mem_every=settings.mem_every)
        runner.interact(int(r), truth[r])
        probabilities = np.stack([runner.probabilities(t)[1:] for t in range(len(frames))], axis=1)
        results[int(r)] = (probabilities * 255).astype(np.uint8)
    return PropagatedVideo(video.id, frames, truth, results)


def _pairs(video: PropagatedVideo, min_pixels: int) -> list[tuple[int, int]]:
    """Pairs of references that share an object and have a frame between them."""
    shown = {r: video.objects_at(r, min_pixels) for r in sorted(video.results)}
    return [(a, b) for a, b in combinations(shown, 2) if b - a > 1 and shown[a] & shown[b]]
