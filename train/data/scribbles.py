"""Synthetic errors and scribbles for training S2M (Scribble-to-Mask, MiVOS, CVPR 2021).

The previous mask is empty or a perturbed ground truth. Positive strokes lie in its false negatives, negative ones in
its false positives. All masks are bool ``[H, W]``.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from pydantic import Field
from skimage.morphology import skeletonize

from train.data.strokes import bezier, draw_path, region_strokes
from train.evaluation.metrics import region_j
from vosforge.config import Range, Record, Share


class ScribbleSettings(Record):
    """Frequencies of errors and strokes; the defaults are the published ones."""

    from_zero: Share = 0.33
    """Probability of an empty previous mask."""
    target_iou: Range[Share] = (0.4, 0.95)
    """IoU at which perturbing the ground truth stops: uniform in this range."""
    robot: Share = 0.75
    """Probability of the benchmark robot's strokes if the previous mask is not empty."""
    robot_from_zero: Share = 0.0
    """The same if the previous mask is empty."""
    second: Share = 0.3
    """Probability of a second stroke in the same region."""
    extra: Share = 0.3
    """Probability of additional free curves over the whole object and the whole background."""
    other: Share = 0.75
    """Probability that another object is involved: its strokes as negative ones, or its mask as a false positive."""
    other_from_zero: bool = False
    """Whether it can also be involved (by its strokes) if the previous mask is empty."""
    clicks: Share = Field(default=0.0, exclude_if=lambda value: value == 0)
    """Probability of clicks in place of strokes."""


class ScribbleSample(NamedTuple):
    """S2M's input from a user: ``previous``, ``positive``, ``negative``, each bool ``[H, W]``."""

    previous: np.ndarray
    positive: np.ndarray
    negative: np.ndarray


def sample_scribbles(
    truth: np.ndarray, settings: ScribbleSettings, rng: np.random.Generator, other: np.ndarray | None = None
) -> ScribbleSample:
    """A previous mask and strokes for the object ``truth [H, W]`` bool; an empty ``truth`` gets negative strokes only.

    ``other [H, W]`` bool: another object that the user may have scribbled on, or that S2M confused with this one.
    """
    truth = truth.astype(bool)
    from_zero = rng.random() < settings.from_zero
    previous = np.zeros_like(truth) if from_zero else perturb_mask(truth, float(rng.uniform(*settings.target_iou)), rng)
    beside = np.zeros_like(truth)
    if other is not None and rng.random() < settings.other and (settings.other_from_zero or not from_zero):
        if from_zero or rng.random() < 0.5:
            beside = region_scribbles(other.astype(bool), settings.second, rng)
        else:
            previous = previous | (perturb_mask(other, 0.6, rng) & ~truth)
    missed, wrong = truth & ~previous, previous & ~truth
    if settings.clicks and missed.any() and rng.random() < settings.clicks:
        return ScribbleSample(previous, clicks_in(missed, rng), clicks_in(wrong, rng) | beside)
    if rng.random() < (settings.robot_from_zero if from_zero else settings.robot):
        positive, negative = robot_strokes(missed, rng), robot_strokes(wrong, rng)
    else:
        positive, negative = (region_scribbles(region, settings.second, rng) for region in (missed, wrong))
    if rng.random() < settings.extra or not (positive.any() or negative.any()):
        positive = positive | curve_scribble(truth, rng, int(rng.integers(2, 5)))
        negative = negative | curve_scribble(~truth, rng, int(rng.integers(2, 5)))
    return ScribbleSample(previous, positive, negative | beside)


