"""Region similarity J and boundary accuracy F of masks, and their statistics over frames.

Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", CVPR 2016, as in the
DAVIS 2017 evaluation code. `train.evaluation.protocols` says which frames, objects and void pixels count where.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from skimage.morphology import disk

BOUND_TH = 0.008
"""The tolerance of boundaries as a share of the image diagonal."""


@dataclass(frozen=True)
class Scores:
    """``j`` and ``f``: ``[T, K]`` float64 in 0..1, one value per frame and object."""

    j: np.ndarray
    f: np.ndarray

    @property
    def mean_j(self) -> float:
        """J averaged over frames, then objects."""
        return float(self.j.mean())

    @property
    def mean_f(self) -> float:
        """F averaged over frames, then objects."""
        return float(self.f.mean())

    @property
    def j_and_f(self) -> float:
        """The mean of J and F."""
        return (self.mean_j + self.mean_f) / 2


class RegionCounts(NamedTuple):
    """Pixels in both masks, and in either; sums over frames are valid counts too."""

    intersection: int
    union: int

    @property
    def j(self) -> float:
        """Intersection over union; 1 if both masks are empty."""
        return self.intersection / self.union if self.union else 1.0


class BoundaryCounts(NamedTuple):
    """Boundary pixels of truth and prediction, and those of each within reach of the other; sums are valid counts too.

    ``matched_truth`` ≤ ``truth``, ``matched_predicted`` ≤ ``predicted``.
    """

    matched_truth: int
    truth: int
    matched_predicted: int
    predicted: int

    @property
    def f(self) -> float:
        """Harmonic mean of precision and recall; 1 if neither mask has a boundary, 0 if only one has."""
        if not self.truth or not self.predicted:
            return float(self.truth == self.predicted)
        precision, recall = self.matched_predicted / self.predicted, self.matched_truth / self.truth
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


class Statistics(NamedTuple):
    """Statistics of an object's scores over its frames, as DAVIS defines them."""

    mean: float
    recall: float
    """Share of frames with a score above 0.5."""
    decay: float
    """Mean of the first quarter of the frames minus that of the last."""


def statistics(values: np.ndarray) -> Statistics:
    """Mean, recall and decay of scores ``[n]`` in order of time, n ≥ 1.

    The published code keeps the bounds of the quarters in 8 bits: with more than 255 frames its decay overflows, ours
    does not.
    """
    bounds = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    first, last = values[bounds[0] : bounds[1] + 1], values[bounds[3] : bounds[4] + 1]
    return Statistics(float(values.mean()), float((values > 0.5).mean()), float(first.mean() - last.mean()))


def region_counts(truth: np.ndarray, prediction: np.ndarray) -> RegionCounts:
    """Counts for J of two binary masks ``[H, W]``."""
    return RegionCounts(int(np.count_nonzero(truth & prediction)), int(np.count_nonzero(truth | prediction)))


def boundary_counts(truth: np.ndarray, prediction: np.ndarray, radii: Sequence[float]) -> list[BoundaryCounts]:
    """Counts for F of two binary masks ``[H, W]``, one per tolerance radius in pixels."""
    reach = int(np.ceil(max(radii))) + 2
    window = _window(truth | prediction, reach)
    if window is None:
        return [BoundaryCounts(0, 0, 0, 0)] * len(radii)
    truth_edge, predicted_edge = _boundary(truth[window]), _boundary(prediction[window])
    num_truth, num_predicted = int(np.count_nonzero(truth_edge)), int(np.count_nonzero(predicted_edge))
    return [
        BoundaryCounts(
            int(np.count_nonzero(truth_edge & _widened(predicted_edge, radius))),
            num_truth,
            int(np.count_nonzero(predicted_edge & _widened(truth_edge, radius))),
            num_predicted,
        )
        for radius in radii
    ]


def boundary_radius(height: int, width: int, bound_th: float = BOUND_TH) -> int:
    """The tolerance of DAVIS in pixels: ``bound_th`` of the image diagonal, rounded up."""
    return int(np.ceil(bound_th * np.hypot(height, width)))


def region_j(truth: np.ndarray, prediction: np.ndarray, void: np.ndarray | None = None) -> float:
    """Intersection over union of two binary masks ``[H, W]`` outside ``void``; 1 where both are empty."""
    return region_counts(_outside(void, truth), _outside(void, prediction)).j


def boundary_f(
    truth: np.ndarray, prediction: np.ndarray, void: np.ndarray | None = None, bound_th: float = BOUND_TH
) -> float:
    """F-measure of the boundaries of two binary masks ``[H, W]`` outside ``void``.

    A boundary pixel counts as found within a disk whose radius is ``bound_th`` of the image diagonal, rounded up
    (``bound_th`` >= 1: the radius in pixels). Two masks without boundary score 1.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"the masks have different shapes: {truth.shape} and {prediction.shape}")
    radius = int(bound_th) if bound_th >= 1 else boundary_radius(truth.shape[0], truth.shape[1], bound_th)
    return boundary_counts(_outside(void, truth), _outside(void, prediction), [radius])[0].f


def score_masks(truth: np.ndarray, masks: np.ndarray, object_ids: Sequence[int]) -> Scores:
    """J and F of index masks ``masks`` against ``truth`` (both ``[T, H, W]``) for the labels ``object_ids``.

    All frames count, as in the DAVIS interactive benchmark. Void (255) is background there and here: what is
    predicted on it counts as wrong. ValueError without an object or for unequal shapes.
    """
    if truth.shape != masks.shape:
        raise ValueError(f"ground truth {truth.shape} and masks {masks.shape} differ in shape")
    if not len(object_ids):
        raise ValueError("a video without objects has no score")
    j, f = np.ones((2, len(truth), len(object_ids)))
    radius = boundary_radius(truth.shape[1], truth.shape[2])
    for t, (expected, found) in enumerate(zip(truth, masks, strict=True)):
        for k, label in enumerate(object_ids):
            pair = expected == label, found == label
            j[t, k], f[t, k] = region_counts(*pair).j, boundary_counts(*pair, [radius])[0].f
    return Scores(j, f)


def _outside(void: np.ndarray | None, mask: np.ndarray) -> np.ndarray:
    return mask.astype(bool) if void is None else mask.astype(bool) & ~void.astype(bool)


def _boundary(mask: np.ndarray) -> np.ndarray:
    """One-pixel boundary of a binary mask, uint8: pixels that differ from a right, lower or lower-right neighbour.

    The last row and column are repeated, so that the image border is not a boundary.
    """
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    here = padded[:-1, :-1]
    edge = (here ^ padded[:-1, 1:]) | (here ^ padded[1:, :-1]) | (here ^ padded[1:, 1:])
    return edge.astype(np.uint8)


def _widened(edge: np.ndarray, radius: float) -> np.ndarray:
    return cv2.dilate(edge, _disk(radius))


def _window(mask: np.ndarray, margin: int) -> tuple[slice, slice] | None:
    """The bounding box of ``mask`` widened by ``margin``, or None for an empty mask: all that can matter lies in it."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    if not width:
        return None
    return (
        slice(max(top - margin, 0), top + height + margin),
        slice(max(left - margin, 0), left + width + margin),
    )


@lru_cache(maxsize=64)
def _disk(radius: float) -> np.ndarray:
    """The published code's disk; of a radius that is no integer it is off centre, which MOSE's evaluation relies on."""
    return disk(radius).astype(np.uint8)
