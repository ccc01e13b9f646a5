"""HDF5 shards: the contract between rendering and everything else."""

from vosforge.remote import Place, place
from vosforge.videos.dataset import ShardSet
from vosforge.videos.format import SceneRecord, VideoRecord, VideoRow
from vosforge.videos.manifest import append_manifest, build_manifest, read_manifest
from vosforge.videos.reader import ShardVideo
from vosforge.videos.writer import pack_shard, quarantine_video, stage_video

__all__ = [
    "Place",
    "SceneRecord",
    "ShardSet",
    "ShardVideo",
    "VideoRecord",
    "VideoRow",
    "append_manifest",
    "build_manifest",
    "pack_shard",
    "place",
    "quarantine_video",
    "read_manifest",
    "stage_video",
]
