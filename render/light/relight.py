"""Albedo demodulation: divide a frame by its colours, denoise the light, multiply by exact colours.

Light varies slowly over a surface; texture does not. A denoiser that sees only light neither keeps noise as detail
nor removes detail as noise. Outlines and textures come noise-free from `render.light.albedo`. (Schied et al.,
"Spatiotemporal variance-guided filtering", HPG 2017, section 4.1.)
"""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.ndimage import find_objects

from assets.prepared import SPECULAR
from render.light.albedo import Shown
from render.light.denoiser import denoise
from render.light.regions import neighbourhoods
from vosforge.videos.codec import Region

BRIGHTEST = 100.0
"""Upper bound of light: a black dielectric surface then appears four times as bright as white."""
MIN_GLOSS, MAX_GLOSS = 0.01, 0.06
"""Bounds of an object's estimated specular reflectance; SPECULAR is the initial assumption."""
SLOPE_DEVIATION = 0.1
"""Standard deviation of the prior on the slope of brightness over colour, around the assumed one."""
MARGIN = 16
"""Minimum margin in pixels around denoised regions, as context for the denoiser."""
WINDOW = 9
"""Side in pixels of the window in which light is assumed constant."""


def relit(
    combined: np.ndarray,
    reflectance: np.ndarray,
    seen: np.ndarray,
    regions: Sequence[Region],
    shown: Sequence[Shown],
    behind: np.ndarray,
    quality: str,
) -> np.ndarray:
    """The final frame, scene-linear ``[H, W, 3]``: denoised surfaces composited over ``behind``.

    combined, reflectance: the noisy render and the surfaces' reflectance at the same samples, both premultiplied by
    opacity, float32 ``[H, W, 4]``; seen: object numbers, uint16 ``[H, W]``; shown: exact surfaces of each of
    ``regions``.
    """
    light, (height, width) = np.zeros_like(behind), behind.shape[:2]
    gloss = more_gloss(combined, reflectance, seen)
    reflected = _glossier(reflectance[:, :, :3], gloss * combined[:, :, 3:])
    for box, held in neighbourhoods(regions, MARGIN, (height, width)):
        here = _inside(box)
        noisy = combined[here][:, :, :3] / np.maximum(reflected[here], 1e-6)
        clean = denoise(filled(np.minimum(noisy, BRIGHTEST), combined[here][:, :, 3:]), quality)
        for region in held:
            light[_inside(region)] = clean[_inside(_within(region, box))]
    linear = behind.copy()
    for region, surfaces in zip(regions, shown, strict=True):
        here = _inside(region)
        known, coverage = surfaces.known[:, :, None], surfaces.coverage[:, :, None]
        exact = _glossier(surfaces.reflectance, gloss[here] * coverage)
        opacity = np.where(known, coverage, combined[here][:, :, 3:])
        linear[here] = light[here] * np.where(known, exact, reflected[here]) + (1 - opacity) * behind[here]
    return linear


def _inside(region: Region) -> tuple[slice, slice]:
    return np.s_[region.top : region.bottom, region.left : region.right]


def _within(region: Region, box: Region) -> Region:
    """A region in the coordinates of a box that contains it."""
    return Region(region.top - box.top, region.left - box.left, region.bottom - box.top, region.right - box.left)


def _glossier(reflectance: np.ndarray, gloss: np.ndarray) -> np.ndarray:
    """Reflectance plus a specular correction, bounded below: at outlines the ground has no specular to remove."""
    return np.maximum(reflectance + gloss, reflectance * (MIN_GLOSS / SPECULAR))


def more_gloss(combined: np.ndarray, reflectance: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Correction to the assumed specular reflectance at each pixel: float32 ``[H, W, 1]``.

    With the right specular reflectance, dividing by reflectance removes all texture, so the light is easy to denoise.
    Locally the light L is nearly constant and brightness is L (colour + specular), so the slope of brightness over
    colour gives the specular part. It depends on the lighting, so it is estimated per object and frame. Arguments as
    in `relit`.
    """
    found = np.zeros(int(seen.max(initial=0)) + 1, np.float32)
    opaque = combined[:, :, 3] > 0.999
    bright, colors = combined[:, :, :3].mean(axis=2), reflectance[:, :, :3].mean(axis=2)
    around = np.ones((3, 3), np.uint8)
    for number, here in enumerate(find_objects(seen), start=1):
        if here is not None:
            whole = (opaque[here] & (seen[here] == number)).astype(np.float32)
            inside = cv2.erode(whole, around, borderType=cv2.BORDER_CONSTANT, borderValue=[0])
            found[number] = _more_gloss(bright[here] * inside, colors[here] * inside, inside)
    beside = np.where(seen > 0, seen, cv2.dilate(seen, around))  # outlines extend one pixel further
    return found[beside][:, :, None]


def _more_gloss(bright: np.ndarray, colors: np.ndarray, inside: np.ndarray) -> float:
    """The correction for one object; arguments are float32 ``[h, w]``, 0 outside its interior ``inside``."""
    near_bright, near_colors, near = (cv2.blur(each, (WINDOW, WINDOW)) for each in (bright, colors, inside))
    lit = (inside > 0) & (near_bright > 1e-4 * near_colors)
    if not lit.any():
        return 0.0
    usual = near_colors[lit] / near[lit]
    steps = colors[lit] - usual
    changes = bright[lit] * near_colors[lit] / near_bright[lit] - usual
    noise = np.mean(np.square(changes - steps)) / (len(steps) * SLOPE_DEVIATION**2)  # weight of the prior, in variances
    slope = (np.mean(steps * changes) + noise) / (np.mean(steps * steps) + max(noise, 1e-12))
    more = colors[lit].mean() * (1 / max(float(slope), 1e-3) - 1)
    return float(np.clip(more, MIN_GLOSS - SPECULAR, MAX_GLOSS - SPECULAR))


def filled(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``values [H, W, C]`` where ``weights [H, W, 1]`` > 0; elsewhere filled from blurred neighbours."""
    height, width = values.shape[:2]
    if min(height, width) < 2:
        return np.where(weights > 0, values, values.sum(axis=(0, 1)) / max(np.count_nonzero(weights), 1))
    size = (width + 1) // 2, (height + 1) // 2
    weighted = np.concatenate([values * weights, weights], axis=2)
    coarse = cv2.resize(weighted, size, interpolation=cv2.INTER_AREA)
    below = filled(coarse[:, :, :-1] / np.maximum(coarse[:, :, -1:], 1e-6), coarse[:, :, -1:])
    return np.where(weights > 0, values, cv2.resize(below, (width, height), interpolation=cv2.INTER_LINEAR))
