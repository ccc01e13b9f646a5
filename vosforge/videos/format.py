"""The shard format, version 1: names, types and the record of a video.

A shard is an HDF5 file with one group ``/videos/<id>`` a video. T frames, K objects; pixel centres at half-integers, x
right and y down; camera axes x right, y down, z forward.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import h5py
import numpy as np
from pydantic import Field

from vosforge.config import Record
from vosforge.terms import Split
from vosforge.videos.codec import Encoding
from vosforge.videos.texts import read_text

FORMAT = "vosforge-shard"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class VideoRecord:
    """One finished video, as it goes into a shard."""

    id: str
    split: Split
    rgb: tuple[bytes, ...]
    """T encoded frames, each readable alone; empty for a video without colours."""
    encoding: Encoding
    mask: np.ndarray
    """uint8 ``[T, H, W]``: instance id, 0 background, 255 void if ``void``."""
    category: tuple[str, ...]
    """K names."""
    darkest: float | None
    """The mean brightness, 0 to 255, of the darkest frame; None without colours."""
    void: bool = False
    """Whether 255 in the mask is no object (DAVIS)."""
    scene: "SceneRecord | None" = None
    """Scene data of a rendered video; None for an imported one."""
    passes: dict[str, np.ndarray] = field(default_factory=dict)
    """The data sets of its optional passes by name, as `vosforge.videos.passes` has them."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """Seed, attempt, renderer, versions, credits: plain JSON values."""


@dataclass(frozen=True)
class SceneRecord:
    """Poses and spec of a rendered video."""

    spec: str
    """The SceneSpec as JSON."""
    intrinsics: np.ndarray
    """float64 ``[T, 3, 3]``."""
    world_to_camera: np.ndarray
    """float64 ``[T, 4, 4]``."""
    pose: np.ndarray
    """float64 ``[T, K, 4, 4]``, object to world."""
    asset: tuple[str, ...]
    """K content hashes."""
    baked: dict[str, np.ndarray] = field(default_factory=dict)
    """Arrays that the spec names by content hash, beside it."""


class VideoRow(Record):
    """One line of the manifest: a video's location, properties and label statistics."""

    id: str
    state: Literal["sealed", "quarantined"] = "sealed"
    reason: str | None = None
    """Why a quarantined video is missing."""
    shard: str
    split: Split | None = None
    num_frames: int = 0
    height: int = 0
    width: int = 0
    num_objects: Annotated[int, Field(ge=0, le=255)] = 0
    attempt: int = 0
    """Number of redraws before the video passed its checks."""
    colors: bool = True
    """Whether it has colours, not only masks."""
    bytes: int = 0
    """Of the encoded frames."""
    least_coverage: float = 0.0
    """The smallest share of a frame that its labelled objects cover."""
    passes: tuple[str, ...] = ()
    """Its passes besides colours and masks."""
    darkest: float | None = 0.0
    """The mean brightness, 0 to 255, of the darkest frame; None without colours."""


def shard_name(number: int) -> str:
    """The file name of shard ``number``."""
    return f"shard-{number:05d}.h5"


def checksum(array: np.ndarray) -> str:
    """The BLAKE2b-128 of an array's bytes in C order, as ``blake2b:<hex>``."""
    return checksum_of_parts([array])


def checksum_of_parts(parts: Iterable[np.ndarray]) -> str:
    """The checksum of an array that is given piece by piece, in C order."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(np.ascontiguousarray(part).data)
    return f"blake2b:{digest.hexdigest()}"


def attributes_checksum(attributes: h5py.AttributeManager) -> str:
    """The checksum of a video's metadata: its row, attributes and spec, if any."""
    texts = (read_text(attributes, name, "") for name in ("row", "attributes", "spec"))
    return checksum(np.frombuffer("\n".join(texts).encode(), np.uint8))


def visible_area(mask: np.ndarray, num_objects: int) -> np.ndarray:
    """Pixels of each object: masks ``[T, H, W]`` to int32 ``[T, K]``."""
    counts = [np.bincount(frame.ravel(), minlength=num_objects + 1)[1 : num_objects + 1] for frame in mask]
    return np.stack(counts).astype(np.int32)


def boxes(mask: np.ndarray, num_objects: int) -> np.ndarray:
    """Boxes of the visible part of each object: float32 ``[T, K, 4]`` x0, y0, x1, y1 in pixels; NaN if unseen."""
    result = np.full((len(mask), num_objects, 4), np.nan, np.float32)
    for t, frame in enumerate(mask):
        for k in range(num_objects):
            seen = frame == k + 1
            rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
            if len(rows):
                result[t, k] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return result


def cuts_of(scene: Mapping[str, Any], frames: int) -> tuple[int, ...]:
    """The frames of a SceneSpec, as JSON, that are the first after a cut; none in most.

    Raises ValueError where a video of ``frames`` has no such frame.
    """
    cuts = tuple(cut["frame"] for cut in scene.get("camera", {}).get("cuts", ()))
    if not all(type(cut) is int and 0 < cut < frames for cut in cuts):
        raise ValueError(f"its cuts are at {cuts}")
    return cuts


def to_json(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, so that equal content has equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
