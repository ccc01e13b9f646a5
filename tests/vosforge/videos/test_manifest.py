"""The manifest grows with each sealed shard, and whatever a kill left of it is brought in order."""

import os

import pytest

from tests.render.conftest import make_record
from vosforge import InputError
from vosforge.videos import append_manifest, build_manifest, pack_shard, read_manifest, stage_video
from vosforge.videos import manifest as module
from vosforge.videos.manifest import MANIFEST
from vosforge.videos.reader import shard_rows


def seal(root, number, videos, quarantined=()):
    """Shard ``number`` with these videos; returns its rows."""
    staged = [root / "staging" / f"{index:06d}.h5" for index in videos]
    for index, path in zip(videos, staged, strict=True):
        stage_video(path, make_record(index))
    reasons = {f"{index:06d}": "it broke" for index in quarantined}
    return shard_rows(pack_shard(root / "shards", number, staged, reasons))


@pytest.fixture
def root(tmp_path):
    """Three shards, sealed in another order than their numbers'."""
    for number, videos, quarantined in ((2, [4, 5], []), (0, [0], [1]), (1, [2, 3], [])):
        append_manifest(tmp_path, seal(tmp_path, number, videos, quarantined))
    return tmp_path


def test_lines_are_added_shard_by_shard_and_read_in_order(root):
    assert [row.id for row in read_manifest(root)] == [f"{index:06d}" for index in range(6)]
    assert (root / MANIFEST).read_text().index("000004") < (root / MANIFEST).read_text().index("000000")
    assert [row.state for row in read_manifest(root)][:3] == ["sealed", "quarantined", "sealed"]


def test_of_a_shard_sealed_again_the_last_lines_count(root):
    append_manifest(root, seal(root, 0, [0, 1]))
    assert [row.state for row in read_manifest(root)] == ["sealed"] * 6


@pytest.mark.parametrize("harm", ["none", "unrecorded", "remade", "gone", "torn", "deleted", "another's"])
def test_it_is_brought_in_order_and_reads_no_shard_that_is_as_it_was(root, monkeypatch, harm):
    path, read = root / MANIFEST, []
    monkeypatch.setattr(module, "shard_rows", lambda shard: read.append(shard.name) or shard_rows(shard))
    expected = set()
    if harm == "unrecorded":  # a kill between sealing and recording
        seal(root, 3, [6])
        expected = {"shard-00003.h5"}
    elif harm == "remade":
        seal(root, 0, [0, 1])
        os.utime(root / "shards/shard-00000.h5", ns=(0, path.stat().st_mtime_ns + 1))
        expected = {"shard-00000.h5"}
    elif harm == "gone":
        (root / "shards/shard-00001.h5").unlink()
    elif harm != "none":
        expected = {f"shard-{number:05d}.h5" for number in range(3)}
        data = path.read_bytes()
        path.write_bytes({"torn": data[:-9], "deleted": b"", "another's": b"[1]\n"}[harm])
    build_manifest(root, anew=False)
    assert {*read} == expected
    found = path.read_bytes()
    build_manifest(root)
    assert path.read_bytes() == found


def test_a_torn_manifest_is_not_read_as_if_it_were_whole(root):
    path = root / MANIFEST
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"is damaged.*vosforge render"):
        read_manifest(root)
