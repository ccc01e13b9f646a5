"""Ground truth to evaluate against, from shards or from trees of masks: DAVIS, YouTube-VOS, MOSE, any folders."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vosforge.errors import InputError
from vosforge.log import logger
from vosforge.videos import Place, ShardSet, ShardVideo
from vosforge.videos.amounts import VideoAmounts, amounts_of, measure_video
from vosforge.videos.codec import image_size
from vosforge.videos.folders import (
    FRAMES,
    MASKS,
    OTHER_FRAMES,
    OTHER_MASKS,
    USUAL_RESOLUTION,
    FolderVideo,
    in_time,
    is_frame,
    is_hidden,
)
from vosforge.videos.manifest import has_manifest
from vosforge.videos.masks import MaskFiles
from vosforge.videos.names import categories, frame_names, original_names
from vosforge.videos.video import Video, objects_in

META_FILES = ("meta.json", "META.json")


class Truth(Protocol):
    """The annotated frames of one video."""

    id: str
    names: list[str]
    """Of the annotated frames, in order."""
    frames: frozenset[str] | None
    """The names of all frames, None if unknown."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""

    @property
    def attributes(self) -> Mapping[str, object]:
        """Recorded attributes of the scene."""

    @property
    def listed(self) -> Mapping[int, "ListedObject"]:
        """The objects that the data set's metadata lists; empty if it lists none."""

    def masks(self) -> np.ndarray:
        """The masks of the annotated frames: ``[n, H, W]`` uint8 labels, 255 = void."""

    def frame(self, t: int) -> np.ndarray | None:
        """Annotated frame ``t``: ``[H, W, 3]`` uint8 RGB; None if there are no frames."""

    def video(self) -> Video:
        """The video with its frames; InputError if there are none."""

    def amounts(self, masks: np.ndarray) -> VideoAmounts:
        """What the video asks of a tracker, as far as it is known; ``masks``: those of `masks`."""


@dataclass(frozen=True)
class ListedObject:
    """An object in a data set's metadata."""

    category: str | None = None
    first: str | None = None
    """The name of the first frame that shows it."""


@dataclass
class ShardTruth:
    """A video of a shard."""

    shard_video: ShardVideo

    def __post_init__(self) -> None:
        self.id = self.shard_video.id
        self.names = original_names(self.shard_video)
        self.frames: frozenset[str] | None = frozenset(self.names)
        self.exported = frame_names(self.shard_video)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.shard_video.height, self.shard_video.width

    @cached_property
    def attributes(self) -> Mapping[str, object]:
        """The attributes of the scene it was rendered from."""
        scene = json.loads(self.shard_video.spec_json) if self.shard_video.spec_json else {}
        return {"preset": scene["preset"], **scene.get("attributes", {})} if scene else {}

    @cached_property
    def listed(self) -> Mapping[int, ListedObject]:
        """The objects that are seen, with their categories."""
        names = categories(self.shard_video)
        return {label: ListedObject(names[label - 1]) for label in self.shard_video.object_ids if label <= len(names)}

    def masks(self) -> np.ndarray:
        """All masks ``[T, H, W]`` uint8."""
        return self.shard_video.masks()

    def frame(self, t: int) -> np.ndarray | None:
        """Frame ``t``, or None without colours."""
        return self.shard_video.frame(t) if self.shard_video.has_colors else None

    def video(self) -> Video:
        """The video itself."""
        return self.shard_video

    def amounts(self, masks: np.ndarray) -> VideoAmounts:
        """As recorded, else measured."""
        return amounts_of(self.shard_video)


