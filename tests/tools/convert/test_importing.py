import gzip
import io
import json
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tools.convert.importing
from tests.tools.convert.conftest import Files, label_mask, pack, picture, png_mask, tree_files, write_files
from tools.convert.importing import import_dataset
from vosforge.errors import InputError
from vosforge.videos import ShardSet
from vosforge.videos.texts import read_texts


def check(out: Path, files: Files, top: str = "", middle: str = "") -> None:
    """Hold imported videos against the files they came from."""
    for video in ShardSet(out):
        for t in range(video.num_frames):
            assert video.encoded(t) == files[f"{top}JPEGImages/{middle}{video.id}/{t:05d}.jpg"]
            with Image.open(io.BytesIO(files[f"{top}Annotations/{middle}{video.id}/{t:05d}.png"])) as image:
                np.testing.assert_array_equal(video.mask(t), np.asarray(image))
        video.verify()


def found_format(out: Path) -> str:
    return json.loads((out / "import.json").read_text())["format"]


def test_davis_2017_with_its_lists(folder, tmp_path: Path) -> None:
    files = tree_files(("a", "b", "c"), middle="480p/")
    lists = {"ImageSets/2017/train.txt": b"a\nc\n", "ImageSets/2017/val.txt": b"b\n"}
    rows = import_dataset(folder({**files, **lists}), tmp_path / "out", workers=1)
    assert {row.id: row.split for row in rows} == {"a": "train", "b": "val", "c": "train"}
    assert found_format(tmp_path / "out") == "davis"
    check(tmp_path / "out", files, middle="480p/")
    first = next(iter(ShardSet(tmp_path / "out")))
    assert first.attributes == {
        "folder": "JPEGImages/480p/a",
        "licence": "unknown",
        "source": {"format": "davis", "source": "source"},
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".lock",
        "import.json",
        "manifest.jsonl",
        "shards",
    ]


def test_davis_2016_in_two_resolutions(folder, tmp_path: Path) -> None:
    files = tree_files(("a", "b"), middle="480p/")
    large = tree_files(("b", "a"), middle="1080p/")
    line = b"/JPEGImages/480p/b/00000.jpg /Annotations/480p/b/00000.png\n"
    rows = import_dataset(folder({**files, **large, "ImageSets/480p/val.txt": line}), tmp_path / "out", workers=1)
    assert {row.id: row.split for row in rows} == {"a": "train", "b": "val"}
    check(tmp_path / "out", files, middle="480p/")


def test_youtube_vos_takes_what_is_annotated_throughout(folder, tmp_path: Path) -> None:
    files = tree_files(("a",), top="train/") | tree_files(("v",), top="valid/")
    meta = {"videos": {"a": {"objects": {"2": {"category": "cat", "frames": ["00000"]}}}}}
    files["train/meta.json"] = json.dumps(meta).encode()
    files["valid/meta.json"] = b'{"videos": {}}'
    for t in (1, 2):
        del files[f"valid/Annotations/v/0000{t}.png"]
    root = folder(files)
    [row] = import_dataset(root, tmp_path / "out", workers=1)
    video = ShardSet(tmp_path / "out").video("a")
    assert (row.id, row.split) == ("a", "train")
    assert read_texts(video.group["objects/category"]) == ("object", "cat")
    assert found_format(tmp_path / "out") == "youtube-vos"
    [row] = import_dataset(root / "train", tmp_path / "train", workers=1)
    assert row.id == "a"
    with pytest.raises(InputError, match=r"2 of the 3 frames of video 'v' have no mask.*--labelled-only"):
        import_dataset(root / "valid", tmp_path / "valid", workers=1)
    [row] = import_dataset(root / "valid", tmp_path / "valid", labelled_only=True, workers=1)
    assert (row.split, row.num_frames) == ("val", 1)
    (root / "train/meta.json").write_text("{")
    with pytest.raises(InputError, match=r"train/meta.json is not"):
        import_dataset(root, tmp_path / "broken", workers=1)


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_a_tar_is_read_in_place(tmp_path: Path, tar_format: int) -> None:
    files = tree_files(("a", "b"), top="BL30K/")
    extra = {"./BL30K/._junk": b"mac", "BL30K/JPEGImages/a/Thumbs.db": b"win"}
    tar = pack(tmp_path / "in/BL30K_a.tar", files | extra, format=tar_format)
    import_dataset(tar, tmp_path / "out", workers=1)
    assert found_format(tmp_path / "out") == "bl30k"
    check(tmp_path / "out", files, top="BL30K/")
    assert len(ShardSet(tmp_path / "out").videos) == 2
    assert [path.name for path in tar.parent.iterdir()] == [tar.name]


