"""Shared by all exporters: safe names, JPEG bytes, palette PNGs."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from tools.convert.sources import JPEG_QUALITY
from vosforge.errors import InputError
from vosforge.terms import VOID
from vosforge.videos import ShardVideo
from vosforge.videos.codec import encode
from vosforge.videos.folders import numbered
from vosforge.videos.palette import PALETTE
from vosforge.videos.reader import DAMAGE
from vosforge.videos.texts import read_texts


def safe_name(name: str, what: str) -> str:
    """``name`` if it is a valid file or folder name; else InputError naming ``what``."""
    if not name.strip(".") or not name.isprintable() or set(name) & set("/\\") or len(name.encode()) > 200:
        raise InputError(f"{what} is named {name!r}, which cannot be a file's name: rename it and try again")
    return name


def original_names(video: ShardVideo) -> list[str]:
    """The T frame names of a video without suffix: the imported ones, or 00000, 00001, ….

    InputError when those a shard holds cannot be file names.
    """
    kept = video.attributes.get("frame_names", numbered(video.num_frames))
    if not isinstance(kept, list) or len(set(map(str, kept))) != video.num_frames:
        raise InputError(f"video {video.id} in {video.path} does not name each of its frames: import it again")
    return [safe_name(str(name), f"a frame of video {video.id}") for name in kept]


def frame_names(video: ShardVideo) -> list[str]:
    """The T names that frames are exported with: their original ones, where these sort in the order of time.

    Readers sort by name, so others are renumbered.
    """
    names = original_names(video)
    return names if names == sorted(names) else numbered(video.num_frames)


def categories(video: ShardVideo) -> tuple[str, ...]:
    """The K objects' category names."""
    try:
        names = read_texts(video.group["objects/category"])
    except DAMAGE:
        names = ()
    if len(names) != video.num_objects:
        raise InputError(f"the categories of video {video.id} in {video.path} are damaged: render or import it again")
    return names


def objects_seen(video: ShardVideo, mask: np.ndarray) -> list[int]:
    """The objects that a mask of ``video`` shows, ascending, without background and void."""
    found = np.flatnonzero(np.bincount(mask.ravel(), minlength=VOID + 1)).tolist()
    labels = [label for label in found if label and label != video.void]
    if labels and labels[-1] > video.num_objects:
        raise InputError(
            f"video {video.id} in {video.path} shows an object {labels[-1]} it does not have: render or import it again"
        )
    return labels


def jpeg(video: ShardVideo, t: int) -> bytes:
    """Frame ``t`` as a JPEG: the stored bytes if JPEG, else encoded."""
    if video.encoding == "jpeg":
        return video.encoded(t)
    return encode(video.frame(t), "jpeg", JPEG_QUALITY)


def palette_png(mask: np.ndarray) -> bytes:
    """An index mask ``[H, W]`` uint8 as a PNG of the same indices with DAVIS's 256 colours."""
    image = Image.fromarray(mask, "P")
    image.putpalette(PALETTE.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def label_mask(video: ShardVideo, t: int) -> np.ndarray:
    """The mask of frame ``t``, ``[H, W]`` uint8, for layouts in which 255 is void.

    InputError for an object numbered 255, which would be lost there.
    """
    mask = video.mask(t)
    if video.void is None and video.num_objects >= VOID and (mask == VOID).any():
        raise InputError(f"object {VOID} of video {video.id} would be read as void in this format: export it as coco")
    return mask


def write_frames(video: ShardVideo, folder: Path) -> None:
    """Write every frame of a video to ``folder``/<name>.jpg; nothing for a video without colours."""
    if not video.has_colors:
        return
    folder.mkdir(parents=True)
    for t, name in enumerate(frame_names(video)):
        (folder / f"{name}.jpg").write_bytes(jpeg(video, t))


def write_masks(video: ShardVideo, folder: Path) -> None:
    """Write every mask of a video to ``folder``/<name>.png."""
    folder.mkdir(parents=True)
    for t, name in enumerate(frame_names(video)):
        (folder / f"{name}.png").write_bytes(palette_png(label_mask(video, t)))
