"""Metrics of masks against ground truth: region similarity J and boundary accuracy F, as in DAVIS 2017.

Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", CVPR 2016; the
conventions for empty masks, void pixels and the boundary tolerance are those of the DAVIS 2017 evaluation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from skimage.morphology import disk

from vosforge.terms import VOID


@dataclass(frozen=True)
class Scores:
    """``j`` and ``f``: ``[T, K]`` float64 in 0..1, one value a frame and object."""

    j: np.ndarray
    f: np.ndarray

    @property
    def mean_j(self) -> float:
        """J averaged over objects and frames."""
        return float(self.j.mean())

    @property
    def mean_f(self) -> float:
        """F averaged over objects and frames."""
        return float(self.f.mean())

    @property
    def j_and_f(self) -> float:
        """The mean of J and F."""
        return (self.mean_j + self.mean_f) / 2


def region_j(truth: np.ndarray, prediction: np.ndarray, void: np.ndarray | None = None) -> float:
    """Intersection over union of two binary masks ``[H, W]`` outside ``void``; 1 where both are empty."""
    truth, prediction = truth.astype(bool), prediction.astype(bool)
    if void is not None:
        truth, prediction = truth & ~void.astype(bool), prediction & ~void.astype(bool)
    union = np.count_nonzero(truth | prediction)
    return np.count_nonzero(truth & prediction) / union if union else 1.0


def boundary_f(
    truth: np.ndarray, prediction: np.ndarray, void: np.ndarray | None = None, bound_th: float = 0.008
) -> float:
    """F-measure of the boundaries of two binary masks ``[H, W]``: precision and recall of boundary pixels.

    A boundary pixel counts as found within a disk whose radius is ``bound_th`` of the image diagonal, rounded up
    (``bound_th`` >= 1: the radius in pixels). Two masks without boundary score 1.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"the masks have different shapes: {truth.shape} and {prediction.shape}")
    radius = int(bound_th if bound_th >= 1 else np.ceil(bound_th * np.linalg.norm(truth.shape)))
    truth, prediction = truth.astype(bool), prediction.astype(bool)
    if void is not None:
        truth, prediction = truth & ~void.astype(bool), prediction & ~void.astype(bool)
    window = _window(truth | prediction, radius + 2)
    if window is None:
        return 1.0
    truth_edge, predicted_edge = _boundary(truth[window]), _boundary(prediction[window])
    num_truth, num_predicted = np.count_nonzero(truth_edge), np.count_nonzero(predicted_edge)
    if num_truth == 0 or num_predicted == 0:
        # One side has no boundary: precision or recall is 0, and so is F. Neither has: both are 1.
        return float(num_truth == num_predicted)
    near = disk(radius)
    precision = np.count_nonzero(predicted_edge & cv2.dilate(truth_edge, near)) / num_predicted
    recall = np.count_nonzero(truth_edge & cv2.dilate(predicted_edge, near)) / num_truth
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def frame_j(truth: np.ndarray, masks: np.ndarray, object_ids: Sequence[int]) -> np.ndarray:
    """Region similarity ``[T, K]`` of index masks ``[T, H, W]``; pixels that are 255 in ``truth`` are void."""
    scores = np.ones((len(truth), len(object_ids)))
    for t, (expected, found) in enumerate(zip(truth, masks, strict=True)):
        void = expected == VOID
        scores[t] = [region_j(expected == label, found == label, void) for label in object_ids]
    return scores


def score_masks(truth: np.ndarray, masks: np.ndarray, object_ids: Sequence[int]) -> Scores:
    """J and F of index masks ``masks`` against ``truth`` (both ``[T, H, W]``) for the labels ``object_ids``.

    Pixels that are 255 in ``truth`` are void. ValueError without an object or for unequal shapes.
    """
    if truth.shape != masks.shape:
        raise ValueError(f"ground truth {truth.shape} and masks {masks.shape} differ in shape")
    if not len(object_ids):
        raise ValueError("a video without objects has no score")
    f = np.ones((len(truth), len(object_ids)))
    for t, (expected, found) in enumerate(zip(truth, masks, strict=True)):
        void = expected == VOID
        f[t] = [boundary_f(expected == label, found == label, void) for label in object_ids]
    return Scores(frame_j(truth, masks, object_ids), f)


def _boundary(mask: np.ndarray) -> np.ndarray:
    """One-pixel boundary of a binary mask, uint8: pixels that differ from a right, lower or lower-right neighbour.

    The last row and column are repeated, so that the image border is not a boundary.
    """
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    here = padded[:-1, :-1]
    edge = (here ^ padded[:-1, 1:]) | (here ^ padded[1:, :-1]) | (here ^ padded[1:, 1:])
    return edge.astype(np.uint8)


def _window(mask: np.ndarray, margin: int) -> tuple[slice, slice] | None:
    """The bounding box of ``mask`` widened by ``margin``, or None for an empty mask: all that can matter lies in it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return (
        slice(max(rows[0] - margin, 0), rows[-1] + margin + 1),
        slice(max(columns[0] - margin, 0), columns[-1] + margin + 1),
    )