@dataclass
class FolderTruth:
    """A folder of mask files, one per annotated frame."""

    id: str
    folder: Path
    frames_folder: Path | None = None
    listed: Mapping[int, ListedObject] = field(default_factory=dict)
    attributes: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._files = mask_files(self.folder)
        self.names = list(self._files)
        self.frames = _frames_of(self.frames_folder)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(H, W) of the first mask."""
        path = self.folder / self._files[self.names[0]]
        try:
            return image_size(path.read_bytes())
        except (OSError, ValueError):
            raise InputError(f"cannot read the mask {path}: replace it") from None

    def masks(self) -> np.ndarray:
        """The masks ``[n, H, W]`` uint8; InputError if one is missing, broken or of another size."""
        files = MaskFiles(self.folder, self._files, self.size)
        return np.stack([files.mask(name) for name in self.names])

    def frame(self, t: int) -> np.ndarray | None:
        """The frame of mask ``t``, or None if there is none."""
        if self.frames is None or self.names[t] not in self.frames:
            return None
        video = self.video()
        return video.frame(video.frame_names.index(self.names[t]))

    def video(self) -> FolderVideo:
        """The frames beside the masks."""
        if self.frames_folder is None:
            raise InputError(f"there are no frames beside the masks of {self.id}, {self.folder}: add {FRAMES}")
        return FolderVideo(self.frames_folder, self.folder, self.id)

    def amounts(self, masks: np.ndarray) -> VideoAmounts:
        """Measured by its masks alone; motion is unknown where masks leave frames out."""
        every = self.frames is None or len(self.names) >= len(self.frames)
        return measure_video(masks, max(objects_in(masks), default=0), in_time=every)


def mask_files(folder: Path) -> dict[str, str]:
    """The PNGs of a folder in order of their numbers: file names by names without suffix."""
    names = [path.name for path in folder.iterdir() if is_png(path.name) and path.is_file()]
    return {Path(name).stem: name for name in sorted(names, key=lambda name: (in_time(name), name))}


def is_png(name: str) -> bool:
    """Whether a file may be a mask, by its name."""
    return not is_hidden(name) and name.lower().endswith(".png")


def mask_folders(root: Path) -> dict[str, Path]:
    """The folders below ``root`` that hold masks, by video.

    ``root`` may hold ``Annotations`` or a folder of another usual name, and that a folder per resolution, of which
    480p is preferred.
    """
    inside = next((root / name for name in (MASKS, *OTHER_MASKS) if (root / name).is_dir()), root)
    found: dict[str, Path] = {}
    for folder in folders_below(inside):
        parts = folder.relative_to(inside).parts
        if any(is_hidden(part) for part in parts) or not any(is_png(path.name) for path in folder.iterdir()):
            continue
        resolution = parts[0] if len(parts) > 1 and _is_resolution(parts[0]) else None
        video = "/".join(parts[1:] if resolution else parts) or folder.resolve().name
        if video not in found or resolution == USUAL_RESOLUTION:
            found[video] = folder
    return found


def folders_below(root: Path) -> list[Path]:
    """``root`` and all folders below it, links to folders included, in order."""
    found, seen = [], set()
    for name, inside, _ in os.walk(root, followlinks=True):
        folder = Path(name)
        if folder.resolve() in seen:  # a link that leads up
            inside.clear()
            continue
        seen.add(folder.resolve())
        found.append(folder)
    return sorted(found)


def _is_resolution(name: str) -> bool:
    return name == "Full-Resolution" or (name.endswith("p") and name[:-1].isdecimal())


def open_truth(path: Place, split: str | None = None, year: str = "2017") -> Sequence[Truth]:
    """The videos with ground truth at ``path``, in order.

    ``path``: a data set or shard (local or a URL), or a tree of masks. ``split``: only the videos of that split: of a
    data set (train, val), or named in ``ImageSets/*/SPLIT.txt`` (of DAVIS's ``year`` if there are several).
    InputError if there are none.
    """
    if not isinstance(path, Path) or path.is_file() or has_manifest(path) or (path / "shards").is_dir():
        shards = ShardSet(path)
        found: list[Truth] = [ShardTruth(video) for video in (shards.split(split) if split else shards)]
        if not found:
            known = ", ".join(sorted({str(row.split) for row in shards.videos}))
            where = f" in split {split}; it has {known or 'no videos'}" if split else ""
            raise InputError(f"{path} holds no finished video{where}")
        return found
    if not path.is_dir():
        raise InputError(f"there is no folder {path}: name a data set of shards, or a tree of masks")
    root = _youtube_root(path)
    if parts := [part for part in ("valid", "train", "test") if (root / part / MASKS).is_dir()]:
        raise InputError(f"{path} holds several splits: name one, such as {path / parts[0]}")
    folders = mask_folders(root)
    if not folders:
        raise InputError(f"{path} holds no masks: expected {MASKS}/[480p/]VIDEO/00000.png, or VIDEO/00000.png")
    if split:
        chosen = listed_videos(path, split, year)
        if absent := [name for name in chosen if name not in folders]:
            raise InputError(f"{path} has no masks of {absent[0]}, which its split {split} lists")
        folders = {name: folders[name] for name in chosen}
    meta, frames = _meta(root), _frame_folders(root)
    return [
        FolderTruth(video, folder, frames.get(video), _listed_objects(meta, video, root))
        for video, folder in folders.items()
    ]


def _youtube_root(path: Path) -> Path:
    """Of an exported YouTube-VOS tree, the folder of the full masks of its validation videos."""
    full = path / "all_frames" / "valid_all_frames"
    return full if (full / MASKS).is_dir() else path


def _frame_folders(root: Path) -> dict[str, Path]:
    inside = next((root / name for name in (FRAMES, *OTHER_FRAMES) if (root / name).is_dir()), None)
    if inside is None:
        return {}
    found = {}
    for folder in folders_below(inside):
        parts = folder.relative_to(inside).parts
        found["/".join(parts[1:] if len(parts) > 1 and _is_resolution(parts[0]) else parts)] = folder
    return found


def _frames_of(folder: Path | None) -> frozenset[str] | None:
    names = frozenset(path.stem for path in folder.iterdir() if is_frame(path.name)) if folder else frozenset()
    return names or None


def listed_videos(root: Path, split: str, year: str = "2017") -> list[str]:
    """The videos that ``ImageSets/*/SPLIT.txt`` lists, of DAVIS's ``year`` if several do; InputError if none does."""
    lists = sorted((root / "ImageSets").rglob(f"{split}.txt"), key=lambda path: (path.parent.name == year, path))
    if not lists:
        known = sorted({path.stem for path in (root / "ImageSets").rglob("*.txt")})
        raise InputError(f"{root} has no list ImageSets/*/{split}.txt; it has {', '.join(known) or 'none'}")
    try:
        text = lists[-1].read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{lists[-1]} is not a text in UTF-8: correct it, or leave out --split") from None
    words = [line.split()[0] for line in text.splitlines() if line.strip()]
    # DAVIS 2016 lists frames, /JPEGImages/480p/bear/00000.jpg, not videos.
    names = list(dict.fromkeys(Path(word).parent.name if "/" in word else word for word in words))
    if not names:
        raise InputError(f"{lists[-1]} lists no video: name another split")
    return names


