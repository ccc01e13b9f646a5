"""Videos as folders of images or as films, in DAVIS's layout or plain folders. Reading only."""

import re
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

from vosforge import InputError
from vosforge.log import logger
from vosforge.videos.codec import Region, decode, decode_region, image_size
from vosforge.videos.film import Film, is_film
from vosforge.videos.masks import MaskFiles, match_masks
from vosforge.videos.names import numbered
from vosforge.videos.video import objects_in

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
FRAMES, MASKS = "JPEGImages", "Annotations"
OTHER_FRAMES, OTHER_MASKS = ("frames", "images", "rgb"), ("masks", "annotations", "labels", "gt")
"""Common names of these two folders, apart from DAVIS's."""
USUAL_RESOLUTION = "480p"
"""The preferred resolution, if there are several."""
HIDDEN = ("__MACOSX", "@eaDir", "$RECYCLE.BIN")
"""System files and folders without a leading dot."""


class Frames(Protocol):
    """The source of a video's frames: `FrameFiles` or `Film`."""

    height: int
    width: int

    def __len__(self) -> int: ...

    def frame(self, t: int, region: Region | None = None) -> np.ndarray:
        """Frame ``t``, or a region of it: ``[H, W, 3]`` uint8 RGB."""


class FrameFiles:
    """A folder of frames, in the order of their numbers."""

    def __init__(self, folder: Path) -> None:
        """InputError if there are none, one appears twice, or the first is not an image."""
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}; give the folder that holds a video's frames, or a film")
        self.folder, self.paths = folder, _images(folder)
        if not self.paths:
            raise InputError(f"the folder {folder} holds no {', '.join(FRAME_SUFFIXES)} frames")
        for first, second in pairwise(self.paths):
            if first.stem == second.stem:
                raise InputError(f"{folder} has a frame twice, {first.name} and {second.name}: remove one")
        try:
            self.height, self.width = image_size(self.paths[0].read_bytes())
        except (OSError, ValueError):
            raise _unreadable(self.paths[0]) from None

    def __len__(self) -> int:
        return len(self.paths)

    def frame(self, t: int, region: Region | None = None) -> np.ndarray:
        """Frame ``t``, or a region of it: ``[H, W, 3]`` uint8 RGB; InputError for a broken image or another size."""
        path = self.paths[t]
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


def _unreadable(path: Path) -> InputError:
    return InputError(f"cannot read the frame {path}: the file is damaged or not an image; replace or remove it")


class FolderVideo:
    """A folder of frames, or a film, with (optionally) a folder of masks named like the frames.

    `vosforge.videos.masks` describes valid masks. Satisfies ``vosforge.videos.video.Video``.
    """

    has_colors = True

    def __init__(self, frames: Path, masks_folder: Path | None = None, name: str | None = None) -> None:
        """``frames``: the folder or the film. Unusable masks are left out with a warning."""
        self.path = Path(frames)
        self.masks_folder = None if masks_folder is None else Path(masks_folder)
        film = is_film(self.path.name) and self.path.is_file()
        self.id = name or (self.path.stem if film else self.path.name)
        self.frame_names: list[str]
        """The frames' names without suffix: those of the files, or 00000, 00001, … of a film."""
        self._frames: Frames
        if film:
            self._frames = Film(self.path)
            self.frame_names = numbered(len(self._frames))
        else:
            files = FrameFiles(self.path)
            self._frames, self.frame_names = files, [path.stem for path in files.paths]
        self.num_frames, self.height, self.width = len(self._frames), self._frames.height, self._frames.width
        self._unmatched = ""
        """Why the masks do not belong to the frames."""
        self._masks = self._matched()
        self.annotated: tuple[int, ...] = tuple(t for t, name in enumerate(self.frame_names) if name in self._masks)
        """The frames that have a mask."""

    @property
    def has_masks(self) -> bool:
        """Whether every frame has a mask: a folder that annotates some frames only counts as unannotated."""
        return len(self.annotated) == self.num_frames

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
        return self._frames.frame(t, region)

    def mask(self, t: int) -> np.ndarray:
        """Index mask of frame ``t``: ``[H, W]`` uint8; InputError where it is missing, broken or holds no labels."""
        if self.masks_folder is None:
            raise InputError(f"the video '{self.id}' has no masks; only videos with ground truth can be used here")
        name = self.frame_names[t]
        if name not in self._masks:
            raise InputError(self._unmatched or f"the mask {self.masks_folder / name}.png is missing")
        return self._masks.mask(name)

    def frames(self) -> np.ndarray:
        """All frames: ``[T, H, W, 3]`` uint8 RGB."""
        return np.stack([self.frame(t) for t in range(self.num_frames)])

    def masks(self) -> np.ndarray:
        """All masks: ``[T, H, W]`` uint8."""
        return np.stack([self.mask(t) for t in range(self.num_frames)])

    def _matched(self) -> MaskFiles:
        """The masks, by the frames' names."""
        size = (self.height, self.width)
        if self.masks_folder is None or not self.masks_folder.is_dir():
            return MaskFiles(self.path, {}, size)
        files = [path.name for path in self.masks_folder.iterdir() if not is_hidden(path.name) and path.is_file()]
        try:
            return MaskFiles(self.masks_folder, match_masks(self.frame_names, files, str(self.masks_folder)), size)
        except InputError as error:
            logger.warning("video '%s' is used without its masks: %s", self.id, error)
            self._unmatched = str(error)
            return MaskFiles(self.masks_folder, {}, size)