def test_a_folder_of_tars_is_one_source_whatever_their_order_inside(tmp_path: Path) -> None:
    files = tree_files(("a", "b", "c"), top="./BL30K/")
    names = sorted(files, key=lambda name: name[::-1])
    for letter, part in (("a", names[::2]), ("b", names[1::2])):
        pack(tmp_path / f"in/BL30K_{letter}.tar", {name: files[name] for name in part})
    rows = import_dataset(tmp_path / "in", tmp_path / "out", workers=1)
    assert [row.id for row in rows] == ["a", "b", "c"]
    check(tmp_path / "out", {name.removeprefix("./"): data for name, data in files.items()}, top="BL30K/")
    pack(tmp_path / "in/BL30K_c.tar", {names[0]: b"again"})
    with pytest.raises(InputError, match=r"is in both .*BL30K_[ab].tar and .*BL30K_c.tar"):
        import_dataset(tmp_path / "in", tmp_path / "again", workers=1)


def unsafe(kind: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(
        {"absolute": "/JPEGImages/a/1.jpg", "up": "JPEGImages/../../a.jpg"}.get(kind, "JPEGImages/a/1.jpg")
    )
    info.type = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}.get(kind, tarfile.REGTYPE)
    info.linkname = "/etc/passwd"
    return info


@pytest.mark.parametrize("kind", ["absolute", "up", "link", "hard", "device"])
def test_unsafe_members_are_refused(tmp_path: Path, kind: str) -> None:
    path = pack(tmp_path / "x.tar", tree_files())
    with tarfile.open(path, "a") as tar:
        tar.addfile(unsafe(kind))
    with pytest.raises(InputError, match=r"x.tar holds '.*pack it again"):
        import_dataset(path, tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()


def test_tars_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", tree_files())
    content = path.read_bytes()
    with tarfile.open(path) as tar:
        middle = tar.getmembers()[4].offset
    damaged = content[:middle] + b"?" * 512 + content[middle + 512 :]
    for wrong in (content[:middle], content[: middle + 600], damaged, gzip.compress(content), b"no tar", b""):
        path.write_bytes(wrong)
        with pytest.raises(InputError, match="is not a complete, uncompressed tar"):
            import_dataset(path, tmp_path / "out", workers=1)


def test_folders_of_frames_and_masks(folder, tmp_path: Path) -> None:
    files = tree_files(("a",))
    renamed = {f"frames/{t}.jpg": files[f"JPEGImages/a/0000{t}.jpg"] for t in range(3)}
    renamed |= {f"masks/{t}.png": files[f"Annotations/a/0000{t}.png"] for t in range(3)}
    root = folder(renamed)
    for number, (source, masks) in enumerate([(root, None), (root / "frames", root / "masks")]):
        [row] = import_dataset(source, tmp_path / f"out{number}", masks=masks, workers=1)
        assert (row.id, row.num_frames) == (("source", "frames")[number], 3)
        video = ShardSet(tmp_path / f"out{number}").video(row.id)
        assert video.encoded(1) == renamed["frames/1.jpg"]
        assert video.attributes["frame_names"] == ["0", "1", "2"]
    with pytest.raises(InputError, match="has frames but no masks"):
        import_dataset(root / "masks", tmp_path / "none", workers=1)


def test_one_video_of_a_tree(folder, tmp_path: Path) -> None:
    files = tree_files(middle="480p/")
    root = folder({**files, "ImageSets/2017/val.txt": b"b\n"})
    [row] = import_dataset(root / "JPEGImages/480p/b", tmp_path / "out", workers=1)
    assert (row.id, row.split) == ("b", "val")
    check(tmp_path / "out", files, middle="480p/")


def test_frames_follow_one_another_as_numbers(folder, tmp_path: Path) -> None:
    files: Files = {}
    for t in (8, 9, 10, 11):
        files[f"JPEGImages/v/shot2_{t}.jpg"] = picture(t)
        files[f"Annotations/v/shot2_{t}.png"] = png_mask(label_mask(t))
    import_dataset(folder(files), tmp_path / "out", workers=1)
    video = ShardSet(tmp_path / "out").video("v")
    assert video.attributes["frame_names"] == [f"shot2_{t}" for t in (8, 9, 10, 11)]
    assert video.encoded(2) == picture(10)


def one_video(frames: list[bytes], masks: list[bytes], suffix: str = "jpg") -> Files:
    files = {f"JPEGImages/v/{t:05d}.{suffix}": data for t, data in enumerate(frames)}
    return files | {f"Annotations/v/{t:05d}.png": data for t, data in enumerate(masks)}


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "mixed"])
def test_other_frames_stay_lossless(folder, tmp_path: Path, kind: str) -> None:
    kinds = ("JPEG", "PNG", "BMP") if kind == "mixed" else (kind,) * 3
    frames = [picture(t, suffix=one) for t, one in enumerate(kinds)]
    files = one_video(frames, [png_mask(label_mask(t)) for t in range(3)])
    import_dataset(folder(files), tmp_path / "out", workers=1)
    video = ShardSet(tmp_path / "out").video("v")
    assert video.encoding == "png"
    for t, data in enumerate(frames):
        if kind == "PNG":
            assert video.encoded(t) == data
        with Image.open(io.BytesIO(data)) as image:
            if image.format != "JPEG":
                np.testing.assert_array_equal(video.frame(t), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("labels", "mode", "wanted", "void"),
    [
        ((0, 255), "L", {0: 0, 255: 1}, False),  # drawn in black and white
        ((0, 255), "P", {0: 0, 255: 1}, False),
        ((0, 3, 255), "L", {0: 0, 3: 3, 255: 255}, True),
        ((0, 5, 200), "P", {0: 0, 5: 5, 200: 200}, False),
        ((0, 255), "1", {0: 0, 255: 1}, False),
    ],
)
def test_labels_are_kept(folder, tmp_path: Path, labels, mode, wanted, void) -> None:
    masks = [label_mask(t, labels) for t in range(2)]
    import_dataset(
        folder(one_video([picture(0)] * 2, [png_mask(mask, mode) for mask in masks])), tmp_path / "out", workers=1
    )
    video = ShardSet(tmp_path / "out").video("v")
    np.testing.assert_array_equal(video.masks(), np.vectorize(wanted.get)(np.stack(masks)))
    assert (video.void == 255) == void
    assert video.num_objects == max(value for value in wanted.values() if value != 255)
    video.verify()


