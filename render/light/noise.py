"""Finds where a frame needs more samples: where visible noise remains."""

from collections.abc import Sequence

import cv2
import numpy as np

from render.light.regions import CELL, parts
from render.light.relight import BRIGHTEST
from vosforge.videos.codec import Region

SQUARE = 5
"""Pixels a side of the square in which light is taken to be the same."""
PART_CELLS = 2.0
"""Cost of one more rectangle, in needlessly sampled cells."""


def noisy_parts(
    combined: np.ndarray, reflectance: np.ndarray, regions: Sequence[Region], exposure: float, tolerated: float
) -> list[Region]:
    """The parts of ``regions`` where pixels differ from the light around them by more than is ``tolerated``.

    combined, reflectance: as in `render.light.relight.relit`; exposure: what the light is multiplied by before it is
    seen; tolerated: the root of the mean square in a cell, in steps of 255. Edges of light count as noise, and rightly:
    there the denoiser errs most. No two of the parts overlap.
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
    """Squared deviations of displayed pixels from their value under the average light around them ``[h, w]``."""
    light = np.minimum(bright / np.maximum(colors, 1e-6), BRIGHTEST)
    near = cv2.blur(light * opacity, (SQUARE, SQUARE)) / np.maximum(cv2.blur(opacity, (SQUARE, SQUARE)), 1e-6)
    noisy, usual = (_seen(exposure * each * colors) for each in (light, near))
    squares: np.ndarray = np.square(noisy - usual)
    return squares


def _seen(linear: np.ndarray) -> np.ndarray:
    """Light in steps of 255, approximately: a square root replaces sRGB's curve."""
    return 255 * np.sqrt(np.clip(linear, 0.0, 1.0))


def _cells(squares: np.ndarray) -> np.ndarray:
    """The means of ``squares [h, w]`` in each cell, float32."""
    height, width = squares.shape
    rows, columns = -(-height // CELL), -(-width // CELL)
    whole = cv2.copyMakeBorder(squares, 0, rows * CELL - height, 0, columns * CELL - width, cv2.BORDER_REPLICATE)
    return cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
