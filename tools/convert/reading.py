"""Reads a source's video into a record for a shard: frames unchanged, masks exact, everything checked."""

import io
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from tools.convert.layouts import SourceVideo
from tools.convert.sources import Entry, frame_times
from vosforge.errors import InputError
from vosforge.terms import VOID
from vosforge.videos import VideoRecord
from vosforge.videos.codec import MAX_PIXELS, Encoding, decode, encode, image_size
from vosforge.videos.masks import NO_IMAGE, number_objects, read_values
from vosforge.videos.names import numbered

NO_CATEGORY = "object"
"""Category of objects without one."""
PNG = b"\x89PNG\r\n\x1a\n"


def read_video(video: SourceVideo, attributes: dict[str, Any]) -> VideoRecord:
    """Read all of a video, which must have a mask for every frame.

    JPEG and PNG frames keep their bytes; a video that mixes them or has others becomes PNGs of the same pixels, a film
    JPEGs. Masks become labels as `vosforge.videos.masks` says. InputError names a file that is damaged or of another
    size than the first frame.
    """
    places = [_place(entry, video.folder, name) for name, entry in video.frames]
    stored = [entry.read() for _, entry in video.frames]
    kinds = {_kind(data) for data in stored}
    kept = len(kinds) == 1 and "" not in kinds
    size = _size(stored[0], places[0])
    brightness, rgb = [], []
    for data, place in zip(stored, places, strict=True):
        frame = _decoded(data, size, place)
        brightness.append(frame.mean())
        rgb.append(data if kept else encode(frame, "png", 100))
    mask = _masks(video, size)
    K = int(np.max(mask, where=mask != VOID, initial=0))
    kept_too: dict[str, Any] = {}
    if video.frame_names != numbered(len(rgb)):
        kept_too["frame_names"] = video.frame_names
    if times := frame_times([entry for _, entry in video.frames]):
        kept_too["frame_times"] = times
    encoding: Encoding = "jpeg" if kept and kinds == {"jpeg"} else "png"
    return VideoRecord(
        id=video.id,
        split=video.split,
        rgb=tuple(rgb),
        encoding=encoding,
        mask=mask,
        category=tuple(video.categories.get(k, NO_CATEGORY) for k in range(1, K + 1)),
        darkest=round(float(min(brightness)), 3),
        void=bool((mask == VOID).any()),
        attributes={**attributes, "folder": video.folder, "licence": "unknown", **kept_too},
    )


def _place(entry: Entry, folder: str, name: str) -> str:
    if entry.frame is not None:
        return f"{entry.frame} of {entry.path}"
    return f"{folder}/{name} in {entry.path}" if entry.offset else entry.path


def _kind(data: bytes) -> str:
    """The encoding in which a frame can be stored unchanged: jpeg, png or None."""
    if simplejpeg.is_jpeg(data):
        return "jpeg"
    return "png" if data.startswith(PNG) else ""


def _size(data: bytes, place: str) -> tuple[int, int]:
    """Height and width by the image's header."""
    try:
        size = image_size(data)
    except ValueError:
        raise InputError(f"the frame {place} is damaged or not an image: fetch it again or remove its video") from None
    if size[0] * size[1] > MAX_PIXELS:
        raise InputError(f"the frame {place} has {size[1]}x{size[0]} pixels, more than {MAX_PIXELS}: scale it down")
    return size


def _decoded(data: bytes, size: tuple[int, int], place: str) -> np.ndarray:
    """A frame's pixels ``[H, W, 3]`` uint8 RGB, as reading them from a shard gives them."""
    found = _size(data, place)
    if found != size:
        raise InputError(
            f"the frame {place} is {found[1]}x{found[0]}, but the first one {size[1]}x{size[0]}: make them equal"
        )
    try:
        if _kind(data) == "jpeg":
            return decode(data, size)
        with Image.open(io.BytesIO(data)) as image:
            image.load()  # unlike OpenCV, Pillow refuses a file that is cut short
            other = np.asarray(image.convert("RGB"))
        return decode(data, size) if _kind(data) == "png" else other
    except NO_IMAGE:
        raise InputError(f"the frame {place} does not decode: fetch it again or remove its video") from None


def _masks(video: SourceVideo, size: tuple[int, int]) -> np.ndarray:
    """All masks: uint8 ``[T, H, W]``."""
    masks = []
    for name, entry in zip(video.frame_names, video.masks, strict=True):
        if entry is None:
            raise ValueError(f"frame {name} of {video.id} has no mask")
        masks.append(read_values(entry.read(), _place(entry, video.masks_folder, f"{name}.png"), size))
    numbering = number_objects(masks, f"{video.masks_folder or 'masks'} of video '{video.id}'")
    return np.stack([numbering.apply(mask.values) for mask in masks])
