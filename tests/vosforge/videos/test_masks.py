"""Masks as people save them: which become labels, and what is said of the others."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from vosforge import InputError
from vosforge.videos.folders import FolderVideo, open_folder
from vosforge.videos.masks import match_masks, number_objects, read_values
from vosforge.videos.palette import PALETTE

SIZE = (60, 80)
BOXES = np.zeros(SIZE, np.uint8)
BOXES[5:25, 5:30], BOXES[30:55, 40:75] = 1, 2


def png(image: Image.Image | np.ndarray, suffix: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, suffix, **options)
    return buffer.getvalue()


def painted(*values) -> np.ndarray:
    """The two boxes in other values or colours, the background's first."""
    return np.array(values, np.asarray(values).dtype)[BOXES]


def palette(labels: np.ndarray, colors: np.ndarray) -> Image.Image:
    image = Image.fromarray(labels, "L")
    image.putpalette(colors.astype(np.uint8).tobytes())
    return image


def labels_of(*files: bytes) -> np.ndarray:
    masks = [read_values(data, f"{t}.png", SIZE) for t, data in enumerate(files)]
    numbering = number_objects(masks, "masks")
    return np.stack([numbering.apply(mask.values) for mask in masks])


GREY = np.repeat(np.arange(256)[:, None], 3, axis=1)
U8, U16 = np.uint8, np.uint16
ALPHA = Image.fromarray(painted(*U8((0, 255, 255))))


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        (painted(*U8((0, 255, 255))), (0, 1, 1)),
        (palette(painted(*U8((0, 255, 255))), GREY), (0, 1, 1)),
        (palette(painted(*U8((0, 255, 255))), PALETTE), (0, 1, 1)),
        (Image.fromarray(BOXES > 0), (0, 1, 1)),
        (painted(*U8((0, 1, 255))), (0, 1, 255)),
        (painted(*U8((0, 38, 113))), (0, 38, 113)),
        (palette(painted(*U8((0, 7, 200))), PALETTE), (0, 7, 200)),
        (palette(painted(*U8((0, 7, 200))), 255 - GREY), (0, 7, 200)),
        (painted(*U16((0, 3, 9))), (0, 3, 9)),
        (painted(*U16((0, 1000, 2000))), (0, 1, 2)),
        (painted(*U16((0, 65535, 65535))), (0, 1, 1)),
        (PALETTE[BOXES], (0, 1, 2)),
        (painted(*U8(((0, 0, 0), (0, 0, 255), (255, 0, 0)))), (0, 1, 2)),
        (painted(*U8(((0, 0, 0), (255, 255, 255), (255, 255, 255)))), (0, 1, 1)),
        (Image.fromarray(PALETTE[BOXES]).convert("RGBA"), (0, 1, 2)),
        (Image.merge("RGBA", [Image.new("L", SIZE[::-1])] * 3 + [ALPHA]), (0, 1, 1)),  # a black silhouette
        (Image.merge("LA", [Image.new("L", SIZE[::-1], 255), ALPHA]), (0, 1, 1)),
    ],
)
def test_masks_become_labels(image, wanted) -> None:
    np.testing.assert_array_equal(labels_of(png(image))[0], np.array(wanted)[BOXES])


def test_objects_keep_their_label_from_frame_to_frame() -> None:
    for first, second in (((0, 500, 0), (0, 500, 700)), ((0, 700, 0), (0, 500, 700))):
        early, late = labels_of(png(painted(*U16(first))), png(painted(*U16(second))))
        assert early[10, 10] == (late[10, 10] if first[1] == second[1] else late[40, 50])
    red, both = labels_of(
        png(painted(*U8(([0] * 3, (255, 0, 0), [0] * 3)))), png(painted(*U8(([0] * 3, (255, 0, 0), (0, 9, 0)))))
    )
    assert red[10, 10] == both[10, 10] != both[40, 50]
    void, _ = labels_of(png(painted(*U8((0, 255, 255)))), png(painted(*U8((0, 1, 255)))))
    assert set(np.unique(void)) == {0, 255}


