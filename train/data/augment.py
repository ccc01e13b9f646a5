"""Augments frames of one video with one affine warp and one colour transform per frame.

Crop, flip, scale, rotation and shear are composed before resampling: a frame is interpolated once, and rotated crops
show real content instead of padding wherever the frame extends.
"""

from collections.abc import Callable
from typing import Annotated, NamedTuple

import cv2
import numpy as np
from pydantic import Field

from vosforge.config import Amount, Range, Record, Share
from vosforge.videos.codec import Region

FILL = (124, 116, 104)
"""Colour outside the frame: the mean of ImageNet (RGB)."""


READ_MARGIN = 3
"""Margin in pixels that interpolation may read around a crop."""

Positive = Annotated[float, Field(gt=0)]


class Jitter(Record):
    """Maximum colour changes: brightness, contrast, saturation as factors 1 ± x, hue in turns; grey: probability."""

    brightness: Amount = 0.0
    contrast: Amount = 0.0
    saturation: Amount = 0.0
    hue: Amount = 0.0
    grey: Share = 0.0


class Geometry(Record):
    """Geometric augmentation: one crop shared by a sample's frames, and a small affine map per frame.

    With ``area``, the crop covers a random fraction of the frame, with a random aspect ratio up to 4:3 or 3:4
    (torchvision's RandomResizedCrop). Otherwise the short side is scaled to ``short_side`` pixels (None: unscaled)
    times a factor from ``zoom``, and a square of ``crop`` pixels is cut.
    """

    crop: Annotated[int, Field(ge=16)] = 384
    area: Range[Annotated[float, Field(gt=0, le=1)]] | None = None
    short_side: Annotated[int, Field(ge=1)] | None = None
    zoom: Range[Positive] = (1.0, 1.0)
    flip: Share = 0.5
    rotation: Amount = 0.0
    """Maximum rotation of a frame, degrees."""
    shear: Amount = 0.0
    """Maximum shear of a frame, degrees."""
    cubic: bool = True
    """Bicubic interpolation of images (as published), or bilinear (faster)."""


class Augmentation(Record):
    """The augmentation of a training sample: geometry, shared colour change, colour change per frame."""

    geometry: Geometry = Geometry()
    shared_colour: Jitter = Jitter()
    frame_colour: Jitter = Jitter()


class SampleView(NamedTuple):
    """The transform of one frame: a warp, then colour matrices.

    ``to_frame``: 3x3 from sample to frame coordinates (pixel corners at integers); ``colours``: 3x4 matrices on RGB in
    0..255, of which the first is shared by a sample's frames.
    """

    to_frame: np.ndarray
    colours: list[np.ndarray]


def sample_views(
    size: tuple[int, int],
    num_frames: int,
    settings: Augmentation,
    rng: np.random.Generator,
    anchor: tuple[float, float] | None = None,
) -> list[SampleView]:
    """Random transforms of ``num_frames`` frames of ``size`` (H, W), with a shared crop and shared colour change.

    ``anchor``: a pixel (x, y) that the crop must contain if the geometry allows it.
    """
    shared = sample_window(*size, settings.geometry, rng, anchor)
    colour = colour_matrix(settings.shared_colour, rng)
    return [
        SampleView(shared @ sample_affine(settings.geometry, rng), [colour, colour_matrix(settings.frame_colour, rng)])
        for _ in range(num_frames)
    ]


def see_frame(
    read: Callable[[Region], np.ndarray], size: tuple[int, int], view: SampleView, geometry: Geometry
) -> np.ndarray:
    """Apply ``view`` to a frame of ``size`` (H, W): ``[crop, crop, 3]`` uint8 RGB.

    ``read(region)`` returns the pixels of a region; only the visible region is read.
    """
    region = region_seen(view.to_frame, size, geometry.crop)
    shift = np.array([[1, 0, -region.left], [0, 1, -region.top], [0, 0, 1]])
    image = warp_image(read(region), shift @ view.to_frame, geometry.crop, geometry.cubic)
    return apply_colour(image, view.colours)


