"""Rasterises strokes: DAVIS scribble dictionaries and stroke maps."""

import json
from collections.abc import Mapping
from itertools import pairwise
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from skimage import draw

from vosforge import InputError
from vosforge.terms import MAX_OBJECTS

NO_STROKE = -1


def read_scribbles(path: Path, num_frames: int, height: int, width: int) -> dict[int, np.ndarray]:
    """Read a DAVIS scribble file: stroke maps ``[H,W]`` by frame, in order.

    Raises InputError for an invalid file, or a stroke that is invalid or beyond ``num_frames``.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read the scribbles {path}: {error}") from None
    frames = content.get("scribbles") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not any(frames):
        raise InputError(f"{path} holds no DAVIS scribbles: expected {{'scribbles': [[stroke, …], …]}}")
    if beyond := [t for t, lines in enumerate(frames) if lines and t >= num_frames]:
        raise InputError(
            f"{path} has strokes on frame {beyond[0]}, the video only the frames 0..{num_frames - 1}: "
            "give the scribbles of this video"
        )
    drawn = {}
    for t, lines in enumerate(frames):
        if lines:
            try:
                drawn[t] = rasterise(content, t, height, width)
            except InputError as error:
                raise InputError(f"{path}: {error}") from None
            if drawn[t].max() > MAX_OBJECTS:
                raise InputError(
                    f"{path} has object {drawn[t].max()} on frame {t}: masks hold the objects 1..{MAX_OBJECTS}"
                )
    return drawn


def rasterise(scribbles: Mapping[str, Any], frame_index: int, height: int, width: int) -> np.ndarray:
    """Rasterise a DAVIS scribble dictionary's strokes on one frame to a stroke map int64 [H,W].

    -1 = no stroke, 0 = background, j = object j; later strokes cover earlier ones. ``scribbles`` is
    ``{"scribbles": [per frame: [{"path": [[x, y], ...], "object_id": j}, ...]]}`` with coordinates in 0..1.
    Raises InputError if the dictionary is malformed, has no stroke on that frame, or one outside the image.
    """
    try:
        frames = scribbles["scribbles"]
        lines = [(np.asarray(line["path"], np.float64), line["object_id"]) for line in frames[frame_index]]
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"the scribbles do not follow the DAVIS format at frame {frame_index}: {type(error).__name__} {error}"
        ) from None
    if not lines:
        drawn = [index for index, strokes in enumerate(frames) if strokes]
        raise InputError(f"the scribbles have no stroke on frame {frame_index}; they have some on {drawn or 'none'}")
    strokes = np.full((height, width), NO_STROKE, np.int64)
    for path, object_id in lines:
        if path.ndim != 2 or path.shape[1] != 2 or not len(path) or not np.isfinite(path).all():
            raise InputError(f"a scribble path on frame {frame_index} is not a list of [x, y] with x and y in 0..1")
        if not isinstance(object_id, Integral) or isinstance(object_id, bool) or not 0 <= int(object_id) < 2**63:
            raise InputError(
                f"object_id = {object_id!r} on frame {frame_index}: objects are whole numbers, 0 is the background"
            )
        outside = np.argwhere((path < 0) | (path > 1))
        if len(outside):
            point, axis = outside[0]
            raise InputError(
                f"{'xy'[axis]} = {path[point, axis]:g} on frame {frame_index}: DAVIS scribbles are in 0..1, "
                "divide by width and height"
            )
        points = (path * (width - 1, height - 1)).astype(np.int64)
        x, y = _polyline(points).T
        strokes[y, x] = object_id
    return strokes


def disk(x: int, y: int, radius: int, object_id: int, height: int, width: int) -> np.ndarray:
    """A stroke map int64 [H,W] with a filled circle. Raises InputError for a centre outside the frame."""
    if not (0 <= x < width and 0 <= y < height):
        raise InputError(f"pixel ({x}, {y}) lies outside the {width}×{height} frame")
    rows, columns = np.ogrid[:height, :width]
    near = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return np.where(near, np.int64(object_id), NO_STROKE)


def as_stroke_map(strokes: np.ndarray, num_objects: int, height: int, width: int) -> np.ndarray:
    """Convert a stroke map to int64 [H,W] of -1..num_objects; in unsigned maps 255 means no stroke.

    Raises InputError for another shape or type, or an object that does not exist.
    """
    if strokes.shape != (height, width) or strokes.dtype.kind not in "iu":
        raise InputError(
            f"the stroke map must be whole numbers [{height},{width}], not {strokes.dtype} {list(strokes.shape)}"
        )
    result = strokes.astype(np.int64)
    if strokes.dtype.kind == "u":
        result[strokes == 255] = NO_STROKE
    if result.min() < NO_STROKE or result.max() > num_objects:
        raise InputError(f"strokes are -1 (none), 0 (background) or 1..{num_objects}; found {_outlier(result)}")
    return result


def object_strokes(
    scribbles: np.ndarray | Mapping[str, Any], frame_index: int, num_objects: int, height: int, width: int
) -> np.ndarray:
    """Positive and negative strokes of each object: bool [K,2,H,W].

    ``scribbles``: such an array of any numeric type; a stroke map; or a DAVIS dictionary with strokes on that frame. In
    the latter two, strokes of the background and of other objects are negative strokes. Raises InputError as
    `rasterise` and `as_stroke_map` do.
    """
    if isinstance(scribbles, Mapping):
        scribbles = rasterise(scribbles, frame_index, height, width)
    scribbles = np.asarray(scribbles)
    if scribbles.ndim == 4:
        if scribbles.shape != (num_objects, 2, height, width) or scribbles.dtype.kind not in "biuf":
            raise InputError(
                f"strokes for each object must be numbers [{num_objects},2,{height},{width}], "
                f"not {scribbles.dtype} {list(scribbles.shape)}"
            )
        return scribbles > 0
    strokes = as_stroke_map(scribbles, num_objects, height, width)
    positive = strokes == np.arange(1, num_objects + 1).reshape(-1, 1, 1)
    return np.stack([positive, (strokes != NO_STROKE) & ~positive], axis=1)


def _outlier(strokes: np.ndarray) -> int:
    return int(strokes.min() if strokes.min() < NO_STROKE else strokes.max())


def _polyline(points: np.ndarray) -> np.ndarray:
    """The pixels [N,2] of the polyline ``points`` int64 [P,2], by Bresenham's algorithm."""
    if len(points) == 1:
        return points
    return np.concatenate([draw.line(*start, *end) for start, end in pairwise(points.tolist())], axis=1).T
