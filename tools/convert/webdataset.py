"""Tar shards for the webdataset package: one sample a video. Writing only.

A clip needs several frames of one video, and a webdataset is read in order, so a video is one sample: ``<video>.json``
first, then ``<video>.00000.jpg``, ``<video>.00000.png``, and so on. webdataset takes what stands before a name's first
dot for the key and the rest for the field, so the fields are ``json``, ``00000.jpg``, ``00000.png``, …, and a dot in a
video's name is written as an underscore (``id`` in the JSON has it as it was). Frames count from 00000 whatever they
were called before. A split's tars are ``<split>-000000.tar``, …; a tar holds whole videos.
"""

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

from tools.convert.writing import jpeg, label_mask, palette_png
from vosforge.errors import InputError
from vosforge.videos import ShardVideo
from vosforge.videos.names import categories, frame_names

MEGABYTE = 1_000_000


def write_webdataset(videos: Iterable[ShardVideo], folder: Path, shard_size: int) -> None:
    """Write ``videos`` to tars below ``folder``; one is closed when it has ``shard_size`` megabytes.

    InputError when two videos get one key.
    """
    keys: dict[str, str] = {}
    tars: dict[str, tarfile.TarFile] = {}
    counts: dict[str, int] = {}
    try:
        for video in videos:
            key = video.id.replace(".", "_")
            if keys.setdefault(key, video.id) != video.id:
                raise InputError(
                    f"the videos {keys[key]} and {video.id} would both get the key {key}: choose one with --video"
                )
            split = video.row.split or "train"
            if split not in tars or tars[split].offset >= shard_size * MEGABYTE:
                if split in tars:
                    tars.pop(split).close()
                number = counts[split] = counts.get(split, -1) + 1
                tars[split] = _new_tar(folder / f"{split}-{number:06d}.tar")
            _add_video(tars[split], key, video)
    finally:
        for tar in tars.values():
            tar.close()


def _add_video(tar: tarfile.TarFile, key: str, video: ShardVideo) -> None:
    _add(tar, f"{key}.json", json.dumps(_description(video)).encode())
    for t in range(video.num_frames):
        _add(tar, f"{key}.{t:05d}.jpg", jpeg(video, t))
        _add(tar, f"{key}.{t:05d}.png", palette_png(label_mask(video, t)))


def _description(video: ShardVideo) -> dict[str, object]:
    return {
        "id": video.id,
        "split": video.row.split,
        "num_frames": video.num_frames,
        "height": video.height,
        "width": video.width,
        "categories": categories(video),
        "void": video.void,
        "frame_names": frame_names(video),
        "attributes": video.attributes,
    }


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _new_tar(path: Path) -> tarfile.TarFile:
    return tarfile.open(path, "w", format=tarfile.PAX_FORMAT)
