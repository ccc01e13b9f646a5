from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torchvision.utils import flow_to_image

from tests.render.conftest import make_record, without_colors
from tools.inspect.overlay import overlay
from tools.inspect.pass_pictures import PICTURES
from tools.inspect.view import open_video, video_sheet, view_video
from vosforge import InputError
from vosforge.videos import VideoRecord, build_manifest, pack_shard, stage_video
from vosforge.videos.codec import encode
from vosforge.videos.video import MemoryVideo


def moving_square(name: str, num_frames: int, height: int, width: int, masks: bool = True) -> MemoryVideo:
    y, x = np.mgrid[:height, :width]
    frames = np.repeat(np.stack([3 * x % 256, 2 * y % 256, x + y], -1).astype(np.uint8)[None], num_frames, 0)
    labels = np.zeros((num_frames, height, width), np.uint8)
    for t in range(num_frames):
        frames[t, 10:30, t : t + 20] = (250, 240, 40)
        labels[t, 10:30, t : t + 20] = 1
    return MemoryVideo(name, frames, labels if masks else None)


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]


def nearest(picture: np.ndarray, candidates: list[np.ndarray]) -> int:
    """The index of the candidate that ``picture`` shows, which must be close to it."""
    distances = [np.abs(picture.astype(int) - candidate).mean() for candidate in candidates]
    assert min(distances) < 12
    return int(np.argmin(distances))


@pytest.mark.parametrize(("masks", "height", "width"), [(True, 64, 97), (False, 41, 63)])
def test_every_file_decodes_with_the_right_frames(tmp_path: Path, masks: bool, height: int, width: int) -> None:
    video = moving_square("set/square", 9, height, width, masks)
    files = view_video(video, tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "set_square.gif",
        "set_square.mp4",
        "set_square.png",
    ]
    expected = [overlay(video.frame(t), video.mask(t)) if masks else video.frame(t) for t in range(9)]
    with Image.open(files.gif) as gif:
        assert (len(ImageSequence.all_frames(gif)), gif.size) == (9, (width, height))
        for t in range(9):
            gif.seek(t)
            assert nearest(np.asarray(gif.convert("RGB")), expected) == t
    frames = decoded(files.mp4)
    assert len(frames) == 9
    beside = [np.hstack([video.frame(t), expected[t]]) if masks else expected[t] for t in range(9)]
    wide = beside[0].shape[1]
    for t, frame in enumerate(frames):
        assert frame.shape[:2] == (height + height % 2, wide + wide % 2)
        assert nearest(frame[:height, :wide], beside) == t
    with Image.open(files.png) as sheet:
        np.testing.assert_array_equal(np.asarray(sheet), video_sheet(video))


def test_a_long_video_gets_a_short_gif_of_the_same_length_in_time(tmp_path: Path) -> None:
    files = view_video(moving_square("long", 130, 40, 160), tmp_path)
    with Image.open(files.gif) as gif:
        assert len(ImageSequence.all_frames(gif)) == 60
        assert gif.info["duration"] * 60 / 1000 == pytest.approx(130 / 12, rel=0.05)
    assert len(decoded(files.mp4)) == 130


def test_one_frame_is_a_video_too(tmp_path: Path) -> None:
    files = view_video(moving_square("one", 1, 40, 60), tmp_path)
    assert len(decoded(files.mp4)) == 1
    with Image.open(files.gif) as gif:
        assert len(ImageSequence.all_frames(gif)) == 1


def test_a_failing_video_leaves_no_half_files(tmp_path: Path) -> None:
    class Broken(MemoryVideo):
        def frame(self, t: int) -> np.ndarray:
            if t == 3:
                raise InputError("frame 3 is damaged")
            return super().frame(t)

    whole = moving_square("broken", 60, 40, 100)
    with pytest.raises(InputError, match="frame 3"):
        view_video(Broken("broken", whole.all_frames, whole.all_masks), tmp_path)
    # The contact sheet does not show frame 3 and is whole; what could not be finished is not there.
    assert [path.name for path in tmp_path.iterdir()] == ["broken.png"]


def test_a_file_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match=r"cannot write to .*out"):
        view_video(moving_square("v", 2, 40, 60), tmp_path / "out")


def data_set(root: Path) -> list[MemoryVideo]:
    videos = [moving_square(f"{i:06d}", 3, 40, 60 + 8 * i) for i in range(2)]
    staged = []
    for video in videos:
        record = VideoRecord(
            id=video.id,
            split="train",
            rgb=tuple(encode(frame, "jpeg", 95) for frame in video.all_frames),
            encoding="jpeg",
            mask=video.masks(),
            category=("square",),
            darkest=50.0,
        )
        staged.append(root / "staging" / f"{video.id}.h5")
        stage_video(staged[-1], record)
    pack_shard(root / "shards", 0, staged, {})
    build_manifest(root)
    return videos


def test_videos_are_found_in_data_sets_and_shards(tmp_path: Path) -> None:
    videos = data_set(tmp_path)
    for where in (tmp_path, tmp_path / "shards" / "shard-00000.h5"):
        assert open_video(str(where)).id == "000000"
        found = open_video(f"{where}:000001")
        assert (found.id, found.width) == ("000001", 68)
        np.testing.assert_array_equal(found.masks(), videos[1].masks())
        with pytest.raises(InputError, match="no video 'nope'"):
            open_video(f"{where}:nope")
    assert view_video(open_video(str(tmp_path)), tmp_path / "out").mp4.is_file()


