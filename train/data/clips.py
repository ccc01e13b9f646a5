"""Training samples for propagation: a few nearby frames of a video and up to a few of their objects.

Four pieces: videos (of one set, or a `train.data.sources.Mix`), the choice of frames and objects (``sample_times``,
``teachable``), decoding only what a crop shows (``see_frame``), and the typed sample (``ClipSample``).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from train.data.augment import SampleView, apply_colour, degraded, point_in, sample_views, see_frame, warp_mask
from train.data.cutouts import Layer, cut_out, sample_layers
from train.data.matches import no_matches, still_matches, track_matches, tracks_of
from train.data.sources import as_mix, spacing
from train.data.stills import deformed, moved_maps, still_frames, still_mask
from train.settings import ClipStage, PropagationSettings
from vosforge import VOSForgeError
from vosforge.seeding import rng_for
from vosforge.terms import VOID
from vosforge.videos import ShardSet
from vosforge.videos.video import Video, label_areas, objects_in

DRAWS_OF_A_VIDEO = 6
DRAWS = 120


class ClipSample(NamedTuple):
    """A clip, or a batch with a leading dimension B.

    frames: [T, 3, H, W] uint8 RGB; labels: [T, H, W] uint8, 0..K; present: [K] bool, False for padding objects;
    matches: [T, (H / 16) (W / 16)] int16, for each cell the cell of frame 0 that shows the same point, or -1.
    """

    frames: Tensor
    labels: Tensor
    present: Tensor
    matches: Tensor


class ClipDataset(Dataset[ClipSample]):
    """All clips of a run in order: item i belongs to step i // batch and depends only on the seed and i.

    Videos follow seeded permutations: each is used once before any repeats (of a mix, each of a source).
    """

    def __init__(self, videos: Sequence[Video], settings: PropagationSettings) -> None:
        self.videos = as_mix(videos, settings.longest_clip)
        self.settings = settings

    def __len__(self) -> int:
        return self.settings.iterations * self.settings.batch

    def __getitem__(self, index: int) -> ClipSample:
        """Clip ``index``. Raises VOSForgeError if large enough objects are too rare."""
        rng = rng_for(self.settings.seed, "clip", index)
        source, video = self.videos.choose(self.settings.seed, index)
        for draw in range(1, DRAWS + 1):
            others = rng_for(self.settings.seed, "cutouts", index, draw)
            clip = self._draw(video, source.stills, index // self.settings.batch, rng, others)
            if clip is not None:
                return clip
            if draw % DRAWS_OF_A_VIDEO == 0:
                video = source.videos[int(rng.integers(len(source.videos)))]
        raise VOSForgeError(
            f"{DRAWS} random crops in a row showed no object large enough to teach propagation (last video: "
            f"'{video.id}'); render larger objects or lower small_areas"
        )

    def _draw(
        self, video: Video, still: bool, step: int, rng: np.random.Generator, others: np.random.Generator
    ) -> ClipSample | None:
        """A random clip of ``video``, or None if its first frame has no suitable object.

        ``others`` draws what is not published: cut-outs, degraded frames, deformed masks.
        """
        settings, stage = self.settings, self.settings.stage_at(step)
        if video.num_frames < (1 if still else settings.longest_clip):
            return None
        if still or (settings.still_share and rng.random() < settings.still_share):
            moment = _moved_still(video, settings, stage, rng)
        else:
            moment = _moving(video, settings, stage, settings.max_jump(step), rng)
        layers = self._layers(moment, others)
        candidates = teachable(moment.masks, settings.small_areas)
        if not len(candidates):
            return None
        chosen = rng.permutation(candidates)[: settings.num_objects]
        crop = stage.geometry.crop
        frames = np.empty((len(moment.masks), 3, crop, crop), np.uint8)
        for t, (image, planes) in enumerate(zip(moment.images(), frames, strict=True)):
            for layer in layers:
                image = layer.onto_frame(image, t)
            if settings.degrade and others.random() < settings.degrade:
                image = degraded(image, others)
            cv2.split(image, list(planes))
        matches = moment.matches() if settings.point_weight else no_matches(len(frames), crop)
        if settings.deform and others.random() < settings.deform:
            moment.masks[0] = deformed(moment.masks[0], others)
        return _sample(frames, moment.masks, chosen, settings.num_objects, matches)

    def _layers(self, clip: "_Clip", rng: np.random.Generator) -> list[Layer]:
        """Random cut-outs of other videos, in the clip's colours, pasted into its masks."""
        settings = self.settings.cutouts
        if rng.random() >= settings.probability:
            return []
        drawn = [cut_out(self.videos.draw_for_cutout(rng), rng) for _ in range(int(rng.integers(settings.most)) + 1)]
        found = [replace(one, pixels=apply_colour(one.pixels, [clip.colour])) for one in drawn if one is not None]
        layers = sample_layers(found, clip.masks, settings, rng)
        for layer in layers:
            layer.onto_masks(clip.masks)
        return layers


