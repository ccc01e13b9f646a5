"""Checks of a rendered video before it is sealed, on its pixels and labels."""

from collections.abc import Sequence

import numpy as np

DARKEST, BRIGHTEST = 12.0, 245.0
"""Range of mean brightness, 0 to 255; frames outside it are black or burnt."""
FLATTEST = 3.0
"""Minimum standard deviation of brightness in a frame."""
MIN_COVERAGE = 0.004
"""Minimum share of a frame covered by labelled objects."""
MAX_COVERAGE = 0.85
"""Maximum share of a frame covered by one object: above it, the camera is inside."""
MIN_AREA = 0.0005
"""Minimum share of a frame covered by each object in its best frame."""


def color_refusal(brightness: Sequence[float], contrast: Sequence[float]) -> str | None:
    """Why a video must be redrawn for its colours, or None if they pass or are absent.

    brightness, contrast: mean and standard deviation of each frame, ``[T]``, 0 to 255.
    """
    for t, (mean, deviation) in enumerate(zip(brightness, contrast, strict=True)):
        if mean < DARKEST:
            return f"frame {t} is black (mean brightness {mean:.1f} of 255)"
        if mean > BRIGHTEST:
            return f"frame {t} is burnt (mean brightness {mean:.1f} of 255)"
        if deviation < FLATTEST:
            return f"frame {t} is flat (brightness deviates by {deviation:.1f} of 255)"
    return None


def label_refusal(areas: np.ndarray, pixels: int) -> str | None:
    """Why a video must be redrawn for its labels, or None if they pass.

    areas: pixels of each object, ``[T, K]``; pixels: of a frame.
    """
    coverage, largest = areas.sum(axis=1) / pixels, areas.max(axis=1) / pixels
    best = areas.max(axis=0) / pixels
    for t, share in enumerate(coverage):
        if share < MIN_COVERAGE:
            return f"frame {t} has almost no mask (objects cover {share:.2%})"
    t = int(largest.argmax())
    if largest[t] > MAX_COVERAGE:
        return f"an object swallows the camera in frame {t} (it covers {largest[t]:.0%})"
    for k, share in enumerate(best, start=1):
        if share < MIN_AREA:
            return f"object {k} is never seen (at best {share:.3%} of a frame)"
    return None