def ellipse(scale: int = 1, *colors, mode: str = "L") -> Image.Image:
    height, width = SIZE
    image = Image.new(mode, (width * scale, height * scale))
    for place, color in enumerate(colors or (255,)):
        box = [(5 + 25 * place), 10 + 7 * place, 27 + 25 * place, 50]
        ImageDraw.Draw(image).ellipse([scale * side for side in box], fill=color)
    return image


def small(image: Image.Image) -> Image.Image:
    return image.resize(SIZE[::-1], Image.Resampling.BOX)


SOFT = {
    "smoothed twice as large": small(ellipse(2)),
    "smoothed": small(ellipse(8)),
    "three objects": small(ellipse(3, 60, 130, 200)),
    "blurred": ellipse().filter(ImageFilter.GaussianBlur(2)),
    "feathered": ellipse().filter(ImageFilter.GaussianBlur(8)),
    "enlarged": small(ellipse()).resize((20, 15)).resize(SIZE[::-1], Image.Resampling.BILINEAR),
    "once a JPEG": Image.open(io.BytesIO(png(ellipse(), "JPEG"))).copy(),
    "grey palette": small(ellipse(4)).convert("P"),
    "grey in colours": small(ellipse(4)).convert("RGB"),
    "16 bits": Image.fromarray(np.asarray(small(ellipse(4))).astype(np.uint16) * 257),
    "alpha": Image.merge("RGBA", [Image.new("L", SIZE[::-1], 255)] * 3 + [small(ellipse(4))]),
    "colours": small(ellipse(4, (255, 0, 0), (0, 255, 0), mode="RGB")),
    "colours in a palette": small(ellipse(4, (255, 0, 0), (0, 255, 0), mode="RGB")).quantize(32),
}


@pytest.mark.parametrize("name", SOFT)
def test_soft_edges_are_refused_with_their_number(name: str) -> None:
    image = SOFT[name]
    values = np.asarray(image).reshape(SIZE[0] * SIZE[1], -1)
    count = len(np.unique(values, axis=0)) - 1
    what = "colours" if name.startswith("colours") else "grey values"
    with pytest.raises(
        InputError, match=f"m.png is a mask with soft edges: {count if name != 'alpha' else ''}.*{what}"
    ):
        read_values(png(image), "m.png", SIZE)


def test_small_thin_and_many_objects_are_no_soft_edges() -> None:
    rng = np.random.default_rng(0)
    tiny, crowd = (Image.new("L", SIZE[::-1]) for _ in range(2))
    for k in range(1, 41):
        x, y = (int(rng.integers(0, side - 3)) for side in SIZE[::-1])
        ImageDraw.Draw(tiny).rectangle([x, y, x + k % 2, y + k % 3], fill=k)
        ImageDraw.Draw(crowd).ellipse([x, y, x + 12, y + 15], fill=k)
    lines = ellipse(1, 1, 2, 3)
    for k in range(4, 9):
        ImageDraw.Draw(lines).line([10 * k, 0, 8 * k, 59], fill=k)
    ring = np.asarray(ellipse(1, 1, 2, 3)).copy()
    ring[cv2.dilate(ring, np.ones((3, 3))) != cv2.erode(ring, np.ones((3, 3)))] = 255
    grid = np.kron(np.arange(1, 201, dtype=np.uint8).reshape(10, 20), np.ones((6, 4), np.uint8))
    for image in (tiny, lines, crowd, Image.fromarray(ring), Image.fromarray(grid)):
        np.testing.assert_array_equal(labels_of(png(image))[0], np.asarray(image))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (png(BOXES, "JPEG"), "m.png is a JPEG file, which cannot hold labels"),
        (png(BOXES, "BMP"), "m.png is a BMP file"),
        (png(BOXES)[:60], "m.png is damaged or not a PNG"),
        (b"", "m.png is damaged or not a PNG"),
        (png(BOXES[:-1]), "m.png is 80x59, its frame 80x60"),
        (
            png(np.kron(np.arange(300, dtype=np.uint16).reshape(15, 20), np.ones((4, 4), np.uint16))),
            "m.png has 299 grey",
        ),
    ],
)
def test_what_holds_no_labels_is_refused_by_name(data: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read_values(data, "m.png", SIZE)
    assert "BytesIO" not in str(caught.value) and "\n" not in str(caught.value)


def test_masks_of_two_kinds_are_refused() -> None:
    with pytest.raises(InputError, match="masks: some masks hold labels, others colours"):
        labels_of(png(BOXES), png(PALETTE[BOXES]))


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (["00000.png", "00001.PNG"], ["00000.png", "00001.PNG"]),
        (["00000_mask.png", "00001_mask.png"], ["00000_mask.png", "00001_mask.png"]),
        (["mask_1.png", "mask_0.png", "notes.txt"], ["mask_0.png", "mask_1.png"]),
        (["1.png"], [None, "1.png"]),
        ([], [None, None]),
    ],
)
def test_masks_are_found_by_name_or_number(files, wanted) -> None:
    frames = ["00000", "00001"]
    found = match_masks(frames, files, "masks")
    assert [found.get(frame) for frame in frames] == wanted


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (
            ["00000.jpg", "00001.jpg"],
            r"the masks in masks are JPG files \(the first is 00000.jpg\), which cannot hold labels",
        ),
        (["00000.mp4"], "are MP4 files"),
        (
            ["one.png", "two.png"],
            "no mask in masks is named like a frame .*: give masks their frames' names, 00000.png",
        ),
        (["00000.png", "00007.png"], "mask 00007.png in masks has no frame: add its frame, or remove it"),
        (["00000_a.png", "00000_b.png"], "two masks of frame 00000, 00000_a.png and 00000_b.png: keep one"),
    ],
)
def test_masks_of_no_frame_get_the_real_remedy(files, says) -> None:
    with pytest.raises(InputError, match=says):
        match_masks(["00000", "00001"], files, "masks")


