"""Exports read the way published loaders read them: their file patterns and their rules for indices, written anew.

DAVIS and YouTube-VOS as the test loaders of MiVOS and STCN do, BL30K as MiVOS's training loader does.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.tools.convert.conftest import RECORDS, make_record, write_set
from tools.convert.exporting import export_dataset
from vosforge.log import logger
from vosforge.videos import ShardSet

BY_ID = {record.id: record for record in RECORDS}
NUMBERED = [record.id for record in RECORDS if not record.attributes]


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mask_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("P"))


def davis(root: Path, imset: str) -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    """Frames, masks and the number of objects in frame 0, by video: frames are counted, not listed."""
    videos = {}
    for video in (root / "ImageSets" / imset).read_text().splitlines():
        count = len(listed(root / "JPEGImages/480p" / video))
        frames = [Image.open(root / f"JPEGImages/480p/{video}/{t:05d}.jpg").convert("RGB") for t in range(count)]
        masks = np.stack([mask_of(root / f"Annotations/480p/{video}/{t:05d}.png") for t in range(count)])
        videos[video] = np.stack(frames), masks, int(masks[0].max())
    return videos


def test_davis(data: Path, tmp_path: Path) -> None:
    export_dataset(data, tmp_path / "out", "davis", video_ids=NUMBERED)
    for split in ("train", "val"):
        found = davis(tmp_path / "out", f"2017/{split}.txt")
        assert list(found) == [video for video in NUMBERED if BY_ID[video].split == split]
        for video, (frames, masks, first) in found.items():
            assert frames.shape == (*BY_ID[video].mask.shape, 3) and first == BY_ID[video].mask[0].max()
            np.testing.assert_array_equal(masks, BY_ID[video].mask)


def test_the_davis_export_names_what_its_test_loaders_misread(tmp_path: Path, caplog, monkeypatch) -> None:
    records = (make_record("all", (1,)), make_record("late"), make_record("named", (1,), names=("5", "6", "7")))
    write_set(tmp_path / "data", records)
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "handlers", [])
    export_dataset(tmp_path / "data", tmp_path / "out", "davis")
    assert next(line for line in caplog.messages if "enter after frame 0" in line).endswith(": late")
    assert next(line for line in caplog.messages if "not named 00000" in line).endswith(": named")
    assert len(caplog.messages) == 2
    caplog.clear()
    export_dataset(tmp_path / "data", tmp_path / "quiet", "davis", video_ids=["all"])
    assert not caplog.messages


def youtube(root: Path, split: str) -> dict[str, tuple[int, dict[int, list[int]]]]:
    """How many frames a video has and which objects enter when: all_frames' images, the split's masks."""
    images, given = root / "all_frames" / f"{split}_all_frames" / "JPEGImages", root / split / "Annotations"
    videos = {}
    for video in listed(images):
        frames = listed(images / video)
        shape = mask_of(given / video / listed(given / video)[0]).shape
        enter = {}
        for t, frame in enumerate(frames):
            assert Image.open(images / video / frame).size == shape[::-1]
            if (given / video / frame.replace(".jpg", ".png")).exists():
                labels = np.unique(mask_of(given / video / frame.replace(".jpg", ".png")))
                enter[t] = labels[labels > 0].tolist()
        videos[video] = len(frames), enter
    return videos


def test_youtube_vos_valid(data: Path, tmp_path: Path) -> None:
    export_dataset(data, tmp_path / "vos", "youtube-vos")
    found = youtube(tmp_path / "vos", "valid")
    assert list(found) == [record.id for record in RECORDS if record.split == "val"]
    for video, (count, enter) in found.items():
        record = BY_ID[video]
        assert count == len(record.rgb)
        seen: set[int] = set()
        for t, mask in enumerate(record.mask):
            new = set(np.unique(mask).tolist()) - seen - {0, 255}
            assert set(enter.get(t, [])) == new
            seen |= new


def test_youtube_vos_train(data: Path, tmp_path: Path) -> None:
    export_dataset(data, tmp_path / "vos", "youtube-vos")
    meta = json.loads((tmp_path / "vos/train/meta.json").read_text())["videos"]
    for video in listed(tmp_path / "vos/train/JPEGImages"):
        frames = listed(tmp_path / "vos/train/JPEGImages" / video)
        masks = [mask_of(tmp_path / "vos/train/Annotations" / video / f"{name[:-4]}.png") for name in frames]
        np.testing.assert_array_equal(masks, BY_ID[video].mask)
        for label, said in meta[video]["objects"].items():
            assert said["category"] == BY_ID[video].category[int(label) - 1]
            shown = [name[:-4] for name, mask in zip(frames, masks, strict=True) if (mask == int(label)).any()]
            assert said["frames"] == shown


def test_bl30k(data: Path, tmp_path: Path) -> None:
    export_dataset(data, tmp_path / "out", "bl30k")
    images, annotations = tmp_path / "out/BL30K/JPEGImages", tmp_path / "out/BL30K/Annotations"
    assert listed(images) == sorted(BY_ID)
    for video in listed(images):
        frames = listed(images / video)
        masks = [mask_of(annotations / video / f"{name[:-4]}.png") for name in frames]
        np.testing.assert_array_equal(masks, BY_ID[video].mask)


def test_splits_and_categories_go_where_there_is_a_place(data: Path, tmp_path: Path) -> None:
    for layout in ("coco", "webdataset"):
        export_dataset(data, tmp_path / layout, layout)
    for split in ("train", "val"):
        said = json.loads((tmp_path / f"coco/annotations/instances_{split}.json").read_text())
        assert {each["name"] for each in said["videos"]} == {r.id for r in RECORDS if r.split == split}
        assert (tmp_path / f"webdataset/{split}-000000.tar").is_file()
    assert {video.id: video.row.split for video in ShardSet(data)} == {r.id: r.split for r in RECORDS}
