import json
import multiprocessing
import pickle
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import get_args

import cv2
import h5py
import hdf5plugin  # noqa: F401
import numpy as np
import pytest
import torch
from torchvision.ops import masks_to_boxes

from blender_scenes.spec import Pass
from tests.render.conftest import make_record, without_colors
from vosforge import InputError, VOSForgeError
from vosforge.videos import ShardSet, build_manifest, pack_shard, read_manifest, stage_video
from vosforge.videos.codec import Region
from vosforge.videos.format import VideoRow, boxes, visible_area
from vosforge.videos.passes import PASSES
from vosforge.videos.reader import open_shard
from vosforge.videos.writer import unpack_video


def test_what_was_written_is_read(folder):
    shards = ShardSet(folder)
    assert [row.id for row in shards.videos] == [f"{index:06d}" for index in range(5)]
    for index, video in enumerate(shards):
        record = make_record(index)
        video.verify()
        assert (video.num_frames, video.height, video.width, video.num_objects) == (4, 24, 40, 2)
        assert np.array_equal(video.masks(), record.mask)
        for t in range(4):
            bgr = cv2.imdecode(np.frombuffer(record.rgb[t], np.uint8), cv2.IMREAD_COLOR)
            assert np.array_equal(video.frame(t), bgr[..., ::-1])
        assert np.array_equal(video.group["objects/pose"][()], record.scene.pose)
        assert video.attributes == record.attributes
    assert {video.id for video in shards.split("val")} == {"000002"}


@pytest.mark.parametrize("page", ["docs/python.md", "docs/shard-format.md"])
def test_the_snippets_of_the_documentation_read_a_shard(folder, page):
    text = (Path(__file__).parents[3] / page).read_text()
    snippet = next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "rgb/offsets" in block)
    assert "vosforge" not in snippet
    found = {}
    exec(snippet.replace("runs/demo/data/shards", str(folder / "shards")), found)
    assert np.array_equal(found["frame"], ShardSet(folder).video("000001").frame(2))
    assert np.array_equal(found["mask"], make_record(1).mask[2])


def test_the_frames_of_a_video_are_read_without_their_neighbours(folder):
    """Whatever lies between two frames may be gone."""
    path = folder / "shards" / "shard-00000.h5"
    expected = ShardSet(folder).video("000000").frame(2)
    with h5py.File(path, "a") as file:
        rgb = file["videos/000000/rgb"]
        rgb["data"][: rgb["offsets"][2]] = 0
        rgb["data"][rgb["offsets"][3] :] = 0
    assert np.array_equal(ShardSet(folder).video("000000").frame(2), expected)


def test_the_manifest_is_rebuilt_to_the_same_bytes_and_knows_what_is_missing(folder):
    before = (folder / "manifest.jsonl").read_bytes()
    (folder / "manifest.jsonl").unlink()
    build_manifest(folder)
    assert (folder / "manifest.jsonl").read_bytes() == before
    assert [(row.id, row.reason) for row in ShardSet(folder).quarantined] == [("000005", "it broke")]
    assert read_manifest(folder)[0].attempt == 1