class ShardDataset(ClipDataset):
    """Clips of a rendered or imported data set, for a ``torch.utils.data.DataLoader``.

    Safe to pickle, fork and spawn: each process opens the shards it reads.
    """

    def __init__(self, path: Path | str, settings: PropagationSettings, split: str = "train") -> None:
        """Use the videos of ``split`` in a data set or shard (path or URL). Raises InputError if there are none."""
        super().__init__(ShardSet(path).split(split), settings)


class _Clip(NamedTuple):
    """A drawn clip, whose frames are not decoded yet.

    masks: [T, S, S] uint8; colour: 3x4, the change that its frames share; images: T of [S, S, 3] uint8 RGB; matches:
    as of `ClipSample`, with what is pasted into the masks.
    """

    masks: np.ndarray
    colour: np.ndarray
    images: Callable[[], Iterable[np.ndarray]]
    matches: Callable[[], np.ndarray]


def _moving(
    video: Video, settings: PropagationSettings, stage: ClipStage, max_jump: int, rng: np.random.Generator
) -> _Clip:
    """Nearby frames of ``video`` in one crop."""
    geometry, size = stage.geometry, (video.height, video.width)
    # Jumps count frames of the whole video (published: a fifth of them where every fifth is annotated).
    times = sample_times(video.num_frames, max(max_jump // spacing(video), 1), rng, stage.frames)
    masks = [video.mask(t) for t in times]
    views = _views(masks[0], size, settings, stage, rng)
    seen = np.stack([warp_mask(mask, view.to_frame, geometry.crop) for mask, view in zip(masks, views, strict=True)])

    def images() -> Iterable[np.ndarray]:
        return (see_frame(partial(video.frame, t), size, view, geometry) for t, view in zip(times, views, strict=True))

    def matches() -> np.ndarray:
        tracks = tracks_of(video)
        return no_matches(*seen.shape[:2]) if tracks is None else track_matches(tracks, times, views, seen)

    return _Clip(seen, views[0].colours[0], images, matches)


def _moved_still(video: Video, settings: PropagationSettings, stage: ClipStage, rng: np.random.Generator) -> _Clip:
    """A random frame of ``video``, moved."""
    t, geometry = int(rng.integers(video.num_frames)), stage.geometry
    mask = video.mask(t)
    views = _views(mask, (video.height, video.width), settings, stage, rng)
    maps = moved_maps(views, geometry.crop, settings.motion, rng)
    seen = np.stack([still_mask(mask, where) for where in maps])
    return _Clip(
        seen,
        views[0].colours[0],
        lambda: still_frames(video.frame(t), maps, views, geometry.cubic),
        lambda: still_matches(maps, seen),
    )


def _views(
    mask: np.ndarray, size: tuple[int, int], settings: PropagationSettings, stage: ClipStage, rng: np.random.Generator
) -> list[SampleView]:
    """The crop of a clip whose first mask is ``mask``, and the views of its frames."""
    anchor = _object_point(mask, rng) if rng.random() < settings.focus else None
    augmentation = settings.augmentation.model_copy(update={"geometry": stage.geometry})
    return sample_views(size, stage.frames, augmentation, rng, anchor)


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


def _sample(
    frames: np.ndarray, masks: np.ndarray, chosen: np.ndarray, num_objects: int, matches: np.ndarray
) -> ClipSample:
    renumber = np.zeros(VOID + 1, np.uint8)
    renumber[chosen] = np.arange(1, len(chosen) + 1)
    present = torch.arange(num_objects) < len(chosen)
    labels = torch.from_numpy(cv2.LUT(masks, renumber))
    return ClipSample(torch.from_numpy(frames), labels, present, torch.from_numpy(matches))
