"""A video of a source as a record for a shard: frames kept as they are, masks to the bit, everything checked."""

import io
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from render.shards import VideoRecord
from render.shards.codec import MOST_PIXELS, Encoding, decode, encode, image_size
from render.shards.format import VOID
from tools.convert.layouts import SourceVideo
from vosforge.errors import InputError

NO_CATEGORY = "object"
"""Of objects for which the source names none."""
NO_IMAGE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for files that are damaged, no image, or absurdly large."""
PNG = b"\x89PNG\r\n\x1a\n"


def read_video(video: SourceVideo, attributes: dict[str, Any]) -> VideoRecord:
    """Read all of a video, which must have a mask for every frame.

    JPEG and PNG frames keep their bytes; a video that mixes them or has others becomes PNGs of the same pixels. Mask
    values are labels as they are, 255 void, with one exception: when the masks of a video are grey and hold nothing
    but 0 and 255, as drawn in black and white, 255 is object 1. InputError names a file that is damaged or of another
    size than the first frame.
    """
    places = [_place(entry.path, video.folder, name, entry.offset) for name, entry in video.frames]
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
    numbered = [f"{t:05d}" for t in range(len(rgb))]
    names = {} if video.frame_names == numbered else {"frame_names": video.frame_names}
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
        attributes={**attributes, "folder": video.folder, "licence": "unknown", **names},
    )


def _place(path: str, folder: str, name: str, offset: int) -> str:
    return f"{folder}/{name} in {path}" if offset else path


def _kind(data: bytes) -> str:
    """What a frame can be kept as: jpeg, png or nothing."""
    if simplejpeg.is_jpeg(data):
        return "jpeg"
    return "png" if data.startswith(PNG) else ""


def _size(data: bytes, place: str) -> tuple[int, int]:
    """Height and width by the image's header."""
    try:
        size = image_size(data)
    except ValueError:
        raise InputError(f"the frame {place} is damaged or no image: fetch it again or remove its video") from None
    if size[0] * size[1] > MOST_PIXELS:
        raise InputError(f"the frame {place} has {size[1]}x{size[0]} pixels, more than {MOST_PIXELS}: scale it down")
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
    masks = np.empty((len(video.frames), *size), np.uint8)
    grey = True
    for t, (name, entry) in enumerate(zip(video.frame_names, video.masks, strict=True)):
        if entry is None:
            raise ValueError(f"frame {name} of {video.id} has no mask")
        masks[t], palette = _mask(
            entry.read(), size, _place(entry.path, video.masks_folder, f"{name}.png", entry.offset)
        )
        grey &= not palette
    if grey and not ((masks > 0) & (masks < VOID)).any():
        masks[masks == VOID] = 1
    return masks


def _mask(data: bytes, size: tuple[int, int], place: str) -> tuple[np.ndarray, bool]:
    """The labels of one mask, ``[H, W]`` uint8, and whether they are indices into a palette."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if (image.height, image.width) != size:
                raise InputError(
                    f"the mask {place} is {image.width}x{image.height}, its frame {size[1]}x{size[0]}: make them equal"
                )
            if image.mode not in ("P", "L", "1"):
                raise InputError(
                    f"the mask {place} has {image.mode} pixels: save it as a palette or 8-bit grey PNG of labels"
                )
            labels = np.array(image, np.uint8)
            palette = image.mode == "P"
    except NO_IMAGE:
        raise InputError(f"the mask {place} is damaged or no PNG: fetch it again or remove its video") from None
    depth = data[24]  # the bits of a pixel, in every PNG's first chunk; Pillow stretches fewer grey ones to 0..255
    if not palette and depth in (2, 4):
        labels //= 255 // (2**depth - 1)
    return labels, palette