def test_a_lone_frame_of_void_stays_void(folder, tmp_path: Path) -> None:
    masks = [label_mask(0, (0, 2)), label_mask(1, (0, 255))]
    files = one_video([picture(0)] * 2, [png_mask(mask, "L") for mask in masks])
    import_dataset(folder(files), tmp_path / "out", workers=1)
    np.testing.assert_array_equal(ShardSet(tmp_path / "out").video("v").masks(), np.stack(masks))


@pytest.mark.parametrize("depth", [2, 4])
def test_masks_of_few_bits_are_not_stretched(folder, tmp_path: Path, depth: int) -> None:
    labels = np.kron(np.arange(80, dtype=np.uint8).reshape(8, 10) % 2**depth, np.ones((3, 4), np.uint8))
    per_byte = 8 // depth
    packed = np.zeros((24, 40 // per_byte), np.uint8)
    for place in range(per_byte):
        packed |= labels[:, place::per_byte] << (8 - depth * (place + 1))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    raw = b"".join(b"\0" + row.tobytes() for row in packed)
    header = struct.pack(">IIBBBBB", 40, 24, depth, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    import_dataset(folder(one_video([picture(0)], [png])), tmp_path / "out", workers=1)
    np.testing.assert_array_equal(ShardSet(tmp_path / "out").video("v").mask(0), labels)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


GOOD, MASK = picture(0), png_mask(label_mask(0))
PNG_FRAME = picture(0, suffix="PNG")
RGB_MASK = picture(0, suffix="PNG")


@pytest.mark.parametrize(
    ("frames", "masks", "says"),
    [
        ([GOOD, b"rubbish"], [MASK] * 2, "00001.jpg is damaged or not an image"),
        ([GOOD, cut(GOOD)], [MASK] * 2, "00001.jpg does not decode"),
        ([PNG_FRAME, cut(PNG_FRAME)], [MASK] * 2, "00001.jpg does not decode"),
        ([GOOD, picture(0, (24, 41))], [MASK] * 2, "00001.jpg is 41x24, but the first one 40x24"),
        ([GOOD, GOOD], [MASK, b"rubbish"], "00001.png is damaged or not a PNG"),
        ([GOOD, GOOD], [MASK, cut(MASK)], "00001.png is damaged or not a PNG"),
        ([GOOD, GOOD], [MASK, GOOD], "00001.png is a JPEG file, which cannot hold labels"),
        ([GOOD, GOOD], [MASK, RGB_MASK], "00001.png is a mask with soft edges: 960 colours"),
        ([GOOD, GOOD], [MASK, png_mask(label_mask(0, size=(24, 39)))], "00001.png is 39x24, its frame 40x24"),
        ([GOOD, GOOD], [MASK], "1 of the 2 frames of video 'v' have no mask in Annotations/v"),
        ([GOOD], [MASK] * 2, "mask 00001.png in Annotations/v has no frame"),
        ([GOOD, GOOD], [], "video 'v' has no masks in Annotations/v: add PNGs named like its frames, 00000.png"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_bad_files_are_named(tmp_path: Path, frames, masks, says, packed: bool) -> None:
    files = one_video(frames, masks)
    source = pack(tmp_path / "s.tar", files) if packed else write_files(tmp_path / "s", files)
    with pytest.raises(InputError, match=says.replace("g ", r"g( in \S+)? ", 1)) as caught:
        import_dataset(source, tmp_path / "out", workers=1)
    assert len(str(caught.value).splitlines()) == 1
    assert not list((tmp_path / "out").rglob("*.h5"))


def test_other_refusals(folder, tmp_path: Path) -> None:
    files = tree_files()
    root = folder(files)
    with pytest.raises(InputError, match=r"is not DAVIS's layout \(no ImageSets in it\)"):
        import_dataset(root, tmp_path / "out", layout="davis")
    with pytest.raises(InputError, match=r"meta.json is missing"):
        import_dataset(root, tmp_path / "out", layout="youtube-vos")
    write_files(root, {f"more/{name}": data for name, data in files.items()})
    with pytest.raises(InputError, match=r"there are two videos 'a', .*source/JPEGImages/a and .*source/more"):
        import_dataset(root, tmp_path / "out")
    write_files(tmp_path / "twice", {**files, "JPEGImages/a/00000.PNG": PNG_FRAME})
    with pytest.raises(InputError, match="has a frame twice"):
        import_dataset(tmp_path / "twice", tmp_path / "out")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match="holds no video"):
        import_dataset(tmp_path / "nothing", tmp_path / "out")
    write_files(tmp_path / "line", {"JPEGImages/a\nb/0.jpg": GOOD, "Annotations/a\nb/0.png": MASK})
    with pytest.raises(InputError, match="cannot be a file's name"):
        import_dataset(tmp_path / "line", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("")
    with pytest.raises(InputError, match="not empty and holds no unfinished import"):
        import_dataset(tmp_path / "source/more", tmp_path / "out")
    with pytest.raises(InputError, match="cannot write to"):
        import_dataset(tmp_path / "source/more", tmp_path / "out/mine")


def test_labelled_frames_only(folder, tmp_path: Path) -> None:
    files = tree_files(("a", "b"), frames=4)
    for name in ("a/00001", "a/00003", *(f"b/0000{t}" for t in range(4))):
        del files[f"Annotations/{name}.png"]
    [row] = import_dataset(folder(files), tmp_path / "out", labelled_only=True, workers=1)
    assert (row.id, row.num_frames) == ("a", 2)
    video = ShardSet(tmp_path / "out").video("a")
    assert video.attributes["frame_names"] == ["00000", "00002"]
    assert video.encoded(1) == files["JPEGImages/a/00002.jpg"]


def test_links_between_folders_are_followed_once(folder, tmp_path: Path) -> None:
    root = folder(tree_files())
    (root / "JPEGImages/a").rename(tmp_path / "elsewhere")
    (root / "JPEGImages/a").symlink_to(tmp_path / "elsewhere")
    (root / "JPEGImages/b/loop").symlink_to(root)
    assert len(import_dataset(root, tmp_path / "out", workers=1)) == 2


def test_hidden_folders_are_passed_over(tmp_path: Path) -> None:
    files = tree_files(("a",))
    for hidden in (
        "__MACOSX/JPEGImages/a",
        "JPEGImages/.ipynb_checkpoints",
        "JPEGImages/a/@eaDir",
        "JPEGImages/@eaDir",
    ):
        files[f"{hidden}/00000.jpg"] = b"hidden"
    source = write_files(tmp_path / "s", files)
    for number, where in enumerate((source, pack(tmp_path / "s.tar", files))):
        [row] = import_dataset(where, tmp_path / f"out{number}", workers=1)
        assert row.id == "a"


def test_masks_are_matched_by_number_and_jpegs_get_the_real_remedy(folder, tmp_path: Path) -> None:
    files = tree_files(("a",))
    renamed = {name.replace(".png", "_mask.png"): data for name, data in files.items()}
    import_dataset(folder(renamed), tmp_path / "out", workers=1)
    check(tmp_path / "out", files)
    jpegs = {name.replace(".png", ".jpg"): data for name, data in files.items()}
    for labelled_only in (False, True):
        with pytest.raises(
            InputError, match=r"Annotations/a are JPG files .* cannot hold labels: export the masks again"
        ):
            import_dataset(write_files(tmp_path / "j", jpegs), tmp_path / "none", labelled_only=labelled_only)


def test_objects_are_those_that_there_are(folder, tmp_path: Path) -> None:
    masks = [label_mask(t, (0, 38, 75, 113)[: 3 + t]) for t in range(2)]
    import_dataset(folder(one_video([GOOD] * 2, [png_mask(mask) for mask in masks])), tmp_path / "out", workers=1)
    video = ShardSet(tmp_path / "out").video("v")
    assert video.object_ids == (38, 75, 113)
    np.testing.assert_array_equal(video.masks(), np.stack(masks))


def test_colours_and_deep_values_are_one_object_each_in_all_frames(folder, tmp_path: Path) -> None:
    blocks = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) % 3, np.ones((12, 14), np.uint8))[:, :40]
    colors = np.array([[0, 0, 0], [9, 200, 9], [200, 9, 9]], np.uint8)
    deep = np.array([0, 700, 900], np.uint16)
    for number, table in enumerate((colors, deep)):
        masks = []
        for shown in (blocks, np.where(blocks == 1, 0, blocks)):
            buffer = io.BytesIO()
            Image.fromarray(table[shown]).save(buffer, "PNG")
            masks.append(buffer.getvalue())
        source = write_files(tmp_path / f"in{number}", one_video([GOOD] * 2, masks))
        import_dataset(source, tmp_path / f"out{number}", workers=1)
        found = ShardSet(tmp_path / f"out{number}").video("v").masks()
        np.testing.assert_array_equal(found, [blocks, np.where(blocks == 1, 0, blocks)])


def shards_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "shards").iterdir()}


def test_an_interrupted_import_goes_on(folder, tmp_path: Path, monkeypatch) -> None:
    root = folder(tree_files(tuple("abcde")))
    import_dataset(root, tmp_path / "whole", videos_per_shard=2, workers=1)
    stage, calls = tools.convert.importing.stage_video, []

    def stage_some(path, record):
        calls.append(record.id)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return stage(path, record)

    monkeypatch.setattr(tools.convert.importing, "stage_video", stage_some)
    with pytest.raises(KeyboardInterrupt):
        import_dataset(root, tmp_path / "out", videos_per_shard=2, workers=1)
    assert [path.name for path in (tmp_path / "out/shards").iterdir()] == ["shard-00000.h5"]
    assert [path.name for path in (tmp_path / "out/staging").iterdir()] == ["000002.h5"]
    with pytest.raises(InputError, match="was started with videos_per_shard 2, not 3"):
        import_dataset(root, tmp_path / "out", videos_per_shard=3, workers=1)
    rows = import_dataset(root, tmp_path / "out", videos_per_shard=2, workers=1)
    assert [row.id for row in rows] == list("abcde")
    assert calls == list("abcd") + list("de")
    assert shards_of(tmp_path / "out") == shards_of(tmp_path / "whole")
    assert import_dataset(root, tmp_path / "out", videos_per_shard=2, workers=1) == rows
    assert len(calls) == 6
    (root / "JPEGImages/a/00002.jpg").unlink()
    (root / "Annotations/a/00002.png").unlink()
    with pytest.raises(InputError, match="started with other videos or frames"):
        import_dataset(root, tmp_path / "out", videos_per_shard=2, workers=1)


def test_workers_make_the_same_shards(folder, tmp_path: Path) -> None:
    root = folder(tree_files(tuple("abc")))
    for workers in (1, 2):
        import_dataset(root, tmp_path / str(workers), videos_per_shard=2, workers=workers)
    assert shards_of(tmp_path / "1") == shards_of(tmp_path / "2")
    (root / "Annotations/b/00001.png").write_bytes(b"rubbish")
    with pytest.raises(InputError, match=r"b/00001.png is damaged"):
        import_dataset(root, tmp_path / "3", workers=2)
