"""Shards to every folder layout and back: masks to the bit, JPEG bytes as they were."""

from pathlib import Path

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.tools.convert.conftest import RECORDS, write_set
from tools.convert.exporting import export_dataset
from tools.convert.importing import import_dataset
from tools.convert.writing import objects_seen
from vosforge.videos import ShardSet, VideoRecord
from vosforge.videos.codec import encode
from vosforge.videos.names import categories

LAYOUTS = ("davis", "bl30k", "youtube-vos")


def same_video(found, record: VideoRecord) -> None:
    np.testing.assert_array_equal(found.masks(), record.mask)
    assert found.void == (255 if record.void else None)
    assert found.attributes.get("frame_names", []) == record.attributes.get("frame_names", [])
    if record.encoding == "jpeg":
        assert [found.encoded(t) for t in range(found.num_frames)] == list(record.rgb)
    else:
        assert found.encoding == "jpeg"
    found.verify()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_folder_layout_brings_everything_back(data: Path, tmp_path: Path, layout: str) -> None:
    assert export_dataset(data, tmp_path / "out", layout) == len(RECORDS)
    rows = import_dataset(tmp_path / "out", tmp_path / "back", workers=1, videos_per_shard=2)
    assert [row.id for row in rows] == sorted(record.id for record in RECORDS)
    back = ShardSet(tmp_path / "back")
    assert len(list((tmp_path / "back" / "shards").iterdir())) == 3
    assert {video.attributes["source"]["format"] for video in back} == {layout}
    for record in RECORDS:
        found = back.video(record.id)
        same_video(found, record)
        if layout != "bl30k":
            assert found.row.split == record.split
        if layout == "youtube-vos":
            for label in {k for t in range(found.num_frames) for k in objects_seen(found, found.mask(t))}:
                assert categories(found)[label - 1] == record.category[label - 1]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_second_round_writes_the_same_bytes(data: Path, tmp_path: Path, layout: str) -> None:
    export_dataset(data, tmp_path / "once", layout)
    import_dataset(tmp_path / "once", tmp_path / "back", workers=1)
    export_dataset(tmp_path / "back", tmp_path / "twice", layout)
    once, twice = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*.[jp][pn]g")}
        for root in (tmp_path / "once", tmp_path / "twice")
    )
    assert once == twice


@pytest.mark.parametrize("split", ["train", "val"])
def test_half_of_youtube_vos_comes_back_too(data: Path, tmp_path: Path, split: str) -> None:
    export_dataset(data, tmp_path / "out", "youtube-vos", split=split)
    import_dataset(tmp_path / "out", tmp_path / "back", workers=1)
    back = ShardSet(tmp_path / "back")
    wanted = {record.id: record for record in RECORDS if record.split == split}
    assert {video.id: video.row.split for video in back} == dict.fromkeys(wanted, split)
    for video in back:
        same_video(video, wanted[video.id])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mask=arrays.arrays(np.uint8, (2, 9, 13), elements=st.sampled_from([0, 1, 2, 9, 128, 254, 255])),
    layout=st.sampled_from(LAYOUTS),
)
def test_any_labels_survive(tmp_path_factory, mask: np.ndarray, layout: str) -> None:
    assume(not (mask == 255).any() or ((mask > 0) & (mask < 255)).any())  # void alone reads as black and white
    root = tmp_path_factory.mktemp("any")
    frame = encode(np.zeros((9, 13, 3), np.uint8), "jpeg", 95)
    K = int(np.max(mask, where=mask != 255, initial=0))
    void = bool((mask == 255).any())
    record = VideoRecord("v", "train", (frame, frame), "jpeg", mask, ("thing",) * K, 0.0, void)
    write_set(root / "data", (record,))
    export_dataset(root / "data", root / "out", layout)
    import_dataset(root / "out", root / "back", workers=1)
    found = ShardSet(root / "back").video("v")
    same_video(found, record)
    assert found.num_objects == K


REAL = Path(__file__).resolve().parents[4] / "shared" / "real"


@pytest.mark.skipif(not REAL.is_dir(), reason="the real videos are not here")
def test_a_real_video(tmp_path: Path) -> None:
    source = REAL / "JPEGImages" / "480p" / "libby"
    [row] = import_dataset(source, tmp_path / "real", workers=1)
    assert (row.id, row.height, row.width) == ("libby", 480, 854)
    video = ShardSet(tmp_path / "real").video("libby")
    for t in (0, row.num_frames - 1):
        assert video.encoded(t) == (source / f"{t:05d}.jpg").read_bytes()
        with Image.open(REAL / "Annotations" / "480p" / "libby" / f"{t:05d}.png") as image:
            np.testing.assert_array_equal(video.mask(t), np.asarray(image))
