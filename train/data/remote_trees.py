"""Trees of videos behind URLs: a video's frames and masks are copied to the cache when it is first drawn.

The least recently used videos make room for new ones ($VOSFORGE_REMOTE_GB). A tree that changes under the same URL is
not noticed: trees are published once.
"""

import fcntl
import hashlib
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from train.data.trees import LazyVideos, open_annotated, usual_resolution
from vosforge import InputError
from vosforge.files import cache_dir, sealed_folder
from vosforge.locks import lock
from vosforge.remote import RemotePath
from vosforge.videos.cache import IN_USE_SECONDS, most_bytes
from vosforge.videos.folders import FRAMES, MASKS, OTHER_FRAMES, OTHER_MASKS
from vosforge.videos.video import Video

SIZE = "bytes"
"""The file in a video's copy that says how large it is."""


@dataclass(frozen=True)
class RemoteVideos(LazyVideos):
    """The videos ``frames/<name>`` with their masks in ``masks/<name>``, on a store."""

    frames_folder: RemotePath
    masks_folder: RemotePath
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def open_video(self, index: int) -> Video:
        """Video ``index``, from 0."""
        name = self.names[index]
        copy = _copied(self.frames_folder / name, self.masks_folder / name)
        return open_annotated(copy / "frames", copy / "masks", name)


def find_remote_videos(root: RemotePath, split: str) -> RemoteVideos | None:
    """The videos with masks of the tree at ``root``, or in its folder ``split``; None if it is no tree of videos."""
    inside = root.folders()
    if split in inside and not {FRAMES, *OTHER_FRAMES} & set(inside):
        root, inside = root / split, (root / split).folders()
    frames_name = next((name for name in (FRAMES, *OTHER_FRAMES) if name in inside), None)
    masks_name = next((name for name in (MASKS, *OTHER_MASKS) if name in inside), None)
    if frames_name is None or masks_name is None:
        return None
    frames, masks = root / frames_name, root / masks_name
    names = frames.folders()
    if (resolution := usual_resolution(names)) is not None:
        frames, masks = frames / resolution, masks / resolution
        names = frames.folders()
    with_masks = set(masks.folders())
    return RemoteVideos(frames, masks, tuple(name for name in names if name in with_masks))


def _copied(frames: RemotePath, masks: RemotePath) -> Path:
    """The folder with a video's copy, fetched if it is missing."""
    place = cache_dir() / "trees"
    copy = place / hashlib.sha256(f"{frames}\n{masks}".encode()).hexdigest()[:24]
    if _touched(copy):
        return copy
    try:
        place.mkdir(parents=True, exist_ok=True)
        with copy.with_suffix(".lock").open("w") as file:
            lock(file, fcntl.LOCK_EX)  # whoever waits here finds what the first one fetched
            if not _touched(copy):
                with sealed_folder(copy) as folder:
                    frames.download_files(folder / "frames")
                    masks.download_files(folder / "masks")
                    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                    (folder / SIZE).write_text(str(size))
                _make_room(place)
    except OSError as error:
        remedy = "free some space, lower VOSFORGE_REMOTE_GB, or name another folder in VOSFORGE_CACHE"
        raise InputError(f"cannot keep a copy of {frames} in {place} ({error.strerror}): {remedy}") from None
    return copy


def _touched(copy: Path) -> bool:
    """Whether a copy is there; marks it as most recently used."""
    try:
        os.utime(copy)
    except FileNotFoundError:
        return False
    return True


def _make_room(place: Path) -> None:
    """Remove the least recently used copies, but none in use, until the rest fits."""
    copies = []
    for note in place.glob(f"*/{SIZE}"):
        with suppress(OSError, ValueError):  # another process makes room too
            copies.append((note.parent.stat().st_mtime, int(note.read_text()), note.parent))
    left = sum(size for _, size, _ in copies)
    for used, size, copy in sorted(copies):
        if left <= most_bytes() or time.time() - used < IN_USE_SECONDS:
            return
        shutil.rmtree(copy, ignore_errors=True)
        copy.with_suffix(".lock").unlink(missing_ok=True)
        left -= size
