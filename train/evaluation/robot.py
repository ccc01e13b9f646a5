"""The annotator of the DAVIS interactive benchmark: it looks at the worst frame and scribbles where labels are wrong.

Caelles et al., "The 2018 DAVIS Challenge on Video Object Segmentation". For each label, background included, each
part of (truth is the label, prediction is not) gets one stroke along the longest path of its skeleton.
"""

from collections.abc import Collection

import numpy as np

from train.data.strokes import draw_path, region_strokes
from train.evaluation.metrics import score_masks
from vosforge.terms import VOID

NO_SCRIBBLE = -1
ROBOT_OPENING = 0.2
"""The benchmark's kernel; the strokes that S2M is trained on have `train.data.strokes.OPENING`."""


def robot_scribbles(
    truth: np.ndarray, prediction: np.ndarray, num_objects: int, rng: np.random.Generator, clip: bool = False
) -> np.ndarray:
    """Scribbles that correct an index mask ``prediction [H, W]`` towards ``truth [H, W]`` (255: void).

    Returns ``[H, W]`` int16: -1 no scribble, 0 background, j object j (labels 1..``num_objects``), strokes one pixel
    wide. A smoothed stroke may leave a bent region, as the benchmark's do; ``clip`` erases what left it. Where all
    regions are too small for a stroke the map is -1 everywhere.
    """
    scribbles = np.full(truth.shape, NO_SCRIBBLE, np.int16)
    for label in range(num_objects + 1):
        error = (truth == label) & (prediction != label)
        if not error.any():
            continue
        canvas = np.zeros(truth.shape, np.uint8)
        for path in region_strokes(error, rng, opening=ROBOT_OPENING):
            draw_path(canvas, path, 1)
        drawn = canvas.astype(bool) & error if clip else canvas.astype(bool)
        scribbles[drawn & (truth != VOID)] = label
    return scribbles


def worst_frame(truth: np.ndarray, masks: np.ndarray, object_ids: Collection[int], used: Collection[int] = ()) -> int:
    """The frame of index masks ``[T, H, W]`` with the lowest J&F (mean over objects), unused ones first."""
    found = score_masks(truth, masks, list(object_ids))
    scores = (found.j + found.f).mean(axis=1) / 2
    candidates = [t for t in range(len(truth)) if t not in used] or list(range(len(truth)))
    return min(candidates, key=lambda t: (scores[t], t))


def first_frame(masks: np.ndarray, object_ids: Collection[int]) -> int:
    """The frame to scribble first: where the object that is seen worst is still seen best.

    An object's visibility in a frame is its area over its largest area in the video; ``masks [T, H, W]``.
    """
    areas = np.array([[np.count_nonzero(mask == label) for label in object_ids] for mask in masks], np.float64)
    visibility = areas / np.maximum(areas.max(axis=0), 1.0)
    return int(visibility.min(axis=1).argmax())
