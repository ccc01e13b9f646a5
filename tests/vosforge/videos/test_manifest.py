"""The manifest grows with each sealed shard, and whatever a kill left of it is brought in order.

Pieces of it, which parts of a data set write by themselves, are read with it and folded into it.
"""

import json
import os

import pytest

from tests.render.conftest import make_record
from vosforge import InputError
from vosforge.videos import ShardSet, append_manifest, build_manifest, pack_shard, read_manifest, stage_video
from vosforge.videos import manifest as module
from vosforge.videos.manifest import MANIFEST, build_piece, has_manifest, piece_name
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


HARMS = ["none", "unrecorded", "remade", "sealed again", "gone", "torn", "deleted", "another's"]


@pytest.mark.parametrize("harm", HARMS)
def test_it_is_brought_in_order_and_reads_no_shard_that_is_as_it_was(root, monkeypatch, harm):
    path, read = root / MANIFEST, []
    monkeypatch.setattr(module, "shard_rows", lambda shard: read.append(shard.name) or shard_rows(shard))
    expected = {"shard-00000.h5"}  # a video of it is quarantined: it may have been sealed again
    if harm == "unrecorded":  # a kill between sealing and recording
        seal(root, 3, [6])
        expected |= {"shard-00003.h5"}
    elif harm == "remade":
        seal(root, 1, [2, 3])
        os.utime(root / "shards/shard-00001.h5", ns=(0, path.stat().st_mtime_ns + 1))
        expected |= {"shard-00001.h5"}
    elif harm == "sealed again":  # and another shard was recorded after it, before the kill
        seal(root, 0, [0, 1])
        append_manifest(root, seal(root, 3, [6]))
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


def test_lines_that_are_being_added_are_waited_for(root, monkeypatch):
    path, rows = root / MANIFEST, read_manifest(root)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    monkeypatch.setattr(module.time, "sleep", lambda seconds: path.write_bytes(whole))
    assert read_manifest(root) == rows


def divided(root, of):
    """Replace the manifest by pieces: part k has every ``of``-th shard."""
    (root / MANIFEST).unlink()
    for shard in sorted((root / "shards").iterdir()):
        append_manifest(root, shard_rows(shard), f"{int(shard.stem[6:]) % of + 1}-of-{of}")


@pytest.mark.parametrize("of", [2, 3, 5])
def test_pieces_are_read_as_one_and_folded_into_the_same_bytes(root, of):
    build_manifest(root)
    rows, whole = read_manifest(root), (root / MANIFEST).read_bytes()
    divided(root, of)
    assert not (root / MANIFEST).exists() and has_manifest(root)
    assert read_manifest(root) == rows
    assert ShardSet(root).videos == tuple(row for row in rows if row.state == "sealed")
    build_manifest(root, anew=False)
    assert read_manifest(root) == rows
    assert (root / MANIFEST).read_bytes() == whole
    assert [path.name for path in root.glob("manifest*")] == [MANIFEST]


def test_a_piece_counts_more_than_the_manifest_and_a_damaged_one_is_named(root):
    build_manifest(root)
    append_manifest(root, seal(root, 0, [0, 1]), "1-of-2")
    assert [row.state for row in read_manifest(root)] == ["sealed"] * 6
    with (root / piece_name("1-of-2")).open("a") as file:
        file.write("{")
    with pytest.raises(InputError, match=r"manifest-1-of-2\.jsonl is damaged"):
        read_manifest(root)
    build_manifest(root, anew=False)
    assert [row.state for row in read_manifest(root)] == ["sealed"] * 6


def test_a_piece_is_brought_in_order_from_its_own_shards(root):
    build_manifest(root)
    seal(root, 3, [6])
    shards = [root / "shards" / name for name in ("shard-00001.h5", "shard-00003.h5")]
    build_piece(root, "2-of-2", shards)
    piece = root / piece_name("2-of-2")
    before = piece.read_bytes()
    assert [json.loads(line)["id"] for line in before.splitlines()] == ["000002", "000003", "000006"]
    assert len(read_manifest(root)) == 7
    build_piece(root, "2-of-2", shards, anew=True)
    assert piece.read_bytes() == before


def test_pieces_that_are_folded_while_they_are_read_are_not_missed(root, monkeypatch):
    build_manifest(root)
    rows, folded = read_manifest(root), []
    divided(root, 3)
    read = module._read

    def read_then_fold(folder, path):
        data = read(folder, path)
        if not folded:  # the manifest was not there yet, and the pieces are not there any more
            folded.append(folder)
            build_manifest(root)
        return data

    monkeypatch.setattr(module, "_read", read_then_fold)
    assert read_manifest(root) == rows
