"""Reads user masks: image files whose values identify objects.

Labels are assigned over all masks of a video (`Numbering`), so that an object keeps its label from frame to frame:

- greyscale, palette and 1-bit masks: values are labels, 255 is void. If a video has only 0 and 255 (black and white),
  255 is object 1.
- 16-bit masks with values above 255: objects are numbered in the order of their values.
- colour masks: DAVIS's colours are its labels; other colours are numbered in the order of red, green and blue.

Masks without well-defined labels are refused with the reason: JPEGs, antialiased edges, too many colours.
"""

import io
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from vosforge import InputError
from vosforge.terms import MAX_OBJECTS, VOID
from vosforge.videos.palette import PALETTE
from vosforge.videos.video import objects_in

NO_IMAGE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""Pillow's errors for damaged, invalid or huge files."""
LOSSY = (".jpg", ".jpeg", ".webp", ".mp4", ".mov", ".m4v", ".mkv", ".webm")
"""Lossy file formats."""
SAVE_AGAIN = "export the masks again as PNGs with one value per object"
SHARPEN = (
    "save it without anti-aliasing, blur or lossy compression, one value per object (for a single object, threshold it)"
)
MIN_SOFT_VALUES = 3
"""Edges count as soft if at least this many values never fill a 3×3 block; fewer can be thin objects."""


MaskKind = Literal["labels", "16-bit values", "colours"]


class MaskValues(NamedTuple):
    """A mask file's values, before they are mapped to objects."""

    kind: MaskKind
    values: np.ndarray
    """``[H, W]``: uint8 labels, uint16 values, or uint32 colours as 0xRRGGBB."""


class Numbering(NamedTuple):
    """Maps each value in a video's masks, including 0, to a label."""

    kind: MaskKind
    values: np.ndarray
    """Ascending."""
    labels: np.ndarray
    """uint8, of the same length."""

    def apply(self, values: np.ndarray) -> np.ndarray:
        """The labels ``[H, W]`` uint8 of values that occur in the mapping."""
        return self.labels[np.searchsorted(self.values, values)]

    @property
    def counted(self) -> bool:
        """Whether objects were numbered by the order of their values, which say nothing in another folder."""
        pairs = zip(self.values.tolist(), self.labels.tolist(), strict=True)
        if self.kind == "colours":
            return any(label not in (_DAVIS_COLORS.get(value), value & 0xFF) for value, label in pairs)
        return any(label != value for value, label in pairs)

    def described(self) -> str:
        """A short summary: ``2 objects`` and, if values differ from labels, the mapping."""
        pairs = [(int(k), int(v)) for v, k in zip(self.values, self.labels, strict=True) if k not in (0, VOID)]
        renamed = [f"{k} = {f'#{v:06x}' if self.kind == 'colours' else v}" for k, v in sorted(pairs) if v != k]
        shown = ", ".join(renamed[:6]) + (", …" if len(renamed) > 6 else "")
        return f"{len(pairs)} object{'s' * (len(pairs) != 1)}" + (f" ({shown})" if renamed else "")


