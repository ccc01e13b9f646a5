"""The light on objects without its noise: divided by their colours, denoised, and multiplied by the exact ones.

Light varies slowly over a surface where its texture does not, and a denoiser that sees it alone keeps no noise for
detail nor takes detail for noise; outlines and textures come from `render.light.albedo`, free of noise. (Demodulation
of albedo: Schied et al., "Spatiotemporal variance-guided filtering", HPG 2017, section 4.1.)
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
"""Light that makes even a black surface four times white, where it is a dielectric."""
LEAST_GLOSS, MOST_GLOSS = 0.01, 0.06
"""What an object may turn out to reflect whatever its colour; SPECULAR is what is assumed."""
SLOPE_DEVIATION = 0.1
"""How far the slope of what is seen over colours is from that of the assumption: the deviation of a prior."""
AROUND = 16
"""So many pixels around what it denoises does the denoiser see at least."""
WINDOW = 9
"""Within so many pixels light hardly changes, but by what it falls on."""


def relit(
    combined: np.ndarray,
    reflectance: np.ndarray,
    seen: np.ndarray,
    regions: Sequence[Region],
    shown: Sequence[Shown],
    behind: np.ndarray,
    quality: str,
) -> np.ndarray:
    """A frame as scene-linear light ``[H, W, 3]``: its surfaces before ``behind``, which shows where nothing else is.

    combined: what was rendered, noisy, and what surfaces reflect at the same samples, both premultiplied by their
    opacity, float32 ``[H, W, 4]``; seen: the objects' numbers, uint16 ``[H, W]``; shown: what the surfaces look like in
    each of ``regions``.
    """
    light, (height, width) = np.zeros_like(behind), behind.shape[:2]
    gloss = more_gloss(combined, reflectance, seen)
    reflected = _glossier(reflectance[:, :, :3], gloss * combined[:, :, 3:])
    for box, held in neighbourhoods(regions, AROUND, (height, width)):
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
    """Where a region lies in a box that holds it."""
    return Region(region.top - box.top, region.left - box.left, region.bottom - box.top, region.right - box.left)


def _glossier(reflectance: np.ndarray, gloss: np.ndarray) -> np.ndarray:
    """Reflectance with this much more gloss; at outlines the ground has none to remove."""
    return np.maximum(reflectance + gloss, reflectance * (LEAST_GLOSS / SPECULAR))


def more_gloss(combined: np.ndarray, reflectance: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Correction to the assumed specular reflectance at each pixel: float32 ``[H, W, 1]``.

    Divided by its colour and the right gloss, what is seen of an object no longer shows its texture, and is easily
    denoised. Within a few pixels the light L is nearly the same and L (colour + gloss) is seen, so that the slope over
    colours tells how much is gloss. It depends on where light comes from, and each frame has its own. Arguments are
    those of `relit`.
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
    beside = np.where(seen > 0, seen, cv2.dilate(seen, around))  # outlines reach a pixel further
    return found[beside][:, :, None]


def _more_gloss(bright: np.ndarray, colors: np.ndarray, inside: np.ndarray) -> float:
    """The same of one object, ``inside`` which there is nothing else; all are float32 ``[h, w]``, 0 outside."""
    near_bright, near_colors, near = (cv2.blur(each, (WINDOW, WINDOW)) for each in (bright, colors, inside))
    lit = (inside > 0) & (near_bright > 1e-4 * near_colors)
    if not lit.any():
        return 0.0
    usual = near_colors[lit] / near[lit]
    steps = colors[lit] - usual
    changes = bright[lit] * near_colors[lit] / near_bright[lit] - usual
    noise = np.mean(np.square(changes - steps)) / (
        len(steps) * SLOPE_DEVIATION**2
    )  # so many variances is the prior worth
    slope = (np.mean(steps * changes) + noise) / (np.mean(steps * steps) + max(noise, 1e-12))
    more = colors[lit].mean() * (1 / max(float(slope), 1e-3) - 1)
    return float(np.clip(more, LEAST_GLOSS - SPECULAR, MOST_GLOSS - SPECULAR))


def filled(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``values [H, W, C]`` where ``weights [H, W, 1]`` are not 0; elsewhere filled from blurred neighbours."""
    height, width = values.shape[:2]
    if min(height, width) < 2:
        return np.where(weights > 0, values, values.sum(axis=(0, 1)) / max(np.count_nonzero(weights), 1))
    size = (width + 1) // 2, (height + 1) // 2
    weighted = np.concatenate([values * weights, weights], axis=2)
    coarse = cv2.resize(weighted, size, interpolation=cv2.INTER_AREA)
    below = filled(coarse[:, :, :-1] / np.maximum(coarse[:, :, -1:], 1e-6), coarse[:, :, -1:])
    return np.where(weights > 0, values, cv2.resize(below, (width, height), interpolation=cv2.INTER_LINEAR))
