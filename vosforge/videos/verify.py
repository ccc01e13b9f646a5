"""Verifies a sealed video: structure, checksums, pixels, masks and tables.

It looks at one file in one process and repairs nothing. What only makes sense for a whole data set (which videos
should be there, what to do about a bad one) is not its business, nor is what a scene is: that test is handed in.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from vosforge.errors import InputError, MachineError, VOSForgeError, first_line
from vosforge.gates import GateLimits
from vosforge.remote import Place
from vosforge.terms import VOID
from vosforge.trouble import trouble, unread
from vosforge.videos.format import VideoRow, boxes
from vosforge.videos.gates import DEFAULT_LIMITS, label_refusal
from vosforge.videos.passes_check import check_frame, check_shapes, check_tracks
from vosforge.videos.reader import DAMAGE, ShardVideo, open_shard
from vosforge.videos.texts import is_texts, read_text

SpecTest = Callable[[str, VideoRow], str | None]
"""From a spec's JSON and its video's row: what is wrong with the spec, or None."""
LimitsOf = Callable[[str | None], GateLimits]
"""From a spec's JSON, if any, to the limits of its video."""

BROKEN = (*DAMAGE, LookupError, ArithmeticError, MemoryError)
"""Errors of reading damaged data."""
LOSSY_SLACK = 6.0
"""Tolerance of a frame's mean brightness (0 to 255) after JPEG at quality 10 or more."""
LOSSLESS_SLACK = 0.01

TEXT = "text"
TABLES: dict[str, tuple[Any, tuple[str | int, ...]]] = {
    "objects/visible_area": (np.int32, ("T", "K")),
    "objects/box": (np.float32, ("T", "K", 4)),
    "objects/category": (TEXT, ("K",)),
}
RENDERED_TABLES: dict[str, tuple[Any, tuple[str | int, ...]]] = {
    "camera/intrinsics": (np.float64, ("T", 3, 3)),
    "camera/world_to_camera": (np.float64, ("T", 4, 4)),
    "objects/pose": (np.float64, ("T", "K", 4, 4)),
    "objects/asset": (TEXT, ("K",)),
}


@dataclass(frozen=True)
class Listing:
    """A file's list of videos."""

    rows: dict[str, VideoRow] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    """Videos whose row cannot be read, and why."""
    quarantined: dict[str, str] = field(default_factory=dict)
    """Quarantined videos and their reasons."""


def list_videos(path: Place) -> Listing:
    """List the shard (or staged video) at ``path``; one damaged row does not hide the others.

    Raises InputError when nothing can be listed, MachineError when it is not the file that keeps it from being read.
    """
    listing = Listing()
    with open_shard(path) as file:
        try:
            listing.quarantined.update(_texts(read_text(file.attrs, "quarantined", "{}")))
            videos = file.get("videos", {})
            names = list(videos)
        except BROKEN as error:
            unlisted = InputError(f"{path} has no readable list of videos ({first_line(error)})")
            raise unread(path, error, unlisted) from None
        for name in names:
            try:
                row = VideoRow(shard=path.name, **json.loads(read_text(videos[name].attrs, "row")))
                if row.id != name:
                    raise ValueError(f"it calls itself {row.id}")
                listing.rows[name] = row
            except BROKEN as error:
                if (why := trouble(error)) is not None:
                    raise MachineError(f"{path} cannot be read here ({why}): try again later", why) from None
                listing.damaged[name] = f"its row cannot be read ({first_line(error)})"
    return listing


