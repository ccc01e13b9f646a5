"""The light on objects without its noise: divided by their colours, denoised, and multiplied by the exact ones.

Light varies slowly over a surface where its texture does not, and a denoiser that sees it alone keeps no noise for
detail nor takes detail for noise; outlines and textures come from `render.albedo`, free of noise. (Demodulation of
albedo: Schied et al., "Spatiotemporal variance-guided filtering", HPG 2017, section 4.1.)
"""

from collections.abc import Sequence

import cv2
import numpy as np

from render.albedo import Shown
from render.denoiser import denoise
from render.regions import enclosing
from render.shards.codec import Region

BRIGHTEST = 100.0
"""Light that makes even a black surface four times white, where it is a dielectric."""


def relit(
    combined: np.ndarray,
    reflectance: np.ndarray,
    regions: Sequence[Region],
    shown: Sequence[Shown],
    behind: np.ndarray,
    quality: str,
) -> np.ndarray:
    """A frame as scene-linear light ``[H, W, 3]``: its surfaces before ``behind``, which shows where nothing else is.

    combined: what was rendered, noisy, and what surfaces reflect at the same samples, both premultiplied by their
    opacity, float32 ``[H, W, 4]``; shown: what the surfaces look like in each of ``regions``.
    """
    light = np.zeros_like(behind)
    for box in enclosing(regions):  # a denoiser needs to see what lies around
        here = _inside(box)
        noisy = combined[here][:, :, :3] / np.maximum(reflectance[here][:, :, :3], 1e-6)
        light[here] = denoise(filled(np.minimum(noisy, BRIGHTEST), combined[here][:, :, 3:]), quality)
    linear = behind.copy()
    for region, surfaces in zip(regions, shown, strict=True):
        here = _inside(region)
        known = surfaces.known[:, :, None]
        reflects = np.where(known, surfaces.reflectance, reflectance[here][:, :, :3])
        opacity = np.where(known, surfaces.coverage[:, :, None], combined[here][:, :, 3:])
        linear[here] = light[here] * reflects + (1 - opacity) * behind[here]
    return linear


def _inside(region: Region) -> tuple[slice, slice]:
    return np.s_[region.top : region.bottom, region.left : region.right]


def filled(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``values [H, W, C]`` where ``weights [H, W, 1]`` are not 0; elsewhere what is near, ever more blurred."""
    height, width = values.shape[:2]
    if min(height, width) < 2:
        return np.where(weights > 0, values, values.sum(axis=(0, 1)) / max(np.count_nonzero(weights), 1))
    size = (width + 1) // 2, (height + 1) // 2
    weighted = np.concatenate([values * weights, weights], axis=2)
    coarse = cv2.resize(weighted, size, interpolation=cv2.INTER_AREA)
    below = filled(coarse[:, :, :-1] / np.maximum(coarse[:, :, -1:], 1e-6), coarse[:, :, -1:])
    return np.where(weights > 0, values, cv2.resize(below, (width, height), interpolation=cv2.INTER_LINEAR))
