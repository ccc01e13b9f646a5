import pytest

from tests.render.conftest import make_record
from vosforge.videos import build_manifest, pack_shard, stage_video


@pytest.fixture
def folder(tmp_path):
    """A data set of two shards, five videos and one quarantined one."""
    for shard, members in enumerate(([0, 1, 2], [3, 4])):
        staged = [tmp_path / "staging" / f"{index:06d}.h5" for index in members]
        for path, index in zip(staged, members, strict=True):
            stage_video(path, make_record(index))
        pack_shard(tmp_path / "shards", shard, staged, {"000005": "it broke"} if shard else {})
    build_manifest(tmp_path)
    return tmp_path
