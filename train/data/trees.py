"""Folders to train on, opened lazily: trees of videos (DAVIS, YouTube-VOS, BL30K, frames and masks) and of stills.

A sequence of videos here holds names only; a video is opened when it is asked for. All of it may be pickled.
"""

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image

from vosforge import InputError
from vosforge.videos.codec import Region, decode, decode_region, image_size
from vosforge.videos.film import is_film
from vosforge.videos.folders import (
    FRAME_SUFFIXES,
    FRAMES,
    MASKS,
    OTHER_FRAMES,
    OTHER_MASKS,
    USUAL_RESOLUTION,
    FolderVideo,
    is_frame,
    is_hidden,
)
from vosforge.videos.masks import NO_IMAGE
from vosforge.videos.video import Video, objects_in, objects_through

MAX_OPEN = 64
"""Listings of folders that a process keeps."""
STILL_MASKS = (*OTHER_MASKS, "mask", "ground_truth_mask", "ground_truth", MASKS)
"""Usual names of the folder of masks beside that of images."""
STILL_IMAGES = (*OTHER_FRAMES, "image", FRAMES)
BRIGHT = 128


class AnnotatedVideo:
    """The annotated frames of a folder's video, as a video of its own: t counts these frames only."""

    has_colors = True

    def __init__(self, video: FolderVideo) -> None:
        self.video = video
        self.id, self.num_frames = video.id, len(video.annotated)
        self.height, self.width = video.height, video.width

    @property
    def has_masks(self) -> bool:
        """Whether any frame is annotated."""
        return self.num_frames > 0

    @property
    def spacing(self) -> int:
        """Frames of the whole video from one annotated frame to the next (the median)."""
        gaps = np.diff(self.video.annotated)
        return max(int(np.median(gaps)), 1) if len(gaps) else 1

    @property
    def num_objects(self) -> int:
        """K."""
        return len(self.object_ids)

    @cached_property
    def object_ids(self) -> tuple[int, ...]:
        """The mask values of the objects, ascending; reads every mask once."""
        return objects_through(self.num_frames, self.mask)

    def frame(self, t: int, region: Region | None = None) -> np.ndarray:
        """Annotated frame ``t``, or a region of it: ``[H, W, 3]`` uint8 RGB."""
        return self.video.frame(self.video.annotated[t], region)

    def mask(self, t: int) -> np.ndarray:
        """The mask of annotated frame ``t``: ``[H, W]`` uint8."""
        return self.video.mask(self.video.annotated[t])

    def frames(self) -> np.ndarray:
        """All annotated frames: ``[T, H, W, 3]`` uint8 RGB."""
        return np.stack([self.frame(t) for t in range(self.num_frames)])

    def masks(self) -> np.ndarray:
        """All masks: ``[T, H, W]`` uint8."""
        return np.stack([self.mask(t) for t in range(self.num_frames)])


@lru_cache(maxsize=MAX_OPEN)
def open_annotated(frames: Path, masks: Path, name: str) -> AnnotatedVideo:
    """The video of a folder of frames (or film) and a folder of masks; its listing is kept for a while."""
    return AnnotatedVideo(FolderVideo(frames, masks, name))


def video_id(name: str) -> str:
    """The id of the video in a folder or film ``name``."""
    return Path(name).stem if is_film(name) else name


