"""The light on objects without its noise: divided by their colours, denoised, and multiplied by the exact ones.

Light varies slowly over a surface where its texture does not, and a denoiser that sees it alone keeps no noise for
detail nor takes detail for noise; outlines and textures come from `render.albedo`, free of noise. (Demodulation of
albedo: Schied et al., "Spatiotemporal variance-guided filtering", HPG 2017, section 4.1.)
"""

from collections.abc import Sequence

import cv2
import numpy as np

from render.albedo import Albedo
from render.denoiser import denoise
from render.shards.codec import Region

SPECULAR = 0.04
"""What a surface reflects whatever its colour is: a dielectric's share, head-on."""
BRIGHTEST = 4 / SPECULAR
"""Light that makes even a black surface four times white."""


def relit(
    passes: dict[str, np.ndarray],
    base_color: str,
    albedo: Albedo,
    t: int,
    regions: Sequence[Region],
    behind: np.ndarray,
    quality: str,
) -> np.ndarray:
    """Frame ``t`` as scene-linear light ``[H, W, 3]``: its objects before ``behind``, which shows where nothing else is.

    passes: "Combined", noisy, and ``base_color``, the objects' colours at the same samples, both premultiplied by their
    opacity, float32 ``[H, W, 4]``.
    """
    linear = behind.copy()
    for region in regions:
        part = np.s_[region.top : region.bottom, region.left : region.right]
        noisy, opacity = passes["Combined"][part][:, :, :3], passes["Combined"][part][:, :, 3:]
        reflects = passes[base_color][part][:, :, :3] + SPECULAR * opacity
        light = np.minimum(noisy / np.maximum(reflects, 1e-6), BRIGHTEST)
        light = denoise(filled(light, opacity), quality)
        shown = albedo.shown(t, region)
        known = shown.known[:, :, None]
        coverage = np.where(known, shown.coverage[:, :, None], opacity)
        exact = shown.color + SPECULAR * shown.coverage[:, :, None]
        linear[part] = light * np.where(known, exact, reflects) + (1 - coverage) * behind[part]
    return linear


def filled(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``values [H, W, C]`` where ``weights [H, W, 1]`` are not 0, and elsewhere what lies nearest, ever more blurred."""
    height, width = values.shape[:2]
    if min(height, width) < 2:
        return np.where(weights > 0, values, values.sum(axis=(0, 1)) / max(np.count_nonzero(weights), 1))
    size = (width + 1) // 2, (height + 1) // 2
    weighted = np.concatenate([values * weights, weights], axis=2)
    coarse = cv2.resize(weighted, size, interpolation=cv2.INTER_AREA)
    below = filled(coarse[:, :, :-1] / np.maximum(coarse[:, :, -1:], 1e-6), coarse[:, :, -1:])
    return np.where(weights > 0, values, cv2.resize(below, (width, height), interpolation=cv2.INTER_LINEAR))
