"""Finds where a frame needs more samples: where visible noise remains."""

from collections.abc import Sequence

import cv2
import numpy as np

from render.light.regions import CELL, parts
from render.light.relight import BRIGHTEST
from vosforge.videos.codec import Region

SQUARE = 5
"""Side in pixels of the window in which light is assumed constant."""
PART_CELLS = 2.0
"""Cost of an additional rectangle, in cells sampled unnecessarily."""


def noisy_parts(
    combined: np.ndarray, reflectance: np.ndarray, regions: Sequence[Region], exposure: float, tolerated: float
) -> list[Region]:
    """The parts of ``regions`` whose noise exceeds ``tolerated``; they do not overlap.

    combined, reflectance: as in `render.light.relight.relit`; exposure: factor from light to displayed light;
    tolerated: RMS deviation in a cell from the surrounding light, in steps of 255. Shadow edges count as noise on
    purpose: the denoiser errs most there.
    """
    found = []
    for region in regions:
        here = np.s_[region.top : region.bottom, region.left : region.right]
        bright, colors = combined[here][:, :, :3].mean(axis=2), reflectance[here][:, :, :3].mean(axis=2)
        cells = _cells(_noise(bright, colors, combined[here][:, :, 3], exposure))
        for part in parts(cells > tolerated**2, PART_CELLS):
            top, left = region.top + CELL * part.top, region.left + CELL * part.left
            bottom, right = region.top + CELL * part.bottom, region.left + CELL * part.right
            found.append(Region(top, left, min(bottom, region.bottom), min(right, region.right)))
    return found


def _noise(bright: np.ndarray, colors: np.ndarray, opacity: np.ndarray, exposure: float) -> np.ndarray:
    """Squared deviations of displayed pixels from their value under the local mean light ``[h, w]``."""
    light = np.minimum(bright / np.maximum(colors, 1e-6), BRIGHTEST)
    near = cv2.blur(light * opacity, (SQUARE, SQUARE)) / np.maximum(cv2.blur(opacity, (SQUARE, SQUARE)), 1e-6)
    noisy, usual = (_seen(exposure * each * colors) for each in (light, near))
    squares: np.ndarray = np.square(noisy - usual)
    return squares


def _seen(linear: np.ndarray) -> np.ndarray:
    """Light in display steps of 255; a square root approximates sRGB's curve."""
    return 255 * np.sqrt(np.clip(linear, 0.0, 1.0))


def _cells(squares: np.ndarray) -> np.ndarray:
    """The mean of ``squares [h, w]`` in each cell, float32."""
    height, width = squares.shape
    rows, columns = -(-height // CELL), -(-width // CELL)
    whole = cv2.copyMakeBorder(squares, 0, rows * CELL - height, 0, columns * CELL - width, cv2.BORDER_REPLICATE)
    return cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
