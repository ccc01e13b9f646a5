from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vosforge import InputError
from vosforge.videos.folders import FolderVideo, open_folder
from vosforge.videos.video import MemoryVideo, Video, in_memory, usable_for_training

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "real"


def write_davis(root: Path, name: str, video: MemoryVideo, resolution: str = "480p", palette: bool = True) -> None:
    for kind in ("JPEGImages", "Annotations"):
        (root / kind / resolution / name).mkdir(parents=True)
    for t in range(video.num_frames):
        frame = root / "JPEGImages" / resolution / name / f"{t:05d}.jpg"
        Image.fromarray(video.frame(t)).save(frame, quality=98, subsampling=0)
        mask = Image.fromarray(video.mask(t), "L")
        if palette:
            mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        mask.save(root / "Annotations" / resolution / name / f"{t:05d}.png")


@pytest.mark.parametrize("resolution", ["480p", "."])
def test_davis_layout(tmp_path: Any, make_video: Any, resolution: Any) -> None:
    videos = {"b": make_video(0, num_frames=3), "a": make_video(1, num_frames=2, height=40, width=60)}
    for name, video in videos.items():
        write_davis(tmp_path, name, video, resolution)
    found = open_folder(tmp_path)
    assert [video.id for video in found] == ["a", "b"]
    for video in found:
        original = videos[video.id]
        assert isinstance(video, Video) and video.has_masks
        assert np.array_equal(video.masks(), original.masks())
        assert video.object_ids == original.object_ids and video.num_objects == original.num_objects
        assert np.abs(video.frames().astype(int) - original.frames()).mean() < 5
        assert (video.height, video.width) == original.frames().shape[1:3]
    (alone,) = open_folder(tmp_path / "JPEGImages" / resolution / "a")
    assert alone.has_masks and alone.num_frames == 2


def test_plain_folder_has_no_masks(tmp_path: Any, make_video: Any) -> None:
    video = make_video(0, num_frames=2)
    for t in range(2):
        Image.fromarray(video.frame(t)).save(tmp_path / f"{t}.png")
    (found,) = open_folder(tmp_path)
    assert not found.has_masks and found.num_objects == 0 and found.object_ids == ()
    assert np.array_equal(found.frames(), video.frames())
    with pytest.raises(InputError, match="no masks"):
        found.mask(0)
    with pytest.raises(InputError, match="no masks"):
        in_memory([found])[0].mask(0)
    with pytest.raises(InputError, match="none of the 1 training videos"):
        usable_for_training([found])


def test_labels_of_grey_and_palette_masks(tmp_path: Any) -> None:
    frames, masks = tmp_path / "frames", tmp_path / "masks"
    frames.mkdir()
    masks.mkdir()
    label = np.zeros((8, 8), np.uint8)
    label[2:4], label[6:] = 3, 255
    for t, mode in enumerate(("P", "L", "black and white")):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(frames / f"{t}.png")
        values = np.where(label == 3, 0, label).astype(np.uint8) if mode == "black and white" else label
        image = Image.fromarray(values, "L")
        if mode == "P":
            image.putpalette([0] * 768)
        image.save(masks / f"{t}.png")
    video = FolderVideo(frames, masks)
    assert np.array_equal(video.mask(0), label) and np.array_equal(video.mask(1), label)
    assert np.array_equal(video.mask(2), np.where(label == 255, label, 0))  # void, by what the others hold
    assert video.object_ids == (3,)


def test_bad_folders_get_one_clear_sentence(tmp_path: Any, make_video: Any) -> None:
    with pytest.raises(InputError, match="no folder"):
        open_folder(tmp_path / "missing")
    with pytest.raises(InputError, match="neither frames nor"):
        open_folder(tmp_path)
    (tmp_path / "JPEGImages" / "480p").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no video"):
        open_folder(tmp_path)
    write_davis(tmp_path, "v", make_video(0, num_frames=2))
    frames, masks = tmp_path / "JPEGImages" / "480p" / "v", tmp_path / "Annotations" / "480p" / "v"
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(masks / "00000.png")
    (video,) = open_folder(tmp_path)
    with pytest.raises(InputError, match="5x5"):
        video.mask(0)
    Image.fromarray(np.zeros((96, 128, 3), np.uint8)).save(masks / "00000.png")
    assert not video.mask(0).any()
    (masks / "00000.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    with pytest.raises(InputError, match="damaged"):
        video.mask(0)
    (masks / "00000.png").unlink()
    assert not open_folder(tmp_path)[0].has_masks
    with pytest.raises(InputError, match="cannot read the mask"):
        video.mask(0)
    Image.fromarray(np.zeros((5, 6, 3), np.uint8)).save(frames / "00001.jpg")
    with pytest.raises(InputError, match="6x5"):
        video.frame(1)
    (frames / "00001.jpg").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="damaged"):
        video.frame(1)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real videos are not here")
def test_real_videos() -> None:
    videos = open_folder(REAL)
    assert len(videos) == 6
    for video in videos:
        assert video.has_masks
        assert (video.height, video.width) == (480, 854)
        assert 1 in np.unique(video.mask(0)) and video.mask(0).max() < 255


def test_frames_come_by_number_without_hidden_files(tmp_path: Path) -> None:
    for number in (10, 9, 1, 2, 11):
        Image.new("RGB", (8, 8)).save(tmp_path / f"frame{number}.jpg")
    for other in ("._frame1.jpg", ".x.png", "Thumbs.db"):
        (tmp_path / other).write_bytes(b"no image")
    (video,) = open_folder(tmp_path)
    assert video.frame_names == ["frame1", "frame2", "frame9", "frame10", "frame11"]


def test_a_frame_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    for suffix in ("jpg", "png"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"00000.{suffix}")
    with pytest.raises(InputError, match="a frame twice"):
        open_folder(tmp_path)
