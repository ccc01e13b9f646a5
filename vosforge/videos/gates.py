"""Checks of a rendered video before it is sealed, on its pixels and labels."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from vosforge.gates import GateLimits

DEFAULT_LIMITS = GateLimits()
DARKEST = DEFAULT_LIMITS.darkest
"""Default minimum of a frame's mean brightness, 0 to 255."""


class Refusal(NamedTuple):
    """Why a video must be redrawn."""

    kind: Literal["black", "burnt", "flat", "hidden", "swallowed"]
    """``hidden``: too little is seen of the objects; ``swallowed``: the camera is inside one."""
    reason: str


def color_refusal(
    brightness: Sequence[float], contrast: Sequence[float], limits: GateLimits = DEFAULT_LIMITS
) -> Refusal | None:
    """Why a video must be redrawn for its colours, or None if they pass or are absent.

    brightness, contrast: mean and standard deviation of each frame, ``[T]``, 0 to 255.
    """
    for t, (mean, deviation) in enumerate(zip(brightness, contrast, strict=True)):
        if mean < limits.darkest:
            return Refusal("black", f"frame {t} is black (mean brightness {mean:.1f} of 255)")
        if mean > limits.brightest:
            return Refusal("burnt", f"frame {t} is burnt (mean brightness {mean:.1f} of 255)")
        if deviation < limits.flattest:
            return Refusal("flat", f"frame {t} is flat (brightness deviates by {deviation:.1f} of 255)")
    return None


def label_refusal(areas: np.ndarray, pixels: int, limits: GateLimits = DEFAULT_LIMITS) -> Refusal | None:
    """Why a video must be redrawn for its labels, or None if they pass.

    areas: pixels of each object, ``[T, K]``; pixels: of a frame.
    """
    coverage, largest = areas.sum(axis=1) / pixels, areas.max(axis=1) / pixels
    best = areas.max(axis=0) / pixels
    for t, share in enumerate(coverage):
        if share < limits.min_coverage:
            return Refusal("hidden", f"frame {t} has almost no mask (objects cover {share:.2%})")
    if limits.first_frame and not coverage[0]:
        return Refusal("hidden", "no object is seen in frame 0")
    if (empty := float((coverage == 0).mean())) > limits.max_empty:
        return Refusal("hidden", f"no object is seen in {empty:.0%} of the frames")
    t = int(largest.argmax())
    if largest[t] > limits.max_coverage:
        return Refusal("swallowed", f"an object swallows the camera in frame {t} (it covers {largest[t]:.0%})")
    for k, share in enumerate(best, start=1):
        if share < limits.min_area:
            return Refusal("hidden", f"object {k} is never seen (at best {share:.3%} of a frame)")
    return None