def _read(video):
    return int(video.frames().sum()), int(video.masks().sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_opened_video_works_in_other_processes(folder, method):
    video = ShardSet(folder).video("000003")
    expected = _read(video)  # opened here first
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        assert list(pool.map(_read, [video, video])) == [expected, expected]
    assert _read(pickle.loads(pickle.dumps(video))) == expected


def test_one_shard_file_can_be_opened_alone(folder):
    assert len(ShardSet(folder / "shards" / "shard-00001.h5").videos) == 2


def test_bad_files_are_named(folder, tmp_path):
    shard = folder / "shards" / "shard-00000.h5"
    data = shard.read_bytes()
    cases = {"truncated.h5": data[: len(data) // 2], "empty.h5": b"", "text.h5": b"hello" * 999}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            open_shard(tmp_path / name)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = 1
    with pytest.raises(InputError, match="not a VOSForge shard"):
        open_shard(tmp_path / "other.h5")
    (tmp_path / "newer.h5").write_bytes(data)
    with h5py.File(tmp_path / "newer.h5", "a") as newer:
        newer.attrs["version"] = 99
    with pytest.raises(InputError, match="shard format 99"):
        open_shard(tmp_path / "newer.h5")
    with pytest.raises(InputError, match="no video '7'"):
        ShardSet(folder).video("7")
    with pytest.raises(InputError, match=r"manifest\.jsonl"):
        ShardSet(tmp_path / "shards")


def test_a_changed_byte_is_found(folder):
    shard = folder / "shards" / "shard-00000.h5"
    with h5py.File(shard, "a") as file:
        data = file["videos/000001/rgb/data"]
        data[len(data) // 2] ^= 1
    ShardSet(folder).video("000000").verify()
    with pytest.raises(VOSForgeError, match="'rgb/data' of video 000001"):
        ShardSet(folder).video("000001").verify()


def test_the_passes_of_a_video_are_read_a_frame_at_a_time(tmp_path):
    record = make_record(0, passes=True)
    row = stage_video(tmp_path / "000000.h5", record)
    assert row.passes == ("depth", "flow", "normal", "amodal", "tracks") == tuple(PASSES)
    video, held = ShardSet(tmp_path / "000000.h5").video("000000"), record.passes
    video.verify()
    for t in range(4):
        assert np.array_equal(video.depth(t), held["depth"][t])
        assert np.array_equal(video.flow(t), held["flow_fwd"][t], equal_nan=True)
        assert np.array_equal(video.flow(t, backward=True), held["flow_bwd"][t], equal_nan=True)
        assert np.array_equal(video.normal(t), held["normal"][t])
        assert np.array_equal(np.packbits(video.amodal(t), axis=-1), held["amodal"][t])
        assert video.amodal(t).shape == (2, 24, 40)
        for k in range(2):
            assert video.amodal(t)[k][record.mask[t] == k + 1].all()
    assert np.array_equal(video.visibility(), held["objects/visibility"])
    for name, array in zip(("points", "occluded", "object"), video.tracks(), strict=True):
        assert np.array_equal(array, held[f"tracks/{name}"])
        assert array.dtype == held[f"tracks/{name}"].dtype


def test_a_pass_that_a_video_lacks_is_one_sentence(folder):
    video = ShardSet(folder).video("000001")
    assert video.passes == ()
    reads = {"depth": video.depth, "flow": video.flow, "normal": video.normal, "amodal": video.amodal}
    for name, read in reads.items():
        with pytest.raises(InputError, match=rf"000001 in .* has no {name}: render it with render.passes=\[{name}\]"):
            read(0)
    with pytest.raises(InputError, match="has no tracks"):
        video.tracks()
    with pytest.raises(InputError, match="has no amodal"):
        video.visibility()


def test_a_video_without_colours_has_all_the_rest(tmp_path):
    record = make_record(0, passes=True)
    staged = [tmp_path / "staging" / f"{index:06d}.h5" for index in range(2)]
    row = stage_video(staged[0], without_colors(record))
    stage_video(staged[1], make_record(1))
    assert (row.colors, row.bytes, row.darkest, row.num_frames) == (False, 0, None, 4)
    shard = pack_shard(tmp_path / "shards", 0, staged, {})
    build_manifest(tmp_path)
    shards = ShardSet(tmp_path)
    assert [row.colors for row in shards.videos] == [False, True]
    assert [video.has_colors for video in shards] == [False, True]
    with h5py.File(shard) as file:
        assert "rgb" not in file["videos/000000"]
    video = shards.video("000000")
    video.verify()
    assert np.array_equal(video.masks(), record.mask)
    assert np.array_equal(video.depth(1), record.passes["depth"][1])
    assert video.spec_json == record.scene.spec
    unpack_video(shard, "000000", tmp_path / "again.h5")
    assert [row.colors for row in ShardSet(tmp_path / "again.h5").videos] == [False]
    region = Region(0, 0, 8, 8)
    for read in (
        lambda: video.frame(0),
        lambda: video.frame(0, region),
        lambda: video.frames(),
        lambda: video.encoded(0),
        lambda: video.encoding,
    ):
        with pytest.raises(InputError, match=r"000000 in .* no colours: render it with render\.colors=true"):
            read()


def test_rows_from_before_videos_could_lack_colours_say_they_have_them():
    assert VideoRow(id="0", shard="shard-00000.h5", darkest=30.0).colors


def test_scenes_and_shards_know_the_same_passes():
    assert get_args(Pass) == tuple(PASSES)


def test_areas_and_boxes_agree_with_counting():
    mask = make_record(3, objects=3).mask
    mask[1][mask[1] == 2] = 0
    area, box = visible_area(mask, 3), boxes(mask, 3)
    for t in range(len(mask)):
        for k in range(3):
            rows, columns = np.nonzero(mask[t] == k + 1)
            assert area[t, k] == len(rows)
            if len(rows):
                assert box[t, k].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            else:
                assert np.isnan(box[t, k]).all()


def test_boxes_are_torchvisions_with_the_last_pixel_in_them():
    mask = make_record(3, objects=3).mask
    seen = torch.from_numpy(mask)[:, None] == torch.arange(1, 4).view(1, 3, 1, 1)
    expected = masks_to_boxes(seen.flatten(0, 1)) + torch.tensor([0, 0, 1, 1])
    assert np.array_equal(boxes(mask, 3), expected.view(-1, 3, 4).numpy())


def test_two_packings_of_the_same_videos_are_the_same_bytes(folder, tmp_path):
    staged = tmp_path / "again" / "000000.h5"
    first = stage_video(staged, make_record(0))
    one, two = (pack_shard(tmp_path / name, 0, [staged], {}).read_bytes() for name in ("one", "two"))
    assert one == two
    assert json.loads(first.model_dump_json())["num_objects"] == 2