def read_values(data: bytes, place: str, size: tuple[int, int]) -> MaskValues:
    """The values of the PNG ``data``; transparent pixels are background.

    ``size``: required (H, W); ``place``: the file's name in messages. Raises InputError for another format or size,
    damage, soft edges or too many colours.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format != "PNG":
                why = "which cannot hold labels" if image.format == "JPEG" else "not a PNG"
                raise InputError(f"the mask {place} is a {image.format} file, {why}: {SAVE_AGAIN}")
            if (image.height, image.width) != size:
                raise InputError(
                    f"the mask {place} is {image.width}x{image.height}, its frame {size[1]}x{size[0]}: make them equal"
                )
            image.load()
            values, colors = _pixels(image, data[24], place)
    except NO_IMAGE:
        raise InputError(f"the mask {place} is damaged or not a PNG: replace it") from None
    kind: MaskKind = "labels"
    if values.dtype == np.uint32:
        kind = "colours"
    elif values.dtype == np.uint16:
        kind = "16-bit values"
        if values.max() <= VOID:
            kind, values = "labels", values.astype(np.uint8)
    if colors is not None:
        _refuse_soft_edges(values, colors, place)
    return MaskValues(kind, values)


def _pixels(image: Image.Image, depth: int, place: str) -> tuple[np.ndarray, np.ndarray | None]:
    """A mask's values ``[H, W]``, and the image to check for soft edges, ``[H, W]`` or ``[H, W, 3]``, or None.

    ``depth``: bits per channel from the PNG's header; Pillow stretches 2-bit and 4-bit greyscale to 0..255.
    """
    if image.mode == "P":
        labels = np.array(image)
        palette = np.zeros((256, 3), np.uint8)
        given = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        palette[: len(given)] = given
        used = _found(labels)
        # DAVIS's palette cannot be antialiasing, so its indices are labels.
        return labels, None if np.array_equal(palette[used], PALETTE[used]) else palette[labels]
    if image.mode == "1":
        return np.array(image, np.uint8), None
    if image.mode == "L":
        grey = np.array(image)
        grey = grey // (VOID // (2**depth - 1)) if depth in (2, 4) else grey
        return grey, grey
    if image.mode.startswith("I"):
        deep = np.array(image).astype(np.uint16)
        return deep, deep
    if image.mode not in ("RGB", "RGBA", "LA"):
        raise InputError(f"the mask {place} has {image.mode} pixels: {SAVE_AGAIN}")
    colors = np.array(image.convert("RGB"))
    if image.mode in ("RGBA", "LA"):
        alpha = np.array(image.getchannel("A"))
        if not colors.any():  # a black silhouette: only alpha shows the object
            return alpha, alpha
        colors = (colors * alpha.astype(np.uint16)[..., None] // VOID).astype(np.uint8)
    codes = colors.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    return codes, colors


def _refuse_soft_edges(values: np.ndarray, colors: np.ndarray, place: str) -> None:
    """Raise InputError for a mask with soft edges or with more values than labels.

    Edges are soft if most values never fill 3×3 pixels and lie between a darker and a brighter neighbour. A tiny object
    does not: it is brighter than all its neighbours.
    """
    found = _found(values)
    many = len(found) > VOID + 1
    lowest, highest = (change(colors, np.ones((3, 3), np.uint8)) for change in (cv2.erode, cv2.dilate))
    flat, between = lowest == highest, (lowest < colors) & (colors < highest)
    if colors.ndim == 3:
        flat, between = flat.all(axis=2), between.any(axis=2)
    thin = np.setdiff1d(found[found > 0], _found(values[flat]))
    most = max(MIN_SOFT_VALUES, np.count_nonzero(found) / 2)
    fading = len(thin) >= most and between[np.isin(values, thin)].mean() > 0.5
    if fading or many:
        grey = colors.ndim == 2 or bool((colors == colors[..., :1]).all())
        what = f"{np.count_nonzero(found)} {'grey values' if grey else 'colours'}"
        edges = f"is a mask with soft edges: {what}" if fading else f"has {what}, more than a mask can hold"
        raise InputError(f"{place} {edges}; {SHARPEN}")


def _found(values: np.ndarray) -> np.ndarray:
    """The distinct values, ascending; much faster than ``np.unique`` for bytes."""
    return np.flatnonzero(np.bincount(values.ravel())) if values.dtype == np.uint8 else np.unique(values)


def is_plain(values: MaskValues) -> bool:
    """Whether a mask's values are labels regardless of the video's other masks."""
    return values.kind == "labels" and (objects_in(values.values) != () or values.values.max(initial=0) < VOID)


def number_objects(masks: Iterable[MaskValues], place: str) -> Numbering:
    """The mapping from values to labels for all masks of a video; ``place``: their name in messages.

    Raises InputError for masks of several kinds and for more objects than labels.
    """
    found: dict[MaskKind, set[int]] = defaultdict(set)
    for kind, values in masks:
        found[kind].update(_found(values).tolist())
    kinds = [kind for kind, values in found.items() if values - {0}]
    if len(kinds) > 1:
        raise InputError(f"{place}: some masks hold {kinds[0]}, others {kinds[1]}; save them all in one format")
    values = np.array(sorted(set().union(*found.values(), {0})))
    only = kinds[0] if kinds else "labels"
    return Numbering(only, values, _labels_of(values, only, place))


def _labels_of(values: np.ndarray, kind: MaskKind, place: str) -> np.ndarray:
    """The label of each of ``values``, ascending from 0."""
    if kind == "colours":
        parts = np.stack([values >> 16, values >> 8 & 0xFF, values & 0xFF], axis=1)
        if (parts == parts[:, :1]).all():  # greyscale, saved with three channels
            values, kind = parts[:, 0], "labels"
        elif set(values.tolist()) <= _DAVIS_COLORS.keys():
            return np.array([_DAVIS_COLORS[value] for value in values.tolist()], np.uint8)
    if kind == "labels":
        return np.minimum(values, 1).astype(np.uint8) if values.tolist() == [0, VOID] else values.astype(np.uint8)
    if len(values) > VOID:
        raise InputError(f"{place} has {len(values) - 1} {kind}; a mask holds at most {MAX_OBJECTS} objects")
    return np.arange(len(values), dtype=np.uint8)


_DAVIS_COLORS = {
    int(r) << 16 | int(g) << 8 | int(b): label
    for colors in (PALETTE, np.where(PALETTE == 192, 191, PALETTE))
    for label, (r, g, b) in enumerate(colors)
}


def read_mask(path: Path, size: tuple[int, int]) -> tuple[np.ndarray, Numbering]:
    """Read a single mask: its labels ``[H, W]`` uint8 and their numbering."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the mask {path} ({error.strerror}): give a PNG of labels") from None
    mask = read_values(data, str(path), size)
    numbering = number_objects([mask], str(path))
    return numbering.apply(mask.values), numbering


