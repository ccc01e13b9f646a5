"""HDF5 shards: the contract between rendering and everything else."""

from render.shards.dataset import ShardSet
from render.shards.format import SceneRecord, VideoRecord, VideoRow
from render.shards.manifest import build_manifest, read_manifest
from render.shards.reader import ShardVideo
from render.shards.remote import Place, place
from render.shards.writer import pack_shard, quarantine_video, stage_video

__all__ = [
    "Place",
    "SceneRecord",
    "ShardSet",
    "ShardVideo",
    "VideoRecord",
    "VideoRow",
    "build_manifest",
    "pack_shard",
    "place",
    "quarantine_video",
    "read_manifest",
    "stage_video",
]