def _meta(root: Path) -> dict[str, Any]:
    """The videos of ``meta.json``, beside the masks or (in an exported tree) beside those given to methods."""
    places = [root]
    if root.name == "valid_all_frames":
        places.append(root.parent.parent / "valid")
    if root.name in (MASKS, *OTHER_MASKS):
        places.append(root.parent)
    path = next((place / name for place in places for name in META_FILES if (place / name).is_file()), None)
    if path is None:
        return {}
    try:
        videos = json.loads(path.read_text())["videos"]
        meta = {str(name): dict(video["objects"]) for name, video in videos.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        logger.warning("%s is not the metadata of YouTube-VOS or MOSE: ignored", path)
        return {}
    logger.info("objects as listed in %s", path)
    return meta


def _listed_objects(meta: dict[str, Any], video: str, root: Path) -> dict[int, ListedObject]:
    found = {}
    for label, item in meta.get(video, {}).items():
        if not str(label).isdecimal():
            raise InputError(f"the metadata in {root} numbers an object of {video} '{label}', not 1, 2, …")
        item = item if isinstance(item, dict) else {}
        frames = item.get("frames") or [None]
        if not isinstance(frames, list):
            raise InputError(f"the metadata in {root} lists no frames for object {label} of {video}: correct it")
        found[int(label)] = ListedObject(item.get("category"), None if frames[0] is None else str(frames[0]))
    return found
