"""Sealing videos: a finished video becomes one staged file, and the staged files of a shard become the shard.

Every file appears atomically (`vosforge.files.sealed_file`), so a kill at any time leaves only complete files.
"""

from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from vosforge.errors import VOSForgeError
from vosforge.files import sealed_file, write_sealed
from vosforge.terms import VOID
from vosforge.trouble import unread
from vosforge.videos.format import (
    FORMAT,
    FORMAT_VERSION,
    VideoRecord,
    VideoRow,
    attributes_checksum,
    boxes,
    checksum,
    shard_name,
    to_json,
    visible_area,
)
from vosforge.videos.passes import FRAMES, PASSES
from vosforge.videos.reader import DAMAGE, ShardVideo, shard_rows
from vosforge.videos.texts import text_array, write_text

# Shuffled bits would save a twelfth of the masks' bytes and take twice as long to decode.
MASK_CODEC = hdf5plugin.Blosc(cname="zstd", clevel=5, shuffle=hdf5plugin.Blosc.NOSHUFFLE)
PASS_CODEC = hdf5plugin.Blosc(cname="zstd", clevel=1, shuffle=hdf5plugin.Blosc.BITSHUFFLE)
# HDF5 1.10's layout has checksums on its own bookkeeping, and no limit on the size of attributes.
LAYOUT = ("v110", "v110")


def stage_video(path: Path, record: VideoRecord) -> VideoRow:
    """Seal one video as a shard of its own at ``path`` and return its row."""
    K = len(record.category)
    area = visible_area(record.mask, K)
    row = VideoRow(
        id=record.id,
        shard=path.name,
        split=record.split,
        num_frames=len(record.mask),
        height=record.mask.shape[1],
        width=record.mask.shape[2],
        num_objects=K,
        attempt=record.attributes.get("attempt", 0),
        colors=bool(record.rgb),
        bytes=sum(map(len, record.rgb)),
        least_coverage=round(float(area.sum(axis=1).min() / record.mask[0].size), 6),
        passes=tuple(name for name, datasets in PASSES.items() if record.passes.keys() >= set(datasets)),
        darkest=record.darkest,
    )
    with sealed_file(path) as temporary, _new_shard(temporary) as file:
        group = file.create_group(f"videos/{record.id}")
        if record.rgb:
            data = np.frombuffer(b"".join(record.rgb), np.uint8)
            offsets = np.cumsum([0, *map(len, record.rgb)], dtype=np.int64)
            write_text(_put(group, "rgb/data", data).attrs, "encoding", record.encoding)
            _put(group, "rgb/offsets", offsets)
        mask = _put_frames(group, "mask", record.mask, MASK_CODEC)
        if record.void:
            mask.attrs["void"] = VOID
        for name, array in record.passes.items():
            if name in FRAMES:
                _put_frames(group, name, array, MASK_CODEC if name == "amodal" else PASS_CODEC)
            else:
                _put(group, name, array)
        _put(group, "objects/visible_area", area)
        _put(group, "objects/box", boxes(record.mask, K))
        _put(group, "objects/category", text_array(record.category))
        if record.scene is not None:
            _put(group, "camera/intrinsics", record.scene.intrinsics)
            _put(group, "camera/world_to_camera", record.scene.world_to_camera)
            _put(group, "objects/pose", record.scene.pose)
            _put(group, "objects/asset", text_array(record.scene.asset))
            for content, array in record.scene.baked.items():
                if array.dtype == np.float32:  # a cloth's vertices
                    _put_frames(group, f"baked/{content}", array, PASS_CODEC)
                else:
                    _put(group, f"baked/{content}", array)
            write_text(group.attrs, "spec", record.scene.spec)
        write_text(group.attrs, "attributes", to_json(record.attributes))
        write_text(group.attrs, "row", to_json(row.model_dump(mode="json", exclude={"shard"})))
        write_text(group.attrs, "checksum", attributes_checksum(group.attrs))
    return row


def quarantine_video(path: Path, video_id: str, reason: str) -> None:
    """Record at ``path`` (beside the staged video) that ``video_id`` is quarantined, and why."""
    write_sealed(path, to_json({"id": video_id, "reason": reason}))


def pack_shard(root: Path, number: int, staged: list[Path], quarantined: Mapping[str, str]) -> Path:
    """Copy the videos of ``staged`` files into shard ``number`` below ``root`` and seal it; returns its path.

    ``quarantined`` (id to reason) is kept in the shard: what is missing is known from the shard alone. Data sets are
    copied as stored, nothing is encoded again. A shard that is there may be among the files: the new one replaces it.
    """
    path = root / shard_name(number)
    with sealed_file(path) as temporary, _new_shard(temporary) as shard:
        write_text(shard.attrs, "quarantined", to_json(dict(quarantined)))
        videos = shard.create_group("videos")
        held = sorted((video_id, source) for source in staged for video_id in _video_ids(source))
        for source, group in groupby(held, key=itemgetter(1)):
            with h5py.File(source, "r", locking=False) as file:
                for video_id, _ in group:
                    file.copy(f"videos/{video_id}", videos)
    return path


def unpack_video(shard: Path, video_id: str, path: Path) -> None:
    """Seal one video of a shard at ``path`` as it was staged once: copied as stored, then read back.

    Raises VOSForgeError, and seals nothing, if a checksum does not match.
    """
    with sealed_file(path) as temporary:
        try:
            with h5py.File(shard, "r", locking=False) as source, _new_shard(temporary) as file:
                source.copy(f"videos/{video_id}", file.create_group("videos"))
        except DAMAGE as error:
            told = VOSForgeError(f"video {video_id} cannot be copied from {shard} ({error}): render it again")
            raise unread(f"video {video_id} in {shard}", error, told) from None
        (row,) = shard_rows(temporary)
        ShardVideo(temporary, row).verify()


def _video_ids(path: Path) -> list[str]:
    with h5py.File(path, "r", locking=False) as file:
        return list(file["videos"])


def _new_shard(path: Path) -> h5py.File:
    file = h5py.File(path, "w", libver=LAYOUT)
    write_text(file.attrs, "format", FORMAT)
    file.attrs["version"] = FORMAT_VERSION
    return file


def _put_frames(group: h5py.Group, name: str, array: np.ndarray, codec: hdf5plugin.Blosc) -> h5py.Dataset:
    """Store ``array [T, ...]`` with one frame per chunk.

    The Fletcher-32 checksum is verified before a damaged chunk reaches the decompressor.
    """
    return _put(group, name, array, chunks=(1, *array.shape[1:]), fletcher32=True, **codec)


def _put(group: h5py.Group, name: str, array: np.ndarray, **options: Any) -> h5py.Dataset:
    dataset = group.create_dataset(name, data=array, **options)
    write_text(dataset.attrs, "checksum", checksum(array))
    return dataset