def open_folder(path: Path) -> list[FolderVideo]:
    """The videos at ``path``, in name order.

    ``path`` is a data set root with ``JPEGImages/[<resolution>/]<video>/`` and ``Annotations`` of the same shape, or
    with folders ``frames`` and ``masks``; one video's folder inside such a root; a plain folder of frames or of films;
    or a film. A film ``<video>.mp4`` is taken where a folder ``<video>`` of frames would be. InputError names what is
    missing.
    """
    path = Path(path)
    if path.is_file() and is_film(path.name):
        return [FolderVideo(path, _masks_beside(path))]
    if not path.is_dir():
        raise InputError(f"there is no folder {path}; give a folder of frames, a film or a DAVIS-style data set")
    root = path / FRAMES
    if not root.is_dir():
        if _images(path):
            return [FolderVideo(path, _masks_beside(path))]
        root = next((path / name for name in OTHER_FRAMES if (path / name).is_dir()), path)
    found = videos_below(root) if root != path else [one for one in videos_below(root) if one.parent == path]
    if not found and root == path:
        raise InputError(f"the folder {path} holds neither frames nor films nor {FRAMES}/<video>/ folders")
    if not found:
        raise InputError(f"the folder {root} holds no video: expected {FRAMES}/[480p/]<video>/00000.jpg")
    chosen: dict[str, Path] = {}
    for one in found:
        video_id = path.resolve().name if one == root else one.stem if is_film(one.name) else one.name
        if video_id not in chosen or one.parent.name == USUAL_RESOLUTION:
            chosen[video_id] = one
    return [FolderVideo(one, _masks_beside(one, root), video_id) for video_id, one in sorted(chosen.items())]


def videos_below(root: Path) -> list[Path]:
    """The folders of frames at or below a folder, and films without such a folder."""
    inside = [one for one in root.rglob("*") if not any(is_hidden(part) for part in one.relative_to(root).parts)]
    folders = [one for one in (root, *inside) if one.is_dir() and _images(one)]
    known = set(folders)
    films = [one for one in inside if is_film(one.name) and one.is_file() and one.with_suffix("") not in known]
    return sorted([*folders, *films])


def _masks_beside(frames: Path, root: Path | None = None) -> Path | None:
    """The folder of a video's masks, or None.

    ``.../Annotations/x/y`` for ``.../JPEGImages/x/y``, and ``masks/y`` for the ``frames/y`` of a source whose folder
    of frames is ``root``.
    """
    parts = frames.resolve().parts
    if is_film(parts[-1]):
        parts = (*parts[:-1], Path(parts[-1]).stem)
    if FRAMES in parts:
        at = len(parts) - 1 - parts[::-1].index(FRAMES)
        folder = Path(*parts[:at], MASKS, *parts[at + 1 :])
        return folder if folder.is_dir() else None
    if root is None or root.name not in OTHER_FRAMES:
        return None
    inside = parts[len(root.resolve().parts) :]
    return next((root.parent / name / Path(*inside) for name in OTHER_MASKS if (root.parent / name).is_dir()), None)


def in_time(name: str) -> list[tuple[int, str]]:
    """A key that sorts 2 before 10, and zero-padded names as plain sorting does."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def is_hidden(name: str) -> bool:
    """Whether a file or folder is a system's: macOS's ``._00000.jpg``, ``.ipynb_checkpoints``, ``@eaDir``."""
    return name.startswith(".") or name in HIDDEN


def is_frame(name: str) -> bool:
    """Whether a file is a frame by its name: an image that is not hidden."""
    return not is_hidden(name) and Path(name).suffix.lower() in FRAME_SUFFIXES


def _images(folder: Path) -> list[Path]:
    found = (path for path in folder.iterdir() if is_frame(path.name) and path.is_file())
    return sorted(found, key=lambda path: (in_time(path.name), path.name))