def region_seen(to_frame: np.ndarray, size: tuple[int, int], crop: int) -> Region:
    """The part of a frame of ``size`` (H, W) that a crop touches, with a margin for cubic interpolation."""
    corners = to_frame[:2] @ np.array([[0, crop, crop, 0], [0, 0, crop, crop], [1, 1, 1, 1]])
    low, high = np.floor(corners.min(axis=1)) - READ_MARGIN, np.ceil(corners.max(axis=1)) + READ_MARGIN
    limits = np.array([size[1], size[0]])
    left, top = np.clip(low, 0, limits - 1).astype(int).tolist()
    right, bottom = np.clip(high, [left + 1, top + 1], limits).astype(int).tolist()
    return Region(top, left, bottom, right)


def sample_window(
    height: int,
    width: int,
    geometry: Geometry,
    rng: np.random.Generator,
    anchor: tuple[float, float] | None = None,
) -> np.ndarray:
    """A random crop and flip as a 3x3 matrix from output to frame coordinates (pixel corners at integers)."""
    if geometry.area is not None:
        window_w, window_h = _resized_crop(height, width, geometry.area, rng)
    else:
        scale = 1.0 if geometry.short_side is None else geometry.short_side / min(height, width)
        window_w = window_h = geometry.crop / (scale * float(rng.uniform(*geometry.zoom)))
    left = _offset(width, window_w, None if anchor is None else anchor[0], rng)
    top = _offset(height, window_h, None if anchor is None else anchor[1], rng)
    if not geometry.rotation and not geometry.shear:  # cropping and resizing whole pixels is much faster than warping
        left, top, right, bottom = (float(round(x)) for x in (left, top, left + window_w, top + window_h))
        window_w, window_h = max(right - left, 1.0), max(bottom - top, 1.0)
    scale_x, scale_y = window_w / geometry.crop, window_h / geometry.crop
    if rng.random() < geometry.flip:
        return np.array([[-scale_x, 0, left + window_w], [0, scale_y, top], [0, 0, 1]])
    return np.array([[scale_x, 0, left], [0, scale_y, top], [0, 0, 1]])


def sample_affine(geometry: Geometry, rng: np.random.Generator) -> np.ndarray:
    """A random rotation and x-shear about the crop's centre, as a 3x3 matrix on output coordinates."""
    if not geometry.rotation and not geometry.shear:
        return np.eye(3)
    angle = np.deg2rad(rng.uniform(-geometry.rotation, geometry.rotation))
    shear = np.tan(np.deg2rad(rng.uniform(-geometry.shear, geometry.shear)))
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ [[1, shear], [0, 1]]
    centre = np.full(2, geometry.crop / 2)
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre - linear @ centre
    return matrix


