"""Clicks: the annotator that clicks into the centre of the largest error.

The rule of RITM (Sofiiuk et al., "Reviving Iterative Training with Mask Guidance for Interactive Segmentation", 2022)
for one object, taken to several: each label's own errors compete.
"""

from typing import NamedTuple

import cv2
import numpy as np


class Click(NamedTuple):
    """A click at column ``x`` and row ``y`` that says ``label`` (0: background)."""

    x: int
    y: int
    label: int


def next_click(
    truth: np.ndarray, prediction: np.ndarray, num_objects: int, clicked: np.ndarray | None = None
) -> Click | None:
    """The pixel deepest inside the missing part of any label 0..``num_objects``; None where nothing is wrong.

    ``truth``, ``prediction``: ``[H, W]``. The border of the image ends a part; void (255) is no error; no pixel of
    ``clicked`` (bool ``[H, W]``) is clicked again. Of equal depths the lowest label counts (so background before
    object, as with RITM), then the first pixel row by row.
    """
    best: Click | None = None
    deepest = 0.0
    for label in range(num_objects + 1):
        error = (truth == label) & (prediction != label)
        if not error.any():
            continue
        padded = np.pad(error, 1).astype(np.uint8)
        depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
        if clicked is not None:
            depth = np.where(clicked, 0, depth)
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        if depth[y, x] > deepest:
            best, deepest = Click(int(x), int(y), label), float(depth[y, x])
    return best


class Clicker:
    """The annotator of a video, which remembers the pixels it clicked; ``truth [T, H, W]``."""

    def __init__(self, truth: np.ndarray, num_objects: int) -> None:
        self._truth, self._num_objects = truth, num_objects
        self._clicked: dict[int, np.ndarray] = {}

    def __call__(self, frame: int, prediction: np.ndarray) -> Click | None:
        """The next click on a frame; None where all is right, or each wrong pixel was clicked."""
        clicked = self._clicked.setdefault(frame, np.zeros(prediction.shape, bool))
        click = next_click(self._truth[frame], prediction, self._num_objects, clicked)
        if click is not None:
            clicked[click.y, click.x] = True
        return click
