"""Frame encoding in a shard: each frame on its own, so that any can be read alone.

JPEGs get restart markers every few blocks, so that a region can be decoded without the rest of its frame (`Region`).
"""

import io
import warnings
from typing import Literal, NamedTuple

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageFile, UnidentifiedImageError

Encoding = Literal["jpeg", "png", "webp"]
"""JPEG, or one of two lossless ones."""
Subsampling = Literal["4:4:4", "4:2:0"]
"""Chroma subsampling of a JPEG: none, or 2×2."""
Tables = Literal["even", "annex-k"]
"""How coarsely a JPEG stores what is fine: hardly more than what is broad, or as the standard suggests for viewers."""

BLOCK = 8
SEGMENT_BLOCKS = 8
"""Minimum number of blocks between restart markers: 64 pixels."""
MAX_PIXELS = 2**27
"""Larger frames are refused before memory is allocated."""

_SUBSAMPLING: dict[Subsampling, int] = {"4:4:4": 0, "4:2:0": 2}  # Pillow's numbers
_SOF, _DRI, _SOS, _EOI = 0xC0, 0xDD, 0xDA, 0xD9
_RESTART = 0xD0

# ITU-T T.81, Annex K, tables K.1 and K.2, row by row: the steps of luminance and of colours at quality 50.
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_CHROMINANCE = np.full((8, 8), 99)
_CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
# A squared error counts the same at all frequencies, and renders have little noise to hide it in.
_EVEN = (_LUMINANCE / np.exp(np.log(_LUMINANCE).mean())) ** 0.1
_TABLES: dict[Tables, np.ndarray] = {
    "even": np.stack([np.rint(step * _EVEN).astype(np.int64).ravel() for step in (25, 30)]),
    "annex-k": np.stack([_LUMINANCE.ravel(), _CHROMINANCE.ravel()]),
}


class Region(NamedTuple):
    """A rectangle of pixels: rows ``top`` to ``bottom`` and columns ``left`` to ``right``, the ends not included."""

    top: int
    left: int
    bottom: int
    right: int


def encode(
    frame: np.ndarray,
    encoding: Encoding,
    quality: int,
    subsampling: Subsampling = "4:4:4",
    tables: Tables = "even",
) -> bytes:
    """A frame ``[H, W, 3]`` uint8 RGB, encoded; ``quality`` (1 to 100) and what follows matter for JPEG only.

    At 4:4:4, "even" tables come with numbers that are worth their bits (`vosforge.videos.jpeg`).
    """
    if encoding == "jpeg" and (tables, subsampling) == ("even", "4:4:4"):
        from vosforge.videos import jpeg  # numba takes a while to load, and readers do without it

        return jpeg.encode_full_color(frame, _scaled(_TABLES[tables], quality), restart_interval(frame.shape[1]))
    if encoding == "jpeg":
        # Pillow gives libjpeg one buffer for all it writes, by a guess that noise exceeds.
        ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, 2 * frame.nbytes)
        file = io.BytesIO()
        Image.fromarray(frame).save(
            file,
            "JPEG",
            quality=quality,
            qtables=_TABLES[tables].tolist(),
            subsampling=_SUBSAMPLING[subsampling],
            optimize=True,
            restart_marker_blocks=restart_interval(frame.shape[1]),
        )
        return file.getvalue()
    options = [cv2.IMWRITE_WEBP_QUALITY, 101] if encoding == "webp" else []  # over 100: lossless
    _, data = cv2.imencode(f".{encoding}", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), options)
    return data.tobytes()


def _scaled(tables: np.ndarray, quality: int) -> np.ndarray:
    """Tables at a quality as libjpeg counts it: as they are at 50, a tenth at 95; steps of 1 to 255."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((tables * percent + 50) // 100, 1, 255)


def restart_interval(width: int) -> int:
    """Blocks between restart markers: the least number from SEGMENT_BLOCKS on that divides a row of blocks."""
    row = -(-width // BLOCK)
    return next((n for n in range(SEGMENT_BLOCKS, row) if row % n == 0), row)


def image_size(data: bytes) -> tuple[int, int]:
    """The size (H, W) in an encoded image's header. Raises ValueError if it is not an image."""
    if simplejpeg.is_jpeg(data):
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        return height, width
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # nothing is decoded here
            with Image.open(io.BytesIO(data)) as image:
                return image.height, image.width
    except Image.DecompressionBombError:
        raise ValueError("it is far larger than any frame") from None
    except (UnidentifiedImageError, OSError, SyntaxError):
        raise ValueError("it is damaged or not an image") from None


