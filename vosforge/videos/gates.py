"""What a rendered video must show before it is sealed, measured from its own pixels and labels."""

from collections.abc import Sequence

import numpy as np

DARKEST, BRIGHTEST = 12.0, 245.0
"""Mean brightness, 0 to 255, outside of which a frame counts as black or burnt."""
FLATTEST = 3.0
"""Least standard deviation of brightness inside a frame: below it there is nothing to see."""
LEAST_COVERAGE = 0.004
"""Least share of a frame that labelled objects cover."""
MOST_COVERAGE = 0.85
"""Most of a frame that one object may cover: beyond it, it has swallowed the camera."""
LEAST_AREA = 0.0005
"""Least share of a frame that each object covers in the frame that shows it best."""


def color_refusal(brightness: Sequence[float], contrast: Sequence[float]) -> str | None:
    """Why a video must be drawn again for its colours, or None when they are good, or when there are none.

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
    """Why a video must be drawn again for its labels, or None when they are good.

    areas: pixels of each object, ``[T, K]``; pixels: of a frame.
    """
    coverage, largest = areas.sum(axis=1) / pixels, areas.max(axis=1) / pixels
    best = areas.max(axis=0) / pixels
    for t, share in enumerate(coverage):
        if share < LEAST_COVERAGE:
            return f"frame {t} has almost no mask (objects cover {share:.2%})"
    t = int(largest.argmax())
    if largest[t] > MOST_COVERAGE:
        return f"an object swallows the camera in frame {t} (it covers {largest[t]:.0%})"
    for k, share in enumerate(best, start=1):
        if share < LEAST_AREA:
            return f"object {k} is never seen (at best {share:.3%} of a frame)"
    return None