def match_masks(frames: Sequence[str], files: Collection[str], folder: str) -> dict[str, str]:
    """Match mask ``files`` to ``frames`` (names without suffix): the PNG of the same name, else with the same numbers.

    ``00000_mask.png`` and ``mask_0.png`` match ``00000.jpg``. Raises InputError for JPEGs or films, if no mask matches
    a frame, and for a mask without a frame.
    """
    pngs = {PurePosixPath(name).stem: name for name in sorted(files) if name.lower().endswith(".png")}
    if not pngs:
        if lossy := sorted(name for name in files if name.lower().endswith(LOSSY)):
            raise InputError(
                f"the masks in {folder} are {PurePosixPath(lossy[0]).suffix[1:].upper()} files (the first is "
                f"{lossy[0]}), which cannot hold labels: {SAVE_AGAIN}"
            )
        return {}
    matched = {stem: pngs.pop(stem) for stem in frames if stem in pngs}
    if not matched:
        matched, pngs = _by_numbers(frames, pngs, folder)
    if pngs and not matched:
        raise InputError(
            f"no mask in {folder} is named like a frame (the first mask is {min(pngs.values())}, the first frame "
            f"{frames[0]}): give masks their frames' names, {frames[0]}.png"
        )
    if pngs:
        raise InputError(f"the mask {min(pngs.values())} in {folder} has no frame: add its frame, or remove it")
    return matched


def _by_numbers(frames: Sequence[str], pngs: dict[str, str], folder: str) -> tuple[dict[str, str], dict[str, str]]:
    """Masks matched to frames by numbers, and the unmatched ones."""
    stems = {_numbers(stem): stem for stem in frames}
    matched: dict[str, str] = {}
    left = {}
    for stem, name in pngs.items():
        frame = stems.get(_numbers(stem)) if len(stems) == len(frames) else None
        if frame is None:
            left[stem] = name
        elif frame in matched:
            raise InputError(f"{folder} has two masks of frame {frame}, {matched[frame]} and {name}: keep one")
        else:
            matched[frame] = name
    return matched, left


def _numbers(stem: str) -> tuple[int, ...] | None:
    return tuple(int(part) for part in re.findall(r"\d+", stem)) or None


class MaskFiles:
    """The masks of a video in one folder, all of one size; their values are mapped to labels together."""

    def __init__(self, folder: Path, files: Mapping[str, str], size: tuple[int, int]) -> None:
        """``files``: file names by the frames' names; ``size``: (H, W)."""
        self.folder, self.size = folder, size
        self._files = files

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def mask(self, name: str) -> np.ndarray:
        """The mask of the frame ``name``: ``[H, W]`` uint8 labels; InputError if it is broken or holds no labels."""
        mask = self._values(name)
        if is_plain(mask):
            return mask.values
        if mask.kind != self.numbering.kind and mask.values.any():
            raise InputError(
                f"{self.folder}: some masks hold {self.numbering.kind}, others {mask.kind} ({self._files[name]}); save "
                "them all in one format"
            )
        return self.numbering.apply(mask.values)

    @cached_property
    def numbering(self) -> Numbering:
        """The labels of the masks' values, from all masks; if one holds labels only, the others are not read."""
        masks = []
        for name in self._files:
            mask = self._values(name)
            masks.append(MaskValues(mask.kind, np.unique(mask.values)))
            if mask.kind == "labels" and objects_in(mask.values):
                masks = [*masks, MaskValues("labels", np.arange(256, dtype=np.uint8))]
                break
        return number_objects(masks, str(self.folder))

    def _values(self, name: str) -> MaskValues:
        path = self.folder / self._files[name]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read the mask {path} ({error.strerror}): check it and try again") from None
        return read_values(data, str(path), self.size)
