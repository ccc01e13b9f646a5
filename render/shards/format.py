"""The shard format, version 1: names, types and what one video's record holds.

A shard is an HDF5 file with one group ``/videos/<id>`` a video. T frames, K objects; pixel centres at half-integers, x
right and y down; camera axes x right, y down, z forward.
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from vosforge.config import Record

FORMAT = "vosforge-shard"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class VideoRecord:
    """One finished video, as it goes into a shard."""

    id: str
    split: Literal["train", "val"]
    rgb: tuple[bytes, ...]
    """T encoded frames, each readable without the others."""
    encoding: str
    """How they are encoded: ``jpeg`` or ``png``."""
    mask: np.ndarray
    """uint8 ``[T, H, W]``: instance id, 0 background."""
    intrinsics: np.ndarray
    """float64 ``[T, 3, 3]``."""
    world_to_camera: np.ndarray
    """float64 ``[T, 4, 4]``."""
    pose: np.ndarray
    """float64 ``[T, K, 4, 4]``, object to world."""
    asset: tuple[str, ...]
    """K content hashes."""
    category: tuple[str, ...]
    """K names."""
    spec: str
    """The SceneSpec as JSON."""
    darkest: float
    """The mean brightness, 0 to 255, of the darkest frame."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """Seed, attempt, renderer, versions, credits: plain JSON values."""


class VideoRow(Record):
    """One line of the manifest: where a video is, what it is, and what its labels measure."""

    id: str
    state: Literal["sealed", "quarantined"] = "sealed"
    reason: str | None = None
    """Why a quarantined video is missing."""
    shard: str
    split: Literal["train", "val"] | None = None
    num_frames: int = 0
    height: int = 0
    width: int = 0
    num_objects: int = 0
    attempt: int = 0
    """How often the video was drawn again before it passed its checks."""
    bytes: int = 0
    """Of the encoded frames."""
    least_coverage: float = 0.0
    """The smallest share of a frame that its labelled objects cover."""
    darkest: float = 0.0
    """The mean brightness, 0 to 255, of the darkest frame."""


def shard_name(number: int) -> str:
    """The file name of shard ``number``."""
    return f"shard-{number:05d}.h5"


def checksum(array: np.ndarray) -> str:
    """The BLAKE2b-128 of an array's bytes in C order, as ``blake2b:<hex>``."""
    return f"blake2b:{hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16).hexdigest()}"


def visible_area(mask: np.ndarray, num_objects: int) -> np.ndarray:
    """Pixels of each object: masks ``[T, H, W]`` to int32 ``[T, K]``."""
    counts = [np.bincount(frame.ravel(), minlength=num_objects + 1)[1 : num_objects + 1] for frame in mask]
    return np.stack(counts).astype(np.int32)


def boxes(mask: np.ndarray, num_objects: int) -> np.ndarray:
    """The boxes of what is seen of each object: float32 ``[T, K, 4]`` x0, y0, x1, y1 in pixels; NaN where unseen."""
    result = np.full((len(mask), num_objects, 4), np.nan, np.float32)
    for t, frame in enumerate(mask):
        for k in range(num_objects):
            seen = frame == k + 1
            rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
            if len(rows):
                result[t, k] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return result


def to_json(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, so that equal content has equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