def decode(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """Encoded bytes as a frame ``[H, W, 3]`` uint8 RGB.

    Raises ValueError when the bytes are damaged or not of ``size`` (H, W), checked before decoding.
    """
    height, width = image_size(data)
    if (height, width) != size or height * width > MAX_PIXELS:
        raise ValueError(f"it is {width}x{height}, not {size[1]}x{size[0]}")
    if simplejpeg.is_jpeg(data):
        return simplejpeg.decode_jpeg(data, "RGB")
    frame = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if frame is None or frame.shape[:2] != size:
        raise ValueError("it does not decode")
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB, dst=frame)


def decode_region(data: bytes, size: tuple[int, int], region: Region) -> np.ndarray:
    """Decode only ``region``: ``[bottom - top, right - left, 3]``.

    With restart markers the time is proportional to the region; pixels are identical to those of the whole frame.
    """
    top, left, bottom, right = region
    cut = _cut(data, region) if simplejpeg.is_jpeg(data) else None
    if cut is None:
        return decode(data, size)[top:bottom, left:right]
    part, (row, column), part_size = cut
    frame = decode(part, part_size)
    return frame[top - row : bottom - row, left - column : right - column]


def _cut(data: bytes, region: Region) -> tuple[bytes, tuple[int, int], tuple[int, int]] | None:
    """The part of a JPEG that holds ``region``, as a JPEG: its bytes, its place (row, column) and its size.

    None if it cannot be cut: without restart markers, with subsampled colours or progressive (ITU-T T.81,
    B.2: between restart markers, segments of blocks depend on nothing before them).
    """
    places = _header(data)
    if places is None:
        return None
    size_at, interval, scan = places
    height, width = (int.from_bytes(data[at : at + 2], "big") for at in (size_at, size_at + 2))
    across, down = -(-width // BLOCK), -(-height // BLOCK)
    if across % interval:
        return None
    per_row, pixels = across // interval, interval * BLOCK
    rows = range(region.top // BLOCK, -(-region.bottom // BLOCK))
    columns = range(region.left // pixels, -(-region.right // pixels))
    ends = _segment_ends(data, scan)
    if len(ends) != per_row * down:
        return None
    part_size = (
        min(rows.stop * BLOCK, height) - rows.start * BLOCK,
        min(columns.stop * pixels, width) - columns.start * pixels,
    )
    head = data[:size_at] + b"".join(n.to_bytes(2, "big") for n in part_size) + data[size_at + 4 : scan]
    begins = np.concatenate([[scan], ends[:-1] + 2]).reshape(down, per_row)[rows.start : rows.stop, columns.start]
    kept = ends.reshape(down, per_row)[rows.start : rows.stop, columns.start : columns.stop]
    pieces = [data[begin:end] for begin, end in zip(begins.tolist(), (kept[:, -1] + 2).tolist(), strict=True)]
    part = np.frombuffer(bytearray(b"".join([head, *pieces])), np.uint8)
    # The markers count from 0 to 7 and round again, from the first of the part on, whose last one ends the image.
    row_at = len(head) + np.concatenate([[0], np.cumsum(kept[:-1, -1] + 2 - begins[:-1])])
    marks = (row_at[:, None] + kept - begins[:, None]).ravel() + 1
    part[marks] = _RESTART + np.arange(len(marks)) % 8
    part[marks[-1]] = _EOI
    return part.tobytes(), (rows.start * BLOCK, columns.start * pixels), part_size


def _segment_ends(data: bytes, scan: int) -> np.ndarray:
    """Where the segments of the scan that begins at ``scan`` end: at the restart markers and the end of the image.

    No entropy-coded byte 255 is followed by anything but 0 (T.81, B.1.1.5), so every such pair is a marker.
    """
    coded = np.frombuffer(data, np.uint8)
    at = np.flatnonzero(coded[scan:-1] == 0xFF) + scan
    after = coded[at + 1]
    return at[(after & 0xF8 == _RESTART) | (after == _EOI)]


def _header(data: bytes) -> tuple[int, int, int] | None:
    """Where a baseline 4:4:4 JPEG keeps its size, its restart interval in blocks, and where its one scan begins."""
    at, size_at, interval = 2, 0, 0
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = at + 4
        if marker == _SOF:
            parts = data[body + 5]
            if any(data[body + 7 + 3 * n] != 0x11 for n in range(parts)):
                return None
            size_at = body + 1
        elif 0xC1 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return None
        elif marker == _DRI:
            interval = int.from_bytes(data[body : body + 2], "big")
        elif marker == _SOS:
            return (size_at, interval, at + 2 + length) if size_at and interval else None
        at += 2 + length
    return None