class LazyVideos(Sequence[Video]):
    """Videos opened when they are asked for, each time anew; subclasses give ``__len__`` and ``open_video``."""

    def open_video(self, index: int) -> Video:
        """Open video ``index``, from 0."""
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> Video: ...
    @overload
    def __getitem__(self, index: slice) -> list[Video]: ...
    def __getitem__(self, index: int | slice) -> Video | list[Video]:
        """One video, or several."""
        if isinstance(index, slice):
            return [self.open_video(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self.open_video(index % len(self))


@dataclass(frozen=True)
class TreeVideos(LazyVideos):
    """The videos ``frames/<name>`` with their masks in ``masks/<name>``; of a film, its stem."""

    frames_folder: Path
    masks_folder: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def open_video(self, index: int) -> Video:
        """Video ``index``, from 0."""
        name = self.names[index]
        return open_annotated(self.frames_folder / name, self.masks_folder / video_id(name), video_id(name))


def find_videos(root: Path) -> TreeVideos | None:
    """The videos with masks below a data set's ``root``, in name order; None if it is no tree of videos.

    Frames are in ``JPEGImages/[480p/]<video>/`` (or ``frames``, …), masks in ``Annotations`` (or ``masks``, …) of the
    same shape. Only folders are listed, not the files of each video.
    """
    for frames_name in (FRAMES, *OTHER_FRAMES):
        frames = root / frames_name
        masks = next((root / name for name in (MASKS, *OTHER_MASKS) if (root / name).is_dir()), None)
        if masks is None or not frames.is_dir():
            continue
        if (resolution := usual_resolution(_folders(frames))) is not None:
            frames, masks = frames / resolution, masks / resolution
        with_masks = set(_folders(masks))
        films = [entry.name for entry in os.scandir(frames) if is_film(entry.name) and not is_hidden(entry.name)]
        found = [*_folders(frames), *films]
        names = [name for name in found if video_id(name) in with_masks]
        if names:
            return TreeVideos(frames, masks, tuple(sorted(names)))
    return None


class StillVideo:
    """An image and its mask as a video of one frame.

    Masks are palette PNGs of labels, or grey: one object, cut at half brightness, if most of what is not black is
    bright (as published masks of salient objects are, with soft edges), else labels. Black and white is one object.
    """

    has_colors = has_masks = True
    num_frames = 1

    def __init__(self, image: Path, mask: Path, name: str) -> None:
        """InputError if the image is damaged."""
        self.image_path, self.mask_path, self.id = image, mask, name
        try:
            self.height, self.width = image_size(image.read_bytes())
        except (OSError, ValueError):
            raise InputError(f"cannot read the image {image}: replace or remove it") from None

    @property
    def num_objects(self) -> int:
        """K."""
        return len(self.object_ids)

    @cached_property
    def object_ids(self) -> tuple[int, ...]:
        """The mask's objects, ascending."""
        return objects_in(self.mask(0))

    def frame(self, t: int, region: Region | None = None) -> np.ndarray:
        """The image, or a region of it: ``[H, W, 3]`` uint8 RGB."""
        size = self.height, self.width
        try:
            data = self.image_path.read_bytes()
            return decode(data, size) if region is None else decode_region(data, size, region)
        except (OSError, ValueError) as error:
            raise InputError(f"the image {self.image_path} does not decode ({error}): replace or remove it") from None

    def mask(self, t: int) -> np.ndarray:
        """The mask: ``[H, W]`` uint8 labels; InputError for damage, or another size than the image's."""
        try:
            with Image.open(io.BytesIO(self.mask_path.read_bytes())) as image:
                indexed = image.mode in ("P", "1")
                labels = np.array(image if indexed else image.convert("L"), np.uint8)
        except NO_IMAGE:
            raise InputError(f"the mask {self.mask_path} is damaged or not an image: replace or remove it") from None
        if labels.shape != (self.height, self.width):
            size = f"{labels.shape[1]}x{labels.shape[0]}"
            raise InputError(f"the mask {self.mask_path} is {size}, its image {self.width}x{self.height}: remove both")
        bright = labels >= BRIGHT
        one_object = not objects_in(labels) or (not indexed and 2 * bright.sum() >= np.count_nonzero(labels))
        return bright.astype(np.uint8) if one_object else labels

    def frames(self) -> np.ndarray:
        """The image: ``[1, H, W, 3]`` uint8 RGB."""
        return self.frame(0)[None]

    def masks(self) -> np.ndarray:
        """The mask: ``[1, H, W]`` uint8."""
        return self.mask(0)[None]


@dataclass(frozen=True)
class Stills(LazyVideos):
    """Images with masks: pairs of paths below ``root``."""

    root: Path
    pairs: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.pairs)

    def open_video(self, index: int) -> Video:
        """Video ``index``, from 0."""
        image, mask = self.pairs[index]
        return StillVideo(self.root / image, self.root / mask, str(Path(image).with_suffix("")))


def find_stills(root: Path) -> Stills | None:
    """The images with masks at or below ``root``, in name order; None if there are none.

    A mask is the PNG of the image's name beside it (FSS, BIG, HRSOD), in ``masks/`` beside ``images/`` (ECSSD; other
    usual names too), or in ``X-Mask/`` beside ``X-Image/`` (DUTS).
    """
    pairs: list[tuple[str, str]] = []
    for folder in _folders_below(root):
        masks = _mask_folder(folder)
        held = {Path(name).stem: name for name in _files(masks) if name.lower().endswith(".png")}
        for name in _files(folder):
            mask = held.get(Path(name).stem)
            suffixes = FRAME_SUFFIXES if masks != folder else tuple(s for s in FRAME_SUFFIXES if s != ".png")
            if mask is not None and is_frame(name) and name.lower().endswith(suffixes):
                pairs.append((str((folder / name).relative_to(root)), os.path.relpath(masks / mask, root)))
    return Stills(root, tuple(sorted(pairs))) if pairs else None


def _mask_folder(images: Path) -> Path:
    """The folder of the masks of a folder of images: another of a usual name beside it, or itself."""
    if images.name.endswith("-Image"):
        beside = [images.with_name(f"{images.name.removesuffix('-Image')}-Mask")]
    else:
        beside = [images.with_name(name) for name in STILL_MASKS] if images.name in STILL_IMAGES else []
    return next((folder for folder in beside if folder.is_dir()), images)


def _folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not is_hidden(entry.name) and entry.is_dir())


def _files(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not is_hidden(entry.name) and entry.is_file())


def _folders_below(root: Path) -> Iterator[Path]:
    yield root
    for name in _folders(root):
        yield from _folders_below(root / name)


def usual_resolution(folders: Sequence[str]) -> str | None:
    """Of the folders of frames, the one of the resolution to use; None if there are none for resolutions."""
    found = [name for name in folders if name == "Full-Resolution" or (name[-1] == "p" and name[:-1].isdecimal())]
    return USUAL_RESOLUTION if USUAL_RESOLUTION in found else next(iter(found), None)