def find_problem(
    path: Place,
    row: VideoRow,
    spec_test: SpecTest = lambda spec, row: None,
    decode: bool = True,
    gates: bool = False,
    limits_of: LimitsOf = lambda spec: DEFAULT_LIMITS,
) -> str | None:
    """Check the video of ``row`` in the shard at ``path``: what is wrong, or None.

    ``decode``: look at every checksum, frame and mask, not only at the tables. ``gates``: hold it against its limits
    (see `vosforge.videos.gates`) as well, which its data set asks of every video. Raises MachineError when the machine
    keeps it from being read, which says nothing of the video.
    """
    video = ShardVideo(path, row)
    try:
        check_tables(video)
        _check_row(video)
        _check_spec(video, spec_test)
        area, box = (video.group[f"objects/{name}"][()] for name in ("visible_area", "box"))
        _check_statistics(row, area, box)
        check_tracks(video)
        limits = limits_of(video.spec_json) if gates else None
        if limits is not None:
            _check_gates(row, area, limits)
        if decode:
            video.verify()
            _check_pixels(video, area, box, limits)
    except MachineError:
        raise
    except VOSForgeError as error:
        told = re.sub(re.escape(f"video {row.id} in {path}"), "it", str(error))
        return told.replace(" of it", "").removesuffix(": render it again")
    except BROKEN as error:
        if (why := trouble(error)) is not None:
            raise MachineError(f"video {row.id} in {path} cannot be read here ({why}): try again later", why) from None
        return f"it cannot be read ({first_line(error)})"
    return None


def is_rendered(video: ShardVideo) -> bool:
    """Whether the video has a camera, poses or a scene; imported ones do not."""
    return video.spec_json is not None or any(name in video.group for name in ("camera", "objects/pose"))


def check_tables(video: ShardVideo) -> None:
    """Check the tables against the format and their checksums.

    Raises VOSForgeError that names the first one that is missing or not as it should be.
    """
    row = video.row
    lengths = {"T": row.num_frames, "K": row.num_objects}
    if row.num_frames < 1 or (video.void is not None and row.num_objects >= VOID):
        raise VOSForgeError(f"it has {row.num_frames} frames and {row.num_objects} objects")
    if video.void not in (None, VOID):
        raise VOSForgeError(f"its void value is {video.void}, not {VOID}")
    tables = TABLES | (RENDERED_TABLES if is_rendered(video) else {})
    for name, (kind, letters) in tables.items():
        table = video.group.get(name)
        shape = tuple(lengths.get(str(n), n) for n in letters)
        if not isinstance(table, h5py.Dataset):
            raise VOSForgeError(f"'{name}' is missing")
        is_kind = is_texts(table) if kind == TEXT else table.dtype == kind
        if not is_kind or table.shape != shape:
            raise VOSForgeError(f"'{name}' is {table.dtype} {list(table.shape)}, not {_name(kind)} {list(shape)}")
    video.verify([*tables, *check_shapes(video)])


def _check_row(video: ShardVideo) -> None:
    row, group = video.row, video.group
    attributes = video.attributes
    if not isinstance(attributes, dict):
        raise VOSForgeError("its attributes are not a JSON object")
    if row.split is None or row.state != "sealed":
        raise VOSForgeError("its row names no split or no sealed video")
    size = len(group["rgb/data"]) if row.colors else 0
    found = {"bytes": size, "attempt": attributes.get("attempt", 0)}
    for name, value in found.items():
        if getattr(row, name) != value:
            raise VOSForgeError(f"its row says {name} {getattr(row, name)}, but it has {value}")
    if row.colors and video.encoding not in ("jpeg", "png", "webp"):
        raise VOSForgeError(f"its frames are encoded as '{video.encoding}'")


def _check_spec(video: ShardVideo, spec_test: SpecTest) -> None:
    spec = video.spec_json
    if spec is not None and (wrong := spec_test(spec, video.row)):
        raise VOSForgeError(wrong)
    if spec is None and is_rendered(video):
        raise VOSForgeError("it was rendered, but its spec is missing")
    if is_rendered(video):
        for name, (kind, _) in RENDERED_TABLES.items():
            if kind != TEXT and not np.isfinite(video.group[name][()]).all():
                raise VOSForgeError(f"'{name}' holds NaN or infinite values")