def video_of(root: Path, masks: dict[str, bytes], frames: int = 2) -> FolderVideo:
    for t in range(frames):
        (root / "JPEGImages/v").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE[::-1]).save(root / f"JPEGImages/v/{t:05d}.jpg")
    for name, data in masks.items():
        (root / "Annotations/v").mkdir(parents=True, exist_ok=True)
        (root / "Annotations/v" / name).write_bytes(data)
    (video,) = open_folder(root)
    return video


def test_a_folder_is_read_by_the_same_rules(tmp_path: Path) -> None:
    black, late = png(painted(*U8((0, 255, 0)))), png(painted(*U8((0, 255, 255))))
    video = video_of(tmp_path / "a", {"00000_mask.png": black, "00001_mask.png": late})
    assert video.has_masks and video.object_ids == (1,) and (video.mask(1) == (BOXES > 0)).all()
    video = video_of(
        tmp_path / "b", {"00000.png": png(painted(*U16((0, 900, 0)))), "00001.png": png(painted(*U16((0, 900, 400))))}
    )
    assert video.mask(0)[10, 10] == video.mask(1)[10, 10] == 2 and video.num_objects == 2
    video = video_of(tmp_path / "c", {"00000.jpg": png(BOXES, "JPEG")})
    assert not video.has_masks


def test_hidden_folders_hold_no_videos(tmp_path: Path) -> None:
    video_of(tmp_path, {})
    for name in (".ipynb_checkpoints", "@eaDir", "__MACOSX"):
        for folder in (tmp_path / "JPEGImages" / name, tmp_path / "JPEGImages/v" / name):
            folder.mkdir()
            Image.new("RGB", (8, 8)).save(folder / "00000.jpg")
    assert [video.id for video in open_folder(tmp_path)] == ["v"]


def test_frames_beside_masks_are_one_video_by_its_folders_name(tmp_path: Path) -> None:
    for folder, data in (("frames", png(PALETTE[BOXES], "JPEG")), ("masks", png(BOXES))):
        (tmp_path / "own" / folder).mkdir(parents=True)
        (tmp_path / "own" / folder / f"0.{'jpg' if folder == 'frames' else 'png'}").write_bytes(data)
    (video,) = open_folder(tmp_path / "own")
    assert video.id == "own" and video.object_ids == (1, 2)
