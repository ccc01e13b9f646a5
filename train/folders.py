"""Videos kept as folders of images: DAVIS's layout, or a plain folder of frames. Reading only."""

import re
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from render.shards.codec import Region, decode, decode_region, image_size
from train.video import VOID, objects_in
from vosforge import InputError

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class FolderVideo:
    """A folder of frames, in the order of their numbers, with (optionally) a folder of index masks named like them.

    Masks are palette or 8-bit grey PNGs whose values are the labels. Satisfies ``train.video.Video``.
    """

    has_colors = True

    def __init__(self, frames_folder: Path, masks_folder: Path | None = None, name: str | None = None) -> None:
        self.frames_folder = Path(frames_folder)
        self.masks_folder = None if masks_folder is None else Path(masks_folder)
        self.id = name or self.frames_folder.name
        if not self.frames_folder.is_dir():
            raise InputError(f"there is no folder {self.frames_folder}; give the folder that holds a video's frames")
        self.frame_paths = _images(self.frames_folder)
        if not self.frame_paths:
            raise InputError(f"the folder {self.frames_folder} holds no {', '.join(FRAME_SUFFIXES)} frames")
        for first, second in pairwise(self.frame_paths):
            if first.stem == second.stem:
                raise InputError(f"{self.frames_folder} has a frame twice, {first.name} and {second.name}: remove one")
        try:
            self.height, self.width = image_size(self.frame_paths[0].read_bytes())
        except (OSError, ValueError):
            raise _unreadable(self.frame_paths[0]) from None

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.frame_paths)

    @property
    def frame_names(self) -> list[str]:
        """The frames' names without suffix."""
        return [path.stem for path in self.frame_paths]

    @property
    def has_masks(self) -> bool:
        """Whether every frame has a mask: a folder that annotates some frames only counts as unannotated."""
        return self.masks_folder is not None and all(self._mask_path(t).is_file() for t in range(self.num_frames))

    @property
    def num_objects(self) -> int:
        """K."""
        return len(self.object_ids)

    @cached_property
    def object_ids(self) -> tuple[int, ...]:
        """The mask values of the objects over all frames, ascending; reads every mask once."""
        if not self.has_masks:
            return ()
        found: set[int] = set()
        for t in range(self.num_frames):
            found.update(objects_in(self.mask(t)))
        return tuple(sorted(found))

    def frame(self, t: int, region: Region | None = None) -> np.ndarray:
        """Frame ``t``, or a region of it: ``[H, W, 3]`` uint8 RGB; InputError for a broken image or another size."""
        path = self.frame_paths[t]
        try:
            data = path.read_bytes()
            height, width = image_size(data)
        except (OSError, ValueError):
            raise _unreadable(path) from None
        if (height, width) != (self.height, self.width):
            raise InputError(
                f"the frame {path} is {width}x{height} but the video's first one "
                f"{self.width}x{self.height}; make them equal"
            )
        try:
            return decode(data, (height, width)) if region is None else decode_region(data, (height, width), region)
        except ValueError as error:
            raise InputError(f"the frame {path} does not decode ({error}): replace or remove it") from None

    def mask(self, t: int) -> np.ndarray:
        """Index mask of frame ``t``: ``[H, W]`` uint8; InputError where it is missing, broken or no index mask."""
        if self.masks_folder is None:
            raise InputError(f"the video '{self.id}' has no masks; only videos with ground truth can be used here")
        path = self._mask_path(t)
        try:
            with Image.open(path) as image:
                if image.mode not in ("P", "L", "1"):
                    raise InputError(
                        f"the mask {path} has {image.mode} pixels; it must be a palette or 8-bit grey PNG of labels"
                    )
                mask = np.array(image, np.uint8)
                if image.mode == "L" and objects_in(mask) == ():
                    # Grey masks drawn as black and white mean one object; only palette masks use 255 for void.
                    mask = np.where(mask == VOID, np.uint8(1), mask)
        except FileNotFoundError:
            raise InputError(f"the mask {path} is missing") from None
        except (UnidentifiedImageError, OSError, SyntaxError):
            raise InputError(f"cannot read the mask {path}: the file is damaged or no image") from None
        if mask.shape != (self.height, self.width):
            raise InputError(
                f"the mask {path} is {mask.shape[1]}x{mask.shape[0]}, its frame {self.width}x{self.height}"
            )
        return mask

    def frames(self) -> np.ndarray:
        """All frames: ``[T, H, W, 3]`` uint8 RGB."""
        return np.stack([self.frame(t) for t in range(self.num_frames)])

    def masks(self) -> np.ndarray:
        """All masks: ``[T, H, W]`` uint8."""
        return np.stack([self.mask(t) for t in range(self.num_frames)])

    def _mask_path(self, t: int) -> Path:
        assert self.masks_folder is not None
        return self.masks_folder / f"{self.frame_paths[t].stem}.png"


def _unreadable(path: Path) -> InputError:
    return InputError(f"cannot read the frame {path}: the file is damaged or no image; replace or remove it")


def open_folder(path: Path) -> list[FolderVideo]:
    """The videos at ``path``, in name order.

    ``path`` is a data set root with ``JPEGImages/[<resolution>/]<video>/`` and ``Annotations`` of the same shape, one
    video's folder inside such a root, or a plain folder of frames. InputError names what is missing.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"there is no folder {path}; give a folder of frames or a DAVIS-style data set")
    images = path / "JPEGImages"
    if not images.is_dir():
        if _images(path):
            return [FolderVideo(path, _annotations_beside(path))]
        raise InputError(f"the folder {path} holds neither frames nor JPEGImages/<video>/ folders")
    folders = sorted(folder for folder in images.rglob("*") if folder.is_dir() and _images(folder))
    if not folders:
        raise InputError(f"the folder {images} holds no video: expected JPEGImages/[480p/]<video>/00000.jpg")
    return [FolderVideo(folder, _annotations_beside(folder)) for folder in folders]


def _annotations_beside(frames_folder: Path) -> Path | None:
    """``.../Annotations/x/y`` for ``.../JPEGImages/x/y``, where it exists."""
    parts = frames_folder.resolve().parts
    if "JPEGImages" not in parts:
        return None
    at = len(parts) - 1 - parts[::-1].index("JPEGImages")
    folder = Path(*parts[:at], "Annotations", *parts[at + 1 :])
    return folder if folder.is_dir() else None


def in_time(name: str) -> list[tuple[int, str]]:
    """A key that sorts 2 before 10, and zero-padded names as plain sorting does."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def is_frame(name: str) -> bool:
    """Whether a file is a frame by its name: an image, and not hidden as macOS's ``._00000.jpg``."""
    return not name.startswith(".") and Path(name).suffix.lower() in FRAME_SUFFIXES


def _images(folder: Path) -> list[Path]:
    found = (path for path in folder.iterdir() if is_frame(path.name) and path.is_file())
    return sorted(found, key=lambda path: (in_time(path.name), path.name))
