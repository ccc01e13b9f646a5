import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.tools.convert.conftest import RECORDS, make_record, write_set
from tests.tools.convert.test_runs import decode_runs
from tools.convert.exporting import export_dataset
from tools.convert.webdataset import write_webdataset
from vosforge.errors import VOSForgeError
from vosforge.videos import ShardSet, build_manifest
from vosforge.videos.codec import encode
from vosforge.videos.palette import PALETTE


def read_mask(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "P"
        assert image.getpalette() == PALETTE.ravel().tolist()
        return np.asarray(image)


def test_davis_is_as_its_loaders_read_it(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "davis"
    export_dataset(data, out, "davis")
    assert (out / "ImageSets/2017/train.txt").read_text() == "000000\na bear.2\nempty\n"
    assert (out / "ImageSets/2017/val.txt").read_text() == "000001\nmany\n"
    first = RECORDS[0]
    assert (out / "JPEGImages/480p/000000/00002.jpg").read_bytes() == first.rgb[2]
    np.testing.assert_array_equal(read_mask(out / "Annotations/480p/000000/00002.png"), first.mask[2])
    names = sorted(path.name for path in (out / "JPEGImages/480p/a bear.2").iterdir())
    assert names == ["00005.jpg", "00010.jpg", "b00.jpg"]


def test_lossless_frames_become_good_jpegs(tmp_path: Path) -> None:
    flat = np.full((2, 16, 16, 3), (200, 30, 90), np.uint8)
    record = make_record("v", frames=2, size=(16, 16), encoding="png")
    record = replace(record, rgb=tuple(encode(frame, "png", 1) for frame in flat))
    write_set(tmp_path / "data", (record,))
    export_dataset(tmp_path / "data", tmp_path / "out", "bl30k")
    with Image.open(tmp_path / "out/BL30K/JPEGImages/v/00000.jpg") as image:
        assert image.format == "JPEG"
        assert image.layer[0][1:3] == (1, 1) and image.layer[1][1:3] == (1, 1)  # no subsampling
        assert np.abs(np.asarray(image).astype(int) - flat[0]).max() <= 3


def test_masks_alone_are_exported_where_a_format_makes_sense_of_them(tmp_path: Path) -> None:
    records = (make_record("a"), replace(make_record("b"), rgb=(), darkest=None))
    write_set(tmp_path / "data", records)
    for layout, root in (("davis", "JPEGImages/480p"), ("bl30k", "BL30K/JPEGImages")):
        out = tmp_path / layout
        assert export_dataset(tmp_path / "data", out, layout) == 2
        assert [path.name for path in (out / root).iterdir()] == ["a"]
        masks = out / root.replace("JPEGImages", "Annotations")
        np.testing.assert_array_equal(read_mask(masks / "b" / "00002.png"), records[1].mask[2])
    assert export_dataset(tmp_path / "data", tmp_path / "mp4", "mp4") == 2
    for layout in ("youtube-vos", "coco", "webdataset"):
        with pytest.raises(VOSForgeError, match=f"video b of .* has no colours, which {layout} needs: export it as"):
            export_dataset(tmp_path / "data", tmp_path / layout, layout)
        assert export_dataset(tmp_path / "data", tmp_path / layout, layout, video_ids=["a"]) == 1


def test_splits_and_videos_are_chosen(data: Path, tmp_path: Path) -> None:
    assert export_dataset(data, tmp_path / "a", "davis", split="val") == 2
    assert [path.name for path in (tmp_path / "a/ImageSets/2017").iterdir()] == ["val.txt"]
    assert export_dataset(data / "shards/shard-00000.h5", tmp_path / "b", "bl30k", video_ids=["empty", "many"]) == 2
    assert {path.name for path in (tmp_path / "b/BL30K/JPEGImages").iterdir()} == {"empty", "many"}
    with pytest.raises(VOSForgeError, match="no video 'nope'"):
        export_dataset(data, tmp_path / "c", "davis", video_ids=["nope"])
    with pytest.raises(VOSForgeError, match="no such video in split val"):
        export_dataset(data, tmp_path / "c", "davis", split="val", video_ids=["empty"])
    with pytest.raises(VOSForgeError, match="unknown split 'test'"):
        export_dataset(data, tmp_path / "c", "davis", split="test")
    assert not (tmp_path / "c").exists()


def test_youtube_vos_tells_what_is_where(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "youtube"
    export_dataset(data, out, "youtube-vos")
    meta = json.loads((out / "train/meta.json").read_text())["videos"]
    assert meta["a bear.2"]["objects"]["1"] == {"category": "kind 0", "frames": ["00005", "00010", "b00"]}
    assert meta["a bear.2"]["objects"]["3"] == {"category": "kind 2", "frames": ["00010", "b00"]}
    assert meta["empty"] == {"objects": {}}
    held = RECORDS[1]
    for folder in ("valid", "all_frames/valid_all_frames"):
        assert len(list((out / folder / "JPEGImages/000001").iterdir())) == 4
    # Only the new objects, without void: 2 comes first, 7 one frame later.
    assert sorted(path.name for path in (out / "valid/Annotations/000001").iterdir()) == ["00000.png", "00001.png"]
    first, second = (read_mask(out / f"valid/Annotations/000001/0000{t}.png") for t in (0, 1))
    np.testing.assert_array_equal(first, np.where(held.mask[0] == 2, 2, 0))
    np.testing.assert_array_equal(second, np.where(held.mask[1] == 7, 7, 0))
    full = out / "all_frames/valid_all_frames/Annotations/000001/00003.png"
    np.testing.assert_array_equal(read_mask(full), held.mask[3])


def test_coco_has_every_object_of_every_frame(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "coco"
    export_dataset(data, out, "coco")
    for split in ("train", "val"):
        found = json.loads((out / f"annotations/instances_{split}.json").read_text())
        records = {record.id: record for record in RECORDS if record.split == split}
        assert {video["name"] for video in found["videos"]} == records.keys()
        kinds = {item["id"]: item["name"] for item in found["categories"]}
        assert kinds == {1: "kind 0", 2: "kind 1", 3: "kind 2"}
        rebuilt = {name: np.where(record.mask == 255, record.mask, 0) for name, record in records.items()}
        images = {image["id"]: image for image in found["images"]}
        tracks = {track["id"]: track for track in found["tracks"]}
        assert len(images) == sum(len(record.rgb) for record in records.values())
        for image in images.values():
            with Image.open(out / split / image["file_name"]) as picture:
                assert picture.size == (image["width"], image["height"])
        for item in found["annotations"]:
            image, track = images[item["image_id"]], tracks[item["track_id"]]
            record = records[image["video"]]
            mask = decode_runs(item["segmentation"]["counts"], *item["segmentation"]["size"])
            assert item["area"] == mask.sum() and item["iscrowd"] == 0
            left, top, width, height = item["bbox"]
            assert mask[top : top + height, left : left + width].sum() == item["area"]
            assert mask[top].any() and mask[top + height - 1].any() and mask[:, left].any()
            assert kinds[item["category_id"]] == record.category[item["object"] - 1]
            assert (track["video_id"], track["object"]) == (item["video_id"], item["object"])
            rebuilt[image["video"]][image["frame_index"]][mask] = item["object"]
        for name, record in records.items():
            np.testing.assert_array_equal(rebuilt[name], record.mask)


def test_coco_loads_in_pycocotools(data: Path, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    export_dataset(data, tmp_path / "coco", "coco")
    loaded = coco.COCO(str(tmp_path / "coco/annotations/instances_val.json"))
    masks = {record.id: record.mask for record in RECORDS}
    for image_id in loaded.getImgIds():
        image = loaded.imgs[image_id]
        for item in loaded.loadAnns(loaded.getAnnIds(image_id)):
            wanted = masks[image["video"]][image["frame_index"]] == item["object"]
            np.testing.assert_array_equal(loaded.annToMask(item).astype(bool), wanted)


def test_a_webdataset_has_a_sample_a_video(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "web"
    export_dataset(data, out, "webdataset")
    assert sorted(path.name for path in out.iterdir()) == ["train-000000.tar", "val-000000.tar"]
    with tarfile.open(out / "train-000000.tar") as tar:
        names = tar.getnames()
        assert names[:3] == ["000000.json", "000000.00000.jpg", "000000.00000.png"]
        keys = [name.split(".")[0] for name in names]
        assert list(dict.fromkeys(keys)) == sorted(set(keys)) == ["000000", "a bear_2", "empty"]
        said = json.loads(tar.extractfile("a bear_2.json").read())
        assert (said["id"], said["void"], said["frame_names"]) == ("a bear.2", None, ["00005", "00010", "b00"])
        assert tar.extractfile("000000.00001.jpg").read() == RECORDS[0].rgb[1]
        with Image.open(io.BytesIO(tar.extractfile("a bear_2.00002.png").read())) as image:
            np.testing.assert_array_equal(np.asarray(image), RECORDS[2].mask[2])


def test_tars_are_closed_at_their_size_and_keys_are_told_apart(tmp_path: Path) -> None:
    videos = tuple(make_record(name, size=(330, 550)) for name in ("a", "b", "c"))
    shards = write_set(tmp_path / "data", videos)
    export_dataset(tmp_path / "data", tmp_path / "out", "webdataset", shard_size=1)
    assert all(shards.video(name).row.bytes > 1_000_000 for name in "abc")
    assert len(list((tmp_path / "out").iterdir())) == 3
    alike = write_set(tmp_path / "alike", (make_record("a.1"), make_record("a_1")))
    with pytest.raises(VOSForgeError, match="both get the key a_1"):
        write_webdataset(alike, tmp_path, 1)


def test_mp4_shows_every_frame(data: Path, tmp_path: Path) -> None:
    export_dataset(data, tmp_path / "films", "mp4", split="val")
    assert {path.name for path in (tmp_path / "films").iterdir()} == {"000001.mp4", "many.mp4"}
    with av.open(str(tmp_path / "films/000001.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 4


def test_what_is_there_is_left_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/kept").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        with pytest.raises(VOSForgeError, match="not empty"):
            export_dataset(data, tmp_path / name, "davis")
    assert (tmp_path / "full/kept").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    export_dataset(data, tmp_path / "empty", "davis", video_ids=["000000"])
    with pytest.raises(VOSForgeError, match="cannot write to"):
        export_dataset(data, tmp_path / "file/inside", "davis")


def test_a_failed_export_leaves_nothing(data: Path, tmp_path: Path) -> None:
    shard = data / "shards/shard-00000.h5"
    content = bytearray(shard.read_bytes())
    at = content.index(RECORDS[2].rgb[1])
    content[at : at + 40] = bytes(40)
    shard.write_bytes(bytes(content))
    with pytest.raises(VOSForgeError, match=r"frame 1 of video a bear.2"):
        export_dataset(data, tmp_path / "out", "davis")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("name", ["..", "../out", "/etc", "a\nb", "x" * 300])
def test_names_that_lead_elsewhere_are_refused(data: Path, tmp_path: Path, name: str) -> None:
    manifest = data / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows[0]["id"] = name
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(VOSForgeError, match="cannot be a file's name"):
        export_dataset(data, tmp_path / "out", "davis")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("names", "says"),
    [(["../../a", "b", "c"], "cannot be a file's name"), (["a", "a", "b"], "does not name each"), (7, "does not name")],
)
def test_frame_names_are_not_believed(tmp_path: Path, names: object, says: str) -> None:
    record = make_record("v")
    record.attributes["frame_names"] = names
    write_set(tmp_path / "data", (record,))
    with pytest.raises(VOSForgeError, match=says):
        export_dataset(tmp_path / "data", tmp_path / "out", "davis")


def test_frame_names_that_sort_wrongly_are_numbered(tmp_path: Path) -> None:
    write_set(tmp_path / "data", (make_record("v", names=("8", "9", "10")),))
    export_dataset(tmp_path / "data", tmp_path / "out", "bl30k")
    names = sorted(path.name for path in (tmp_path / "out/BL30K/Annotations/v").iterdir())
    assert names == ["00000.png", "00001.png", "00002.png"]


def test_object_255_is_not_lost_as_void(tmp_path: Path) -> None:
    record = make_record("v", (255,))
    record = replace(record, void=False, category=("thing",) * 255)
    write_set(tmp_path / "data", (record,))
    with pytest.raises(VOSForgeError, match="object 255 of video v would be read as void"):
        export_dataset(tmp_path / "data", tmp_path / "out", "davis")
    export_dataset(tmp_path / "data", tmp_path / "coco", "coco")
    found = json.loads((tmp_path / "coco/annotations/instances_train.json").read_text())
    assert {item["object"] for item in found["annotations"]} == {255}


def test_an_empty_data_set_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    build_manifest(tmp_path / "data")
    assert not ShardSet(tmp_path / "data").videos
    with pytest.raises(VOSForgeError, match="nothing to export"):
        export_dataset(tmp_path / "data", tmp_path / "out", "davis")