def test_a_sheet_shows_the_passes_of_a_video(tmp_path: Path) -> None:
    sheets = {}
    for passes in (False, True):
        path = tmp_path / f"{passes}.h5"
        stage_video(path, make_record(0, passes=passes))
        video = open_video(str(path))
        sheets[passes] = video_sheet(video)
        for name in video.passes:
            picture = PICTURES[name](video, 3)
            assert picture.shape == (24, 40, 3) and picture.dtype == np.uint8
            assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
    assert sheets[True].shape[0] > sheets[False].shape[0] + 5 * 24


def test_a_video_without_colours_shows_its_masks(tmp_path: Path) -> None:
    masks = moving_square("square", 4, 48, 80).masks()
    stage_video(tmp_path / "0.h5", replace(without_colors(make_record(0, height=48, width=80)), mask=masks))
    video = open_video(str(tmp_path / "0.h5"))
    expected = [overlay(np.zeros((48, 80, 3), np.uint8), mask, alpha=1.0) for mask in masks]
    files = view_video(video, tmp_path / "out")
    frames = decoded(files.mp4)
    assert [frame.shape for frame in frames] == [(48, 80, 3)] * 4
    assert [nearest(frame, expected) for frame in frames] == [0, 1, 2, 3]
    with Image.open(files.gif) as gif:
        assert (len(ImageSequence.all_frames(gif)), gif.size) == (4, (80, 48))
    np.testing.assert_array_equal(video_sheet(video)[6:54, 6:86], expected[0])


def test_a_sheet_without_colours_shows_masks_once_and_passes(tmp_path: Path) -> None:
    record = make_record(0, passes=True)
    heights = []
    for number, each in enumerate((record, without_colors(record))):
        stage_video(tmp_path / f"{number}.h5", each)
        video = open_video(str(tmp_path / f"{number}.h5"))
        heights.append(video_sheet(video).shape[0])
        for name in video.passes:
            assert PICTURES[name](video, 1).shape == (24, 40, 3)
    assert heights[1] == heights[0] - 24 - 6


def test_the_colours_of_passes_mean_what_they_say(tmp_path: Path) -> None:
    record = make_record(0, passes=True)
    record.passes["depth"][0], record.passes["depth"][0, 0] = 8, 2
    record.passes["depth"][0, 1] = np.inf
    record.passes["flow_fwd"][0] = (3, 0)
    record.passes["flow_fwd"][0, 0] = np.nan
    record.passes["normal"][0] = (0, -127, 0)
    stage_video(tmp_path / "0.h5", record)
    video = open_video(str(tmp_path / "0.h5"))
    depth, flow, normal = (PICTURES[name](video, 0) for name in ("depth", "flow", "normal"))
    assert depth[0, 0].argmax() == 0 and depth[9, 9].argmax() == 2 and not depth[1].any()
    assert np.abs(flow[9, 9].astype(int) - [255, 0, 0]).max() <= 1 and (flow[0] == 128).all()
    assert normal[9, 9].tolist() == [128, 255, 128]


def test_flow_has_middleburys_colours_and_outliers_leave_the_rest_as_bright(tmp_path: Path) -> None:
    record = make_record(0, passes=True)
    flow = record.passes["flow_fwd"]
    flow[0] = np.random.default_rng(1).uniform(-4, 4, flow[0].shape)
    flow[1], flow[1, 0, 0], flow[1, 0, 1] = (0, 2), (0, 200), (0, 1)
    flow[2] = 0
    stage_video(tmp_path / "0.h5", record)
    video = open_video(str(tmp_path / "0.h5"))
    seen = [PICTURES["flow"](video, t).astype(int) for t in range(3)]
    whole = flow_to_image(torch.from_numpy(flow[0].astype(np.float32)).movedim(2, 0)).movedim(0, 2).numpy()
    slow = np.linalg.norm(flow[0].astype(float), axis=2) < 4  # its fastest hundredth is cut
    assert np.abs(seen[0] - whole)[slow].max() <= 20
    assert np.abs(seen[1][0, 0] - seen[1][5, 5]).max() <= 1 and (seen[1][0, 1] > seen[1][5, 5] - 1).all()
    assert (seen[2] >= 254).all()


def test_videos_are_found_in_frame_folders(tmp_path: Path) -> None:
    for name in ("bear", "goat"):
        video = moving_square(name, 2, 40, 60)
        for t in range(2):
            for kind, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
                (tmp_path / "davis" / kind / "480p" / name).mkdir(parents=True, exist_ok=True)
                path = tmp_path / "davis" / kind / "480p" / name / f"{t:05d}.{suffix}"
                if suffix == "jpg":
                    cv2.imwrite(str(path), video.frame(t)[..., ::-1])
                else:
                    Image.fromarray(video.mask(t)).save(path)
    root = tmp_path / "davis"
    assert open_video(str(root)).id == "bear"
    assert open_video(f"{root}:goat").has_masks
    assert open_video(str(root / "JPEGImages" / "480p" / "goat")).id == "goat"
    with pytest.raises(InputError, match=r"no video 'cow' in .*; there are bear, goat"):
        open_video(f"{root}:cow")


def test_a_path_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    for where in (f"{tmp_path}/nothing", f"{tmp_path}/nothing:video"):
        with pytest.raises(InputError, match=r"/nothing does not exist: give"):
            open_video(where)
