"""YouTube-VOS's layout. Writing only.

``train/`` has JPEGs, masks of every frame and ``meta.json``. ``valid/`` has what the official one gives to a method:
JPEGs, ``meta.json``, and one mask for every frame in which an object appears for the first time, with those new
objects only (anything more would give a method true masks to restart from). The published loaders read its frames from
``all_frames/valid_all_frames/JPEGImages``; they are repeated as hard links. Beside them the full masks are
kept in ``all_frames/valid_all_frames/Annotations``, which no loader opens, to score with.
"""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tools.convert.writing import label_mask, objects_seen, palette_png, write_frames, write_masks
from vosforge.videos import ShardVideo
from vosforge.videos.names import categories, frame_names


def write_youtube(videos: Iterable[ShardVideo], folder: Path) -> None:
    """Write ``videos`` to ``folder``: split train to ``train/``, split val to ``valid/`` and ``all_frames/``."""
    meta: dict[str, dict[str, Any]] = {}
    for video in videos:
        if video.row.split == "val":
            root, full = folder / "valid", folder / "all_frames" / "valid_all_frames"
            write_frames(video, root / "JPEGImages" / video.id)
            _link_files(root / "JPEGImages" / video.id, full / "JPEGImages" / video.id)
            write_masks(video, full / "Annotations" / video.id)
            _write_first_masks(video, root / "Annotations" / video.id)
        else:
            root = folder / "train"
            write_frames(video, root / "JPEGImages" / video.id)
            write_masks(video, root / "Annotations" / video.id)
        meta.setdefault(root.name, {})[video.id] = {"objects": _objects(video)}
    for part, described in meta.items():
        (folder / part / "meta.json").write_text(json.dumps({"videos": described}))


def _objects(video: ShardVideo) -> dict[str, dict[str, Any]]:
    """The objects of a video that are seen, by their number as text: category, and the frames that show them."""
    names, kinds = frame_names(video), categories(video)
    frames: dict[int, list[str]] = {}
    for t, name in enumerate(names):
        for label in objects_seen(video, video.mask(t)):
            frames.setdefault(label, []).append(name)
    return {str(label): {"category": kinds[label - 1], "frames": frames[label]} for label in sorted(frames)}


def _write_first_masks(video: ShardVideo, folder: Path) -> None:
    folder.mkdir(parents=True)
    known: set[int] = set()
    for t, name in enumerate(frame_names(video)):
        mask = label_mask(video, t)
        new = [label for label in objects_seen(video, mask) if label not in known]
        known.update(new)
        # A video that never shows an object gets one empty mask: the loaders take the first for granted.
        if new or (t == video.num_frames - 1 and not known):
            (folder / f"{name}.png").write_bytes(palette_png(np.where(np.isin(mask, new), mask, np.uint8(0))))


def _link_files(source: Path, target: Path) -> None:
    """Give the files of ``source`` a second name in ``target``; copies where the file system has no hard links."""
    target.mkdir(parents=True)
    for path in source.iterdir():
        try:
            os.link(path, target / path.name)
        except OSError:
            shutil.copyfile(path, target / path.name)
