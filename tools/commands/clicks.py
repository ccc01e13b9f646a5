"""Reads clicks typed on the command line: each marks an object, or the background, at one pixel of one frame."""

import re
from collections.abc import Sequence

import numpy as np

from mivos_models.runner.scribbles import NO_STROKE, disk
from vosforge.errors import InputError
from vosforge.terms import MAX_OBJECTS

RADIUS = 5
"""Pixels. S2M is trained on strokes, so a click becomes a disc, as in `InteractiveRunner.click`."""


def read_clicks(clicks: Sequence[str], num_frames: int, height: int, width: int) -> dict[int, np.ndarray]:
    """Draw clicks, ``FRAME,X,Y[,OBJECT]``, as discs: stroke maps ``[H,W]`` by frame, in the order of the frames.

    X is the column, Y the row; object 0 is the background, and without a number it is object 1. A later click covers
    an earlier one. InputError for one that cannot be read or lies outside the video, or if all mark the background.
    """
    drawn: dict[int, np.ndarray] = {}
    for click in clicks:
        if not re.fullmatch(r"\s*-?\d{1,9}\s*(,\s*-?\d{1,9}\s*){2,3}", click, re.ASCII):
            raise InputError(f"cannot read the click '{click}': write FRAME,X,Y or FRAME,X,Y,OBJECT, as in 0,320,180")
        frame, x, y, label = [*map(int, click.split(",")), 1][:4]
        if not 0 <= frame < num_frames:
            raise InputError(
                f"the click '{click}' is on frame {frame}: click on one of the video's frames, 0..{num_frames - 1}"
            )
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(
                f"the click '{click}' is outside the {width}×{height} frame: X is 0..{width - 1}, Y is 0..{height - 1}"
            )
        if not 0 <= label <= MAX_OBJECTS:
            raise InputError(f"the click '{click}' marks object {label}: masks hold the objects 1..{MAX_OBJECTS}")
        strokes = disk(x, y, RADIUS, label, height, width)
        drawn[frame] = np.where(strokes == NO_STROKE, drawn.get(frame, strokes), strokes)
    if not any(strokes.max() > 0 for strokes in drawn.values()):
        raise InputError("the clicks mark only background: click on an object too, as FRAME,X,Y or FRAME,X,Y,OBJECT")
    return dict(sorted(drawn.items()))
