"""What a video asks of a tracker, in numbers: formulas on labels, colours and poses. Nothing here reads or stores.

T frames, K objects, H×W pixels. Object k is the label k + 1 of masks. NaN stands for what cannot be said. Motion and
blur are in pixels of an image of 480 rows (`ROWS`), the height at which DAVIS and MOSE are evaluated, so that they do
not depend on the size of the render.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from vosforge.terms import VOID

ROWS = 480
RING = 15
"""Width in pixels of the ring around an object that its colours are compared with."""
CONTRAST_FRAMES = 16
"""Contrast is measured in at most so many frames of a video, spread evenly."""
NEAREST = 0.1
"""Closer to the camera than this, in metres, an object has no size in the image."""


class Absences(NamedTuple):
    """When one object is away."""

    first: int | None
    """The frame that first shows it; None if none does."""
    gaps: tuple[int, ...]
    """Frames of each absence that it returns from."""
    gone: int
    """Frames of its last absence, which it does not return from; 0 if the last frame shows it."""


def absences(seen: np.ndarray) -> list[Absences]:
    """The absences of each object: runs of frames without it after the first that shows it. seen: bool ``[T, K]``.

    A disappearance is such a run, a return a run with a frame that shows the object after it (MOSE v2, arXiv
    2508.05630, counts objects with at least one of either). An object that enters late is not absent before.
    """
    found = []
    for column in seen.T:
        frames = np.flatnonzero(column)
        if not len(frames):
            found.append(Absences(None, (), 0))
            continue
        between = np.diff(frames) - 1
        gaps = tuple(between[between > 0].tolist())
        found.append(Absences(int(frames[0]), gaps, len(column) - 1 - int(frames[-1])))
    return found


def occlusion(visibility: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Mean share of each object's amodal mask that is hidden, over the frames that show it: float64 ``[K]``.

    visibility: ``[T, K]``, visible pixels / amodal pixels, as `objects/visibility` of a shard; seen: bool ``[T, K]``.
    It is 1 minus the visible share, as in KINS and COCO-A; what lies outside of the image counts as neither.
    """
    return _mean(1.0 - visibility.astype(float), seen & np.isfinite(visibility))


def mean_share(area: np.ndarray, pixels: int) -> np.ndarray:
    """Geometric mean of each object's share of the image, over the frames that show it: float64 ``[K]``.

    area: pixels ``[T, K]``. The geometric mean, as areas are spread over decades.
    """
    return np.asarray(np.exp(_mean(np.log(np.maximum(area, 1) / pixels), area > 0)))


def centroids(mask: np.ndarray, K: int) -> np.ndarray:
    """The mean place (x, y) of each object's visible pixels: masks ``[T, H, W]`` uint8 to float64 ``[T, K, 2]``.

    Pixel centres are at half-integers; NaN where nothing is seen of an object.
    """
    W = mask.shape[2]
    found = np.full((len(mask), K, 2), np.nan)
    for t, frame in enumerate(mask):
        at = np.flatnonzero(frame)
        labels = frame.ravel()[at]
        count = np.bincount(labels, minlength=K + 1)[1 : K + 1]
        y, x = np.divmod(at.astype(np.int32), np.int32(W))
        for axis, values in enumerate((x, y)):
            total = np.bincount(labels, values, minlength=K + 1)[1 : K + 1]
            np.divide(total, count, out=found[t, :, axis], where=count > 0)
    return found + 0.5


def within_shots(steps: np.ndarray, cuts: Sequence[int]) -> np.ndarray:
    """What changes from each frame to the next, ``[T - 1, ...]``, with NaN where the next one is the first after a cut.

    cuts: these first frames. What jumps there does not move.
    """
    known = steps.astype(float)
    known[np.asarray(cuts, int) - 1] = np.nan
    return known


def motion(centres: np.ndarray, rows: int, cuts: Sequence[int] = ()) -> np.ndarray:
    """Each object's mean motion between neighbouring frames that both show it, in pixels at 480 rows: float64 ``[K]``.

    centres: ``[T, K, 2]`` in pixels of an image of ``rows`` rows; cuts: first frames of shots, as `within_shots`. Over
    20 is fast motion (LVOS, MOSE v2).
    """
    steps = within_shots(np.linalg.norm(np.diff(centres, axis=0), axis=2) * ROWS / rows, cuts)
    return _mean(steps, np.isfinite(steps))


def blur(motion: np.ndarray, shutter: float) -> np.ndarray:
    """Each object's mean blur length in pixels at 480 rows, ``[K]``: what it moves while the shutter is open.

    shutter: the share of the time between two frames that it is open. Of the object's centroid: what turns or waves
    about it is blurred differently.
    """
    return shutter * motion if shutter else np.zeros_like(motion)


