"""The optional passes of a video in a shard: their data sets' names, types and shapes.

T frames, K objects, H×W pixels, B = ⌈W / 8⌉ bytes a row of bits, N points.
"""

from typing import Any, NamedTuple

import h5py
import numpy as np

from vosforge.videos.format import VideoRow

PASSES: dict[str, tuple[str, ...]] = {
    "depth": ("depth",),
    "flow": ("flow_fwd", "flow_bwd"),
    "normal": ("normal",),
    "amodal": ("amodal", "objects/visibility"),
    "tracks": ("tracks/points", "tracks/occluded", "tracks/object"),
}
"""The data sets of each pass."""

Shape = tuple[str | int, ...]
FRAMES: dict[str, tuple[Any, Shape]] = {
    "depth": (np.float16, ("T", "H", "W")),
    "flow_fwd": (np.float16, ("T", "H", "W", 2)),
    "flow_bwd": (np.float16, ("T", "H", "W", 2)),
    "normal": (np.int8, ("T", "H", "W", 3)),
    "amodal": (np.uint8, ("T", "K", "H", "B")),
}
"""Data sets that are stored and read a frame at a time, with their types and shapes."""
PASS_TABLES: dict[str, tuple[Any, Shape]] = {
    "objects/visibility": (np.float32, ("T", "K")),
    "tracks/points": (np.float32, ("T", "N", 2)),
    "tracks/occluded": (np.bool_, ("T", "N")),
    "tracks/object": (np.uint8, ("N",)),
}
"""Data sets that are stored and read whole."""


class Tracks(NamedTuple):
    """Points on the objects' surfaces, followed through a video."""

    points: np.ndarray
    """float32 ``[T, N, 2]``: x and y in pixels, whose centres are at half-integers; NaN behind the camera."""
    occluded: np.ndarray
    """bool ``[T, N]``: whether a point is hidden, or outside the frame (as TAP-Vid has it)."""
    object: np.ndarray
    """uint8 ``[N]``: the instance id of the object each point is on."""


def shape_of(shape: Shape, row: VideoRow, points: int = 0) -> tuple[int, ...]:
    """A shape with the numbers of the video of ``row`` for its letters; ``points``: N."""
    sizes = {
        "T": row.num_frames,
        "K": row.num_objects,
        "H": row.height,
        "W": row.width,
        "B": -(-row.width // 8),
        "N": points,
    }
    return tuple(sizes[length] if isinstance(length, str) else length for length in shape)


def held_against(name: str, dataset: h5py.Dataset, row: VideoRow) -> h5py.Dataset:
    """Return ``dataset`` if it is a valid data set ``name`` of the video of ``row``. Raises ValueError otherwise.

    What passes takes no more memory than a frame when one is read, or than its file has bytes when it is read whole.
    """
    kind, shape = FRAMES.get(name) or PASS_TABLES[name]
    points = dataset.shape[shape.index("N")] if "N" in shape and dataset.ndim == len(shape) else 0
    wanted = shape_of(shape, row, points)
    if dataset.dtype != kind or dataset.shape != wanted:
        raise ValueError(f"is {dataset.dtype} {list(dataset.shape)}, not {np.dtype(kind).name} {list(wanted)}")
    if name in FRAMES and dataset.chunks != (1, *wanted[1:]):
        raise ValueError(f"is stored in chunks of {dataset.chunks}")
    if name in PASS_TABLES and (dataset.chunks is not None or dataset.nbytes > dataset.id.get_storage_size()):
        raise ValueError("is larger than its file")
    return dataset


def unpacked(bits: np.ndarray, width: int) -> np.ndarray:
    """Rows of bits, uint8 ``[..., B]``, as bool ``[..., W]``."""
    return np.unpackbits(bits, axis=-1, count=width).astype(bool)


def packed(masks: np.ndarray) -> np.ndarray:
    """Masks, bool ``[..., W]``, as rows of bits, uint8 ``[..., B]``, the leftmost pixel in the highest bit."""
    return np.packbits(masks, axis=-1)