def warp_image(frame: np.ndarray, to_frame: np.ndarray, crop: int, cubic: bool) -> np.ndarray:
    """Warp ``frame`` by ``to_frame``: ``[crop, crop, 3]`` uint8, FILL outside."""
    window = _whole_window(to_frame, frame.shape, crop)
    if window is not None:
        cut = frame[window.top : window.bottom, window.left : window.right]
        image = cv2.resize(cut, (crop, crop), interpolation=cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR)
        return cv2.flip(image, 1) if to_frame[0, 0] < 0 else image
    flags = (cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(frame, _at_centres(to_frame), (crop, crop), flags=flags, borderValue=FILL)


def warp_mask(mask: np.ndarray, to_frame: np.ndarray, crop: int) -> np.ndarray:
    """Warp an index mask by ``to_frame``: nearest labels, 0 outside."""
    window = _whole_window(to_frame, mask.shape, crop)
    if window is not None:
        cut = mask[window.top : window.bottom, window.left : window.right]
        labels = cv2.resize(cut, (crop, crop), interpolation=cv2.INTER_NEAREST_EXACT)
        return cv2.flip(labels, 1) if to_frame[0, 0] < 0 else labels
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(mask, _at_centres(to_frame), (crop, crop), flags=flags, borderValue=(0,))


def _whole_window(to_frame: np.ndarray, shape: tuple[int, ...], crop: int) -> Region | None:
    """The axis-aligned, pixel-aligned window of a crop, flipped or not; None if the crop is anything else."""
    if to_frame[0, 1] or to_frame[1, 0]:
        return None
    (x0, y0), (x1, y1) = to_frame[:2, 2], to_frame[:2, 2] + crop * np.diag(to_frame)[:2]
    sides = np.array([y0, min(x0, x1), y1, max(x0, x1)])
    whole = np.round(sides)
    if np.abs(sides - whole).max() > 1e-6 or (whole < 0).any() or whole[2] > shape[0] or whole[3] > shape[1]:
        return None
    return Region(*whole.astype(int).tolist())


def colour_matrix(jitter: Jitter, rng: np.random.Generator) -> np.ndarray:
    """A random colour change as a 3x4 matrix on RGB in 0..255; contrast pivots on mid-grey.

    Brightness, contrast, saturation and hue (rotation about the grey axis) are all affine in RGB.
    """
    if jitter == Jitter():
        return np.eye(3, 4)
    luma = np.tile([0.299, 0.587, 0.114], (3, 1))
    brightness, contrast, saturation = (
        float(rng.uniform(1 - x, 1 + x)) for x in (jitter.brightness, jitter.contrast, jitter.saturation)
    )
    turn = 2 * np.pi * float(rng.uniform(-jitter.hue, jitter.hue))
    if rng.random() < jitter.grey:
        saturation = 0.0
    matrix = (saturation * _rotation_about_grey(turn) + (1 - saturation) * luma) * brightness * contrast
    return np.column_stack([matrix, np.full(3, (1 - contrast) * 127.5)])


def apply_colour(image: np.ndarray, matrices: list[np.ndarray]) -> np.ndarray:
    """Apply 3x4 colour ``matrices`` in order to ``image [H, W, 3]`` uint8, rounding once."""
    total = np.eye(3, 4)
    for matrix in matrices:
        total = np.column_stack([matrix[:, :3] @ total[:, :3], matrix[:, :3] @ total[:, 3] + matrix[:, 3]])
    return image if np.array_equal(total, np.eye(3, 4)) else cv2.transform(image, total)


def _resized_crop(height: int, width: int, area: tuple[float, float], rng: np.random.Generator) -> tuple[float, float]:
    for _ in range(10):
        target = height * width * float(rng.uniform(*area))
        aspect = float(np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3))))
        window_w, window_h = np.sqrt(target * aspect), np.sqrt(target / aspect)
        if window_w <= width and window_h <= height:
            return float(window_w), float(window_h)
    side = float(min(height, width))  # wider than 4:3: the largest square
    return side, side


def _offset(size: int, window: float, anchor: float | None, rng: np.random.Generator) -> float:
    """A window's random start on an axis: inside the frame if it fits, else so that it covers the frame."""
    low, high = min(0.0, size - window), max(0.0, size - window)
    if anchor is not None:
        low, high = np.clip([anchor - 0.9 * window, anchor - 0.1 * window], low, high)
    return float(rng.uniform(low, high))


def _rotation_about_grey(angle: float) -> np.ndarray:
    axis = np.full(3, 1 / np.sqrt(3))
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    return np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * np.outer(axis, axis)


def _at_centres(matrix: np.ndarray) -> np.ndarray:
    """The same map in OpenCV's coordinates, with pixel centres at integers."""
    to_corner, to_centre = (np.array([[1, 0, shift], [0, 1, shift], [0, 0, 1]]) for shift in (0.5, -0.5))
    return (to_centre @ matrix @ to_corner)[:2]


BLUR = 1.5
"""Largest standard deviation of a degraded frame's blur, in pixels."""
NOISE = 6.0
"""Largest standard deviation of its noise, in 0..255."""


def degraded(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``image [H, W, 3]`` uint8, blurred and with noise, as a camera sees it."""
    blurred = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.2, BLUR)))
    noise = rng.normal(0, float(rng.uniform(0, NOISE)), size=image.shape).astype(np.float32)
    return np.clip(blurred + noise, 0, 255).astype(np.uint8)


def point_in(region: np.ndarray, rng: np.random.Generator) -> tuple[float, float] | None:
    """A random pixel (x, y) of the nonzero ``region [H, W]`` as a crop anchor; None if it is empty."""
    pixels = np.flatnonzero(region)
    if not len(pixels):
        return None
    y, x = divmod(int(pixels[rng.integers(len(pixels))]), region.shape[1])
    return x + 0.5, y + 0.5