def apparent_area(pose: np.ndarray, focal: np.ndarray | None = None) -> np.ndarray:
    """How large objects look by their poses, in any unit: poses to camera axes ``[T, K, 4, 4]`` to float64 ``[T, K]``.

    ``focal``: the camera's focal lengths ``[T]``, if they change. |det A|^(2/3) f² / z²: the area of an object of its
    mean scale at the distance of its centre. Turns, borders and occlusion leave it as it is. NaN for what is not in
    front of the camera, or whose pose is NaN.
    """
    z = pose[..., 2, 3]
    with np.errstate(invalid="ignore"):
        volume = np.abs(np.linalg.det(pose[..., :3, :3]))
    larger = 1.0 if focal is None else (focal[:, None] / focal[0]) ** 2
    return np.asarray(np.where(z > NEAREST, larger * volume ** (2 / 3) / np.maximum(z, NEAREST) ** 2, np.nan))


def whole_area(area: np.ndarray, box: np.ndarray, visibility: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """How large objects look by their masks: pixels, float64 ``[T, K]``, amodal where ``visibility`` is known.

    area: visible pixels ``[T, K]``; box: ``[T, K, 4]`` of what is visible; visibility: ``[T, K]`` or None; size:
    (H, W).
    NaN where an object is not seen, or touches the border, which may cut it.
    """
    height, width = size
    with np.errstate(invalid="ignore", divide="ignore"):
        inside = (box[..., :2] > 0).all(axis=2) & (box[..., 2] < width) & (box[..., 3] < height) & (area > 0)
        whole = area if visibility is None else area / visibility
    return np.where(inside, whole, np.nan)


def scale_change(area: np.ndarray) -> np.ndarray:
    """How many times larger or smaller each object becomes than it was when first seen, float64 ``[K]``.

    area: ``[T, K]``, NaN or 0 where it does not count. The ratio to the first that counts which is furthest from 1 (as
    a factor); NaN without two. Scale varies if it is outside [0.5, 2]: OTB's definition (Wu et al., CVPR 2013), of
    areas.
    """
    found = np.full(area.shape[1], np.nan)
    for k, column in enumerate(area.T):
        known = column[column > 0]
        if len(known) > 1:
            ratio = known / known[0]
            found[k] = ratio[np.abs(np.log(ratio)).argmax()]
    return found


def contrast_times(num_frames: int) -> list[int]:
    """The frames in which contrast is measured, the first and the last among them."""
    return np.unique(np.linspace(0, num_frames - 1, CONTRAST_FRAMES).round().astype(int)).tolist()


def contrast(frame: np.ndarray, mask: np.ndarray, K: int) -> np.ndarray:
    """How much each object's mean colour differs from that of the ring around it: float64 ``[K]``, 0 to 255.

    frame: uint8 ``[H, W, 3]`` RGB; mask: uint8 ``[H, W]``. The ring has the pixels up to 15 pixels (Euclidean) from the
    object, whatever they show but void. Root mean square over red, green and blue; NaN where object or ring is unseen.
    """
    found = np.full(K, np.nan)
    for k in range(K):
        inside = mask == k + 1
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not len(rows):
            continue
        around = tuple(slice(max(int(at[0]) - RING, 0), int(at[-1]) + RING + 1) for at in (rows, columns))
        part = inside[around].astype(np.uint8)
        near = cv2.distanceTransform(1 - part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) < RING + 0.01  # rounding
        ring = (near & (part == 0) & (mask[around] != VOID)).astype(np.uint8)
        if ring.any():
            own, other = (np.array(cv2.mean(frame[around], where)[:3]) for where in (part, ring))
            found[k] = np.sqrt(np.mean((own - other) ** 2))
    return found


def misfit(points: np.ndarray) -> float:
    """How far a set of points ``[T, N, 3]`` is from its first shape, turned, moved and scaled evenly to fit best.

    The root mean square distance of each frame's points from the first frame's, moved by the best similarity (Umeyama,
    PAMI 1991), relative to their root mean square distance from their centre; its mean over the frames. 0 for a rigid
    body, at most 1.
    """
    shape = points - points.mean(axis=1, keepdims=True)
    first = shape[0]
    power = float((first**2).sum())
    if power == 0:
        return 0.0
    turn, strength, back = np.linalg.svd(np.einsum("tni,nj->tij", shape, first))
    strength[:, 2] *= np.sign(np.linalg.det(turn @ back))
    fitted = strength.sum(axis=1) ** 2 / power  # what the scaled and turned first shape explains of each
    own = (shape**2).sum(axis=(1, 2))
    left = np.maximum(own - fitted, 0) / np.maximum(own, np.finfo(float).tiny)
    return float(np.sqrt(left).mean())


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Means of columns of ``values [T, K]`` where ``counted``: float64 ``[K]``, NaN of nothing."""
    count = counted.sum(axis=0)
    total = np.where(counted, values, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
