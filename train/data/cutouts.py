"""Cut-outs: objects of other videos' frames, pasted into a clip as extra objects or as occluders, moving smoothly.

Labels stay exact: a pixel shows the cut-out where it covers at least half of it.
"""

from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from pydantic import Field

from vosforge.config import Amount, Range, Record, Share
from vosforge.terms import MAX_OBJECTS, VOID
from vosforge.videos.codec import Region
from vosforge.videos.video import Video, label_areas

MIN_PIXELS = 64
"""Smaller objects are not cut out."""


class CutoutSettings(Record):
    """What is pasted into clips, and how it moves. Nothing is, unless a probability is given."""

    probability: Share = 0.0
    """Probability that anything is pasted into a clip."""
    most: Annotated[int, Field(ge=1, le=8)] = 2
    """Most cut-outs in a clip; at least one."""
    occluders: Share = 0.5
    """Share of cut-outs that are unlabelled occluders; the others are objects, which may be taught."""
    size: Range[Annotated[float, Field(gt=0, le=2)]] = (0.15, 0.5)
    """Range of a cut-out's longer side, as a share of the crop."""
    travel: Amount = 0.4
    """Longest way of a cut-out's centre along each axis over a clip, as a share of the crop."""
    rotation: Amount = 20.0
    """Largest turn over a clip, degrees."""
    growth: Range[Annotated[float, Field(gt=0)]] = (0.8, 1.25)
    """Range of the factor by which a cut-out grows over a clip."""


@dataclass(frozen=True)
class Cutout:
    """An object cut out of a frame: ``pixels [h, w, 3]`` uint8 RGB, and ``mask [h, w]`` uint8, 1 on the object."""

    pixels: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Layer:
    """A cut-out placed in a clip.

    label: 0 for an occluder; pixels: T frames ``[S, S, 3]`` float32, times ``alpha``; alpha: T ``[S, S]`` float32.
    """

    label: int
    pixels: list[np.ndarray]
    alpha: list[np.ndarray]

    def onto_masks(self, masks: np.ndarray) -> None:
        """Paste the label into ``masks [T, S, S]``."""
        for mask, alpha in zip(masks, self.alpha, strict=True):
            mask[alpha >= 0.5] = self.label

    def onto_frame(self, frame: np.ndarray, t: int) -> np.ndarray:
        """Frame ``t`` of the clip, ``[S, S, 3]`` uint8, with the cut-out on it."""
        rows, columns = (np.flatnonzero(self.alpha[t].any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return frame
        touched = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        result = frame.copy()
        result[touched] = np.rint(frame[touched] * (1 - self.alpha[t][touched][..., None]) + self.pixels[t][touched])
        return result


def cut_out(video: Video, rng: np.random.Generator) -> Cutout | None:
    """A random object of a random frame of ``video``; None if that frame shows none that is large enough."""
    if not video.num_frames:
        return None
    t = int(rng.integers(video.num_frames))
    mask = video.mask(t)
    areas = label_areas(mask)
    areas[[0, VOID]] = 0
    labels = np.flatnonzero(areas >= MIN_PIXELS)
    if not len(labels):
        return None
    shown = mask == rng.choice(labels)
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    box = Region(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    return Cutout(video.frame(t, box), shown[box.top : box.bottom, box.left : box.right].astype(np.uint8))


def sample_layers(
    cutouts: list[Cutout], masks: np.ndarray, settings: CutoutSettings, rng: np.random.Generator
) -> list[Layer]:
    """``cutouts`` with random labels and motions over the clip with ``masks [T, S, S]``, the lowest first."""
    counts = np.sum([label_areas(mask) for mask in masks], axis=0)
    unused = [label for label in range(1, MAX_OBJECTS + 1) if not counts[label]]
    layers = []
    for number, cutout in enumerate(cutouts):
        label = 0 if rng.random() < settings.occluders or number >= len(unused) else unused[number]
        layers.append(
            place(cutout, label, sample_motion(cutout, len(masks), masks.shape[1], settings, rng), masks.shape[1])
        )
    return layers


def sample_motion(
    cutout: Cutout, frames: int, crop: int, settings: CutoutSettings, rng: np.random.Generator
) -> list[np.ndarray]:
    """A smooth random motion: for each frame, a 2x3 matrix from cut-out to crop (pixel corners at integers)."""
    height, width = cutout.mask.shape
    scale = crop * float(rng.uniform(*settings.size)) / max(height, width)
    growth = float(np.exp(rng.uniform(*np.log(settings.growth))))
    start, turn = np.deg2rad(
        rng.uniform((-settings.rotation, -settings.rotation), (settings.rotation, settings.rotation))
    )
    middle = rng.uniform(0.1, 0.9, size=2)
    way = rng.uniform(-settings.travel, settings.travel, size=2)
    bend = rng.uniform(-settings.travel, settings.travel, size=2) / 4
    motion = []
    for time in np.linspace(-0.5, 0.5, frames):
        centre = crop * (middle + way * time + bend * (4 * time**2 - 1))
        angle, size = start + turn * time, scale * growth**time
        linear = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        motion.append(np.column_stack([linear, centre - linear @ (width / 2, height / 2)]))
    return motion


def place(cutout: Cutout, label: int, motion: list[np.ndarray], crop: int) -> Layer:
    """``cutout`` in each frame of a clip, by matrices as `sample_motion` gives them."""
    premultiplied = (cutout.pixels * cutout.mask[..., None]).astype(np.float32)
    mask = cutout.mask.astype(np.float32)
    layer = Layer(label, [], [])
    for matrix in motion:
        shrunk, by = _shrunk([premultiplied, mask], float(np.sqrt(abs(np.linalg.det(matrix[:, :2])))))
        linear = matrix[:, :2] @ by
        # In OpenCV's coordinates, with pixel centres at integers.
        centred = np.column_stack([linear, matrix[:, 2] + linear @ (0.5, 0.5) - 0.5])
        warped = [cv2.warpAffine(plane, centred, (crop, crop), flags=cv2.INTER_LINEAR) for plane in shrunk]
        layer.pixels.append(warped[0])
        layer.alpha.append(warped[1])
    return layer


def _shrunk(planes: list[np.ndarray], scale: float) -> tuple[list[np.ndarray], np.ndarray]:
    """``planes`` averaged down if they are to be drawn at less than half size, as interpolation skips pixels then.

    Also the 2x2 matrix from the new coordinates to the old.
    """
    if scale >= 0.5:
        return planes, np.eye(2)
    height, width = planes[0].shape[:2]
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    smaller = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in planes]
    return smaller, np.diag([width / size[0], height / size[1]])
