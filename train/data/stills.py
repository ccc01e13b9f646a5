"""Clips made of one image and its masks, moved from frame to frame (published static-image pretraining).

Each frame sees the still through its own affine map and, sometimes, a thin-plate spline. One map moves the image and
the mask, so they stay together.
"""

from typing import Annotated

import cv2
import numpy as np
from pydantic import Field
from scipy.interpolate import RBFInterpolator

from train.data.augment import FILL, SampleView, apply_colour
from vosforge.config import Amount, Range, Record, Share

GRID = 24
"""Cells a side on which a spline is computed; it is smooth in between."""


class StillMotion(Record):
    """How a still moves between the frames of a clip, beyond the rotation and shear of the clip's geometry.

    The defaults are the published ones, apart from the shift: the published crop of each frame is anywhere.
    """

    scale: Range[Annotated[float, Field(gt=0)]] = (0.9, 1.1)
    """Range of each frame's zoom."""
    shift: Amount = 0.1
    """Largest move of a frame along each axis, as a share of the crop."""
    spline: Share = 0.33
    """Probability that a frame is warped by a thin-plate spline."""
    points: Annotated[int, Field(ge=4)] = 12
    """Control points of a spline."""
    sigma: Amount = 0.02
    """Standard deviation of a control point's move, as a share of the crop."""


Maps = list[tuple[np.ndarray, np.ndarray]]
"""For each frame, where each of its pixels lies in the still: x and y, float32 ``[crop, crop]``."""


def moved_maps(views: list[SampleView], crop: int, motion: StillMotion, rng: np.random.Generator) -> Maps:
    """The maps of frames whose ``views`` `train.data.augment.sample_views` drew, moved further."""
    return [_map(view.to_frame @ _sample_move(crop, motion, rng), crop, motion, rng) for view in views]


def still_mask(mask: np.ndarray, where: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The index mask ``[H, W]`` seen through a map: the nearest labels, 0 outside."""
    return cv2.remap(mask, *where, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=(0,))


def still_frames(still: np.ndarray, maps: Maps, views: list[SampleView], cubic: bool) -> list[np.ndarray]:
    """``still [H, W, 3]`` seen through each map, with each view's colours: T frames ``[crop, crop, 3]`` uint8."""
    how = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    seen = [cv2.remap(still, *where, how, borderMode=cv2.BORDER_CONSTANT, borderValue=FILL) for where in maps]
    return [apply_colour(image, view.colours) for image, view in zip(seen, views, strict=True)]


def _sample_move(crop: int, motion: StillMotion, rng: np.random.Generator) -> np.ndarray:
    """A random zoom about the crop's centre and shift, as a 3x3 matrix on output coordinates."""
    scale = 1 / float(rng.uniform(*motion.scale))
    x, y = (crop * rng.uniform(-motion.shift, motion.shift, size=2)).tolist()
    middle = (1 - scale) * crop / 2
    return np.array([[scale, 0, middle + x], [0, scale, middle + y], [0, 0, 1]])


def _map(
    to_frame: np.ndarray, crop: int, motion: StillMotion, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:crop, 0:crop] + 0.5
    if rng.random() < motion.spline:
        moves = spline_moves(crop, motion, rng)
        x, y = x + moves[..., 0], y + moves[..., 1]
    (a, b, c), (d, e, f) = to_frame[:2]
    return (a * x + b * y + c - 0.5).astype(np.float32), (d * x + e * y + f - 0.5).astype(np.float32)


def spline_moves(crop: int, motion: StillMotion, rng: np.random.Generator) -> np.ndarray:
    """A random thin-plate spline: how far each pixel looks aside, ``[crop, crop, 2]`` (x, y) in pixels."""
    points = rng.uniform(0, 1, size=(motion.points, 2))
    moves = rng.normal(0, motion.sigma, size=points.shape)
    spline = RBFInterpolator(points, moves, kernel="thin_plate_spline")
    # The values at the centres of coarse cells, which cv2.resize interpolates at the centres of pixels.
    y, x = (np.mgrid[0:GRID, 0:GRID] + 0.5) / GRID
    coarse = spline(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(GRID, GRID, 2)
    return cv2.resize(coarse * crop, (crop, crop), interpolation=cv2.INTER_CUBIC)


DEFORMATION = StillMotion(points=16, sigma=0.015)
"""How far the outline of a given mask is moved."""


def deformed(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An index mask ``[S, S]`` warped a little, grown or shrunk: as wrong as one that a network made."""
    side = mask.shape[0]
    moves = spline_moves(side, DEFORMATION, rng)
    y, x = np.mgrid[0:side, 0:side]
    warped = still_mask(mask, ((x + moves[..., 0]).astype(np.float32), (y + moves[..., 1]).astype(np.float32)))
    size = 1 + 2 * int(rng.integers(0, side // 96 + 1))
    change = cv2.dilate if rng.random() < 0.5 else cv2.erode
    return change(warped, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