def perturb_mask(truth: np.ndarray, target_iou: float, rng: np.random.Generator) -> np.ndarray:
    """Perturb ``truth`` by dilating and eroding random rectangles until its IoU falls below ``target_iou``.

    At most 250 rounds of 4 rectangles. Some of ``truth`` always remains; an empty mask is returned unchanged.
    """
    mask = truth.astype(np.uint8)
    rows, columns = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(truth.any(axis=0))
    if not len(rows):
        return mask.astype(bool)
    height, width = mask.shape
    for _ in range(250):
        for _ in range(4):
            y0, y1 = np.sort(rng.integers(max(rows[0] - 20, 0), min(rows[-1] + 21, height) + 1, 2))
            x0, x1 = np.sort(rng.integers(max(columns[0] - 20, 0), min(columns[-1] + 21, width) + 1, 2))
            part = mask[y0:y1, x0:x1].copy()
            if not part.size:
                continue
            before = part.copy()
            if rng.random() < 0.1:
                part[part.shape[0] // 2, part.shape[1] // 2] = rng.integers(2)
            change = cv2.dilate if rng.random() < 0.5 else cv2.erode
            mask[y0:y1, x0:x1] = change(part, _random_element(rng))
            if not np.logical_and(mask, truth).any():  # keep part of the object
                mask[y0:y1, x0:x1] = before
        if region_j(truth, mask) < target_iou:
            break
    return mask.astype(bool)


def robot_strokes(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The benchmark robot's strokes over ``region``, computed at half resolution and dilated 3x3."""
    height, width = region.shape
    half = cv2.resize(region.astype(np.uint8), (max(width // 2, 1), max(height // 2, 1)), interpolation=cv2.INTER_AREA)
    canvas = np.zeros((height, width), np.uint8)
    if half.any():
        for path in region_strokes(half, rng, min_nodes=1):
            draw_path(canvas, path * 2, 1)
    return _dilated(canvas, 3)


def clicks_in(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One to three discs, as of clicks, around pixels of ``region``: the deepest, or any that are half as deep."""
    depth = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    canvas = np.zeros(region.shape, np.uint8)
    if region.any():
        ys, xs = np.nonzero(depth >= depth.max() * float(rng.uniform(0.5, 1.0)))
        for place in rng.integers(len(ys), size=int(rng.choice(3, p=(0.7, 0.2, 0.1))) + 1):
            cv2.circle(canvas, (int(xs[place]), int(ys[place])), int(rng.integers(2, 6)), (1,), -1)
    return canvas.astype(bool)


def region_scribbles(region: np.ndarray, second: float, rng: np.random.Generator) -> np.ndarray:
    """One stroke (two with probability ``second``) in each larger part of ``region``: boundary, thinned or curve."""
    size = int(rng.integers(5, 20))
    kept = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_OPEN, _ellipse(size, size))
    kept[~region] = 0  # opening with an even-sized element shifts the region by a pixel
    count, labels, stats, _ = cv2.connectedComponentsWithStats(kept, connectivity=8)
    result = np.zeros(region.shape, bool)
    least = int(rng.integers(10, 100))
    for label in range(1, count):
        if stats[label, cv2.CC_STAT_AREA] < least:
            continue
        part = labels == label
        for _ in range(1 + int(rng.random() < second)):
            result |= _STROKES[int(rng.choice(3, p=(0.33, 0.33, 0.34)))](part, rng)
    return result


def boundary_scribble(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A broken line inside ``region``, parallel to its boundary."""
    size = int(rng.integers(3, 50))
    inner = cv2.erode(np.pad(region.astype(np.uint8), 1), _ellipse(size, size))
    line = np.bitwise_and(inner, 1 - cv2.erode(inner, np.ones((3, 3), np.uint8)))
    return _with_gaps(line[1:-1, 1:-1], rng).astype(bool)


def thinned_scribble(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The broken skeleton of ``region``, three pixels wide, clipped to it."""
    line = _dilated(skeletonize(region).astype(np.uint8), 3)
    return _with_gaps(line.astype(np.uint8), rng).astype(bool) & region


def curve_scribble(region: np.ndarray, rng: np.random.Generator, keep: int | None = None) -> np.ndarray:
    """Quadratic Bezier curves through random pixels of ``region``, three pixels wide, clipped to it.

    The ``keep`` longest of ten candidates remain (None: two or three); regions under 100 pixels get none.
    """
    ys, xs = np.nonzero(region)
    result = np.zeros(region.shape, np.uint8)
    if len(ys) < 100:
        return result.astype(bool)
    keep = int(rng.integers(2, 4)) if keep is None else keep
    curves = []
    for _ in range(10):
        chosen = rng.integers(len(ys), size=3)
        curve = bezier(np.stack([xs[chosen], ys[chosen]], axis=1), 50)
        curves.append((float(np.linalg.norm(np.diff(curve, axis=0), axis=1).sum()), curve))
    for _, curve in sorted(curves, key=lambda item: -item[0])[:keep]:
        draw_path(result, curve, 1, thickness=3)
    return result.astype(bool) & region


_STROKES: tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], ...] = (
    boundary_scribble,
    thinned_scribble,
    curve_scribble,
)


def _with_gaps(line: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Erode ``line`` uint8 in four random rectangles, which breaks strokes that cross them."""
    height, width = line.shape
    for _ in range(4):
        y0, y1 = np.sort(rng.integers(0, height + 1, 2))
        x0, x1 = np.sort(rng.integers(0, width + 1, 2))
        size = int(rng.integers(5, 10))
        if y1 > y0 and x1 > x0:
            part = np.ascontiguousarray(line[y0:y1, x0:x1])
            line[y0:y1, x0:x1] = cv2.erode(part, np.ones((size, size), np.uint8))
    return line


def _random_element(rng: np.random.Generator) -> np.ndarray:
    size = int(rng.integers(3, 10))
    half = max(size // 2, 1)
    return (
        np.ones((size, size), np.uint8),
        _ellipse(size, size),
        _ellipse(size, half),
        _ellipse(half, size),
    )[int(rng.integers(4))]


def _ellipse(width: int, height: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, height)).astype(np.uint8)


def _dilated(canvas: np.ndarray, size: int) -> np.ndarray:
    return cv2.dilate(canvas, np.ones((size, size), np.uint8)).astype(bool)
