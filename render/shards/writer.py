"""Sealing videos: a finished video becomes one staged file, and the staged files of a shard become the shard.

Every file appears whole or not at all (`vosforge.files.sealed_file`), so a kill at any instant leaves only whole ones.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from render.shards.format import (
    FORMAT,
    FORMAT_VERSION,
    VideoRecord,
    VideoRow,
    boxes,
    checksum,
    shard_name,
    to_json,
    visible_area,
)
from vosforge.files import sealed_file, write_sealed

MASK_CODEC = hdf5plugin.Blosc(cname="zstd", clevel=5, shuffle=hdf5plugin.Blosc.SHUFFLE)


def stage_video(path: Path, record: VideoRecord) -> VideoRow:
    """Seal one video as a shard of its own at ``path`` and return its row."""
    area = visible_area(record.mask, len(record.asset))
    row = VideoRow(
        id=record.id,
        shard=path.name,
        split=record.split,
        num_frames=len(record.rgb),
        height=record.mask.shape[1],
        width=record.mask.shape[2],
        num_objects=len(record.asset),
        attempt=record.attributes.get("attempt", 0),
        bytes=sum(map(len, record.rgb)),
        least_coverage=round(float(area.sum(axis=1).min() / record.mask[0].size), 6),
        darkest=record.darkest,
    )
    with sealed_file(path) as temporary, h5py.File(temporary, "w") as file:
        _mark(file)
        group = file.create_group(f"videos/{record.id}")
        data = np.frombuffer(b"".join(record.rgb), np.uint8)
        offsets = np.cumsum([0, *map(len, record.rgb)], dtype=np.int64)
        _put(group, "rgb/data", data).attrs["encoding"] = record.encoding
        _put(group, "rgb/offsets", offsets)
        _put(group, "mask", record.mask, chunks=(1, *record.mask.shape[1:]), **MASK_CODEC)
        _put(group, "camera/intrinsics", record.intrinsics)
        _put(group, "camera/world_to_camera", record.world_to_camera)
        _put(group, "objects/pose", record.pose)
        _put(group, "objects/visible_area", area)
        _put(group, "objects/box", boxes(record.mask, len(record.asset)))
        group["objects"].create_dataset("asset", data=list(record.asset), dtype=h5py.string_dtype())
        group["objects"].create_dataset("category", data=list(record.category), dtype=h5py.string_dtype())
        group.attrs["spec"] = record.spec
        group.attrs["attributes"] = to_json(record.attributes)
        group.attrs["row"] = to_json(row.model_dump(mode="json", exclude={"shard"}))
    return row


def quarantine_video(path: Path, video_id: str, reason: str) -> None:
    """Record at ``path`` (beside where the video would be staged) that ``video_id`` cannot be had, and why."""
    write_sealed(path, to_json({"id": video_id, "reason": reason}))


def pack_shard(root: Path, number: int, staged: list[Path], quarantined: Mapping[str, str]) -> Path:
    """Copy staged videos into shard ``number`` below ``root`` and seal it; returns its path.

    ``quarantined`` (id to reason) is kept in the shard: what is missing is known from the shard alone. Data sets are
    copied as stored, nothing is encoded again.
    """
    path = root / shard_name(number)
    with sealed_file(path) as temporary, h5py.File(temporary, "w") as shard:
        _mark(shard)
        shard.attrs["quarantined"] = to_json(dict(quarantined))
        videos = shard.create_group("videos")
        for source in sorted(staged):
            with h5py.File(source, "r") as file:
                for video_id in file["videos"]:
                    file.copy(f"videos/{video_id}", videos)
    return path


def _mark(file: h5py.File) -> None:
    file.attrs["format"] = FORMAT
    file.attrs["version"] = FORMAT_VERSION


def _put(group: h5py.Group, name: str, array: np.ndarray, **options: Any) -> h5py.Dataset:
    dataset = group.create_dataset(name, data=array, **options)
    dataset.attrs["checksum"] = checksum(array)
    return dataset