def _check_statistics(row: VideoRow, area: np.ndarray, box: np.ndarray) -> None:
    """Check areas ``[T, K]``, boxes ``[T, K, 4]`` and the row for consistency."""
    pixels = row.height * row.width
    total = area.sum(axis=1)
    if (area < 0).any() or (total > pixels).any():
        raise VOSForgeError("'objects/visible_area' is negative or exceeds the frame")
    if abs(float(total.min()) / pixels - row.least_coverage) > 1e-6:
        raise VOSForgeError(f"its row says least_coverage {row.least_coverage}, but it has {total.min() / pixels:.6f}")
    if (row.darkest is not None) != row.colors or not 0 <= (row.darkest or 0) <= 255:
        raise VOSForgeError(f"its row says darkest {row.darkest}, which is outside 0 to 255")
    seen = area > 0
    if not np.array_equal(np.isfinite(box).all(axis=2), seen) or not np.array_equal(np.isnan(box).all(axis=2), ~seen):
        raise VOSForgeError("'objects/box' and 'objects/visible_area' disagree on when an object is visible")
    x0, y0, x1, y1 = box[seen].T
    if (x0 < 0).any() or (y0 < 0).any() or (x1 > row.width).any() or (y1 > row.height).any():
        raise VOSForgeError("'objects/box' leaves the frame")
    if ((x1 - x0) * (y1 - y0) < area[seen]).any():
        raise VOSForgeError("'objects/box' is smaller than the object in it")


def _check_gates(row: VideoRow, area: np.ndarray, limits: GateLimits) -> None:
    """Check the stored numbers against the gates; contrast is not stored."""
    if row.darkest is not None and row.darkest < limits.darkest:
        raise VOSForgeError(f"a frame is black (mean brightness {row.darkest:.1f} of 255)")
    if refusal := label_refusal(area, row.height * row.width, limits):
        raise VOSForgeError(refusal.reason)


def _check_pixels(video: ShardVideo, area: np.ndarray, box: np.ndarray, limits: GateLimits | None) -> None:
    """Decode every frame and mask, and recompute the tables frame by frame."""
    if video.has_colors:
        _check_colors(video, limits)
    K = video.num_objects
    known = np.zeros(256, bool)
    known[: K + 1] = True
    if video.void is not None:
        known[video.void] = True
    for t in range(video.num_frames):
        mask = video.mask(t)
        counts = np.bincount(mask.ravel(), minlength=256)
        if (unknown := np.flatnonzero((counts > 0) & ~known)).size:
            raise VOSForgeError(f"the mask of frame {t} holds {unknown[0]}, but there are {K} objects")
        if not np.array_equal(counts[1 : K + 1], area[t]):
            raise VOSForgeError(f"'objects/visible_area' disagrees with the mask of frame {t}")
        if not np.array_equal(boxes(mask[None], K)[0], box[t], equal_nan=True):
            raise VOSForgeError(f"'objects/box' disagrees with the mask of frame {t}")
        check_frame(video, t, mask)


def _check_colors(video: ShardVideo, limits: GateLimits | None) -> None:
    stated, slack = video.row.darkest or 0.0, LOSSY_SLACK if video.encoding == "jpeg" else LOSSLESS_SLACK
    darkest = np.inf
    for t in range(video.num_frames):
        brightness = float(video.frame(t).mean())
        darkest = min(darkest, brightness)
        if limits is not None and not limits.darkest - slack <= brightness <= limits.brightest + slack:
            raise VOSForgeError(f"frame {t} is black or burnt (mean brightness {brightness:.1f} of 255)")
    if abs(darkest - stated) > slack:
        raise VOSForgeError(f"its row says darkest {stated}, but it has {darkest:.1f}")


def _texts(text: str) -> Iterator[tuple[str, str]]:
    return ((str(key), str(value)) for key, value in json.loads(text).items())


def _name(kind: Any) -> str:
    return kind if kind == TEXT else np.dtype(kind).name
