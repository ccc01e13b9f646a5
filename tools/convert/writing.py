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
from vosforge.videos.names import frame_names
from vosforge.videos.palette import PALETTE


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
