"""The annotator of the DAVIS interactive benchmark: it looks at the worst frame and scribbles where labels are wrong.

Caelles et al., "The 2018 DAVIS Challenge on Video Object Segmentation". For each label, background included, each
part of (truth is the label, prediction is not) gets one stroke along the longest path of its skeleton.

`benchmark_scribbles` is that robot as published. `robot_scribbles`, ours, gives strokes to discs and thin parts too
and draws none on void; the demo and first strokes use it.
"""

from collections.abc import Collection

import numpy as np

from mivos_models.runner.scribbles import rasterise
from train.data.strokes import BENCHMARK_OPENING, benchmark_strokes, draw_path, region_strokes
from train.evaluation.metrics import Scores
from vosforge.terms import VOID

NO_SCRIBBLE = -1


def benchmark_scribbles(
    truth: np.ndarray, prediction: np.ndarray, num_objects: int, rng: np.random.Generator
) -> np.ndarray:
    """The published robot's scribbles: a map as of `robot_scribbles`, -1 everywhere where it has none.

    As there, strokes may cross void, and lie up to a pixel left of and above their path: it is divided by the width
    and height, and drawn times the width and height less one.
    """
    H, W = truth.shape
    lines = []
    for label in range(num_objects + 1):
        error = (truth == label) & (prediction != label)
        if error.any():
            for path in benchmark_strokes(error, rng):
                # A curve may leave the hull of its points by a rounding error.
                lines.append({"path": np.maximum(path, 0) / (W, H), "object_id": label})
    if not lines:
        return np.full(truth.shape, NO_SCRIBBLE, np.int16)
    return rasterise({"scribbles": [lines]}, 0, H, W).astype(np.int16)


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
        for path in region_strokes(error, rng, opening=BENCHMARK_OPENING):
            draw_path(canvas, path, 1)
        drawn = canvas.astype(bool) & error if clip else canvas.astype(bool)
        scribbles[drawn & (truth != VOID)] = label
    return scribbles


def worst_frame(scores: Scores, used: Collection[int] = (), candidates: Collection[int] | None = None) -> int:
    """The frame with the lowest J&F (mean over objects), the first of equals, among ``candidates`` (None: all).

    ``used`` frames are passed over while there is another candidate.
    """
    j_and_f = (scores.j + scores.f).mean(axis=1) / 2
    frames = range(len(j_and_f)) if candidates is None else candidates
    return min([t for t in frames if t not in used] or frames, key=lambda t: (j_and_f[t], t))


def first_frame(masks: np.ndarray, object_ids: Collection[int]) -> int:
    """The frame to scribble first: where the object that is seen worst is still seen best.

    An object's visibility in a frame is its area over its largest area in the video; ``masks [T, H, W]``.
    """
    areas = np.array([[np.count_nonzero(mask == label) for label in object_ids] for mask in masks], np.float64)
    visibility = areas / np.maximum(areas.max(axis=0), 1.0)
    return int(visibility.min(axis=1).argmax())
