"""Small videos of noise with awkward labels, as data sets and as folders."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vosforge.seeding import rng_for
from vosforge.videos import ShardSet, VideoRecord, build_manifest, pack_shard, stage_video
from vosforge.videos.codec import Encoding, encode
from vosforge.videos.palette import PALETTE


def make_record(
    video_id: str,
    labels: tuple[int, ...] = (1, 2),
    frames: int = 3,
    encoding: Encoding = "jpeg",
    split: str = "train",
    names: tuple[str, ...] = (),
    size: tuple[int, int] = (24, 40),
) -> VideoRecord:
    """A video of noise that shows ``labels`` (255 is void), each from its own frame on."""
    rng = rng_for("convert", video_id)
    pictures = rng.integers(0, 256, (frames, *size, 3), dtype=np.uint8)
    mask = np.zeros((frames, *size), np.uint8)
    for place, label in enumerate(labels):
        for t in range(place % frames, frames):
            mask[t][rng.random(size) < 0.2] = label
    K = max((label for label in labels if label != 255), default=0)
    return VideoRecord(
        id=video_id,
        split=split,
        rgb=tuple(encode(picture, encoding, 95) for picture in pictures),
        encoding=encoding,
        mask=mask,
        category=tuple(f"kind {k % 3}" for k in range(K)),
        darkest=1.0,
        void=255 in labels,
        attributes={"frame_names": list(names)} if names else {},
    )


RECORDS = (
    make_record("000000"),
    make_record("000001", (2, 7, 255), frames=4, encoding="png", split="val"),
    make_record("a bear.2", (1, 3), encoding="webp", names=("00005", "00010", "b00")),
    make_record("empty", ()),
    make_record("many", tuple(range(1, 255)), size=(64, 80), split="val"),
)


def write_set(root: Path, records: tuple[VideoRecord, ...]) -> ShardSet:
    staged = [root / "staging" / f"{index}.h5" for index in range(len(records))]
    for path, record in zip(staged, records, strict=True):
        stage_video(path, record)
    pack_shard(root / "shards", 0, staged, {})
    build_manifest(root)
    return ShardSet(root)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_set(tmp_path / "data", RECORDS)
    return tmp_path / "data"


def png_mask(mask: np.ndarray, mode: str = "P") -> bytes:
    image = Image.fromarray(mask, "L")
    if mode == "P":
        image.putpalette(PALETTE.tobytes())
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def picture(seed: int, size: tuple[int, int] = (24, 40), suffix: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    noise = rng_for("picture", seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, suffix)
    return buffer.getvalue()


def label_mask(seed: int, labels: tuple[int, ...] = (0, 1, 2), size: tuple[int, int] = (24, 40)) -> np.ndarray:
    return rng_for("mask", seed).choice(np.array(labels, np.uint8), size)


Files = dict[str, bytes]


def tree_files(videos: tuple[str, ...] = ("a", "b"), frames: int = 3, top: str = "", middle: str = "") -> Files:
    """The files of a JPEGImages/Annotations tree, by path."""
    files: Files = {}
    for number, video in enumerate(videos):
        for t in range(frames):
            seed = 100 * number + t
            files[f"{top}JPEGImages/{middle}{video}/{t:05d}.jpg"] = picture(seed)
            files[f"{top}Annotations/{middle}{video}/{t:05d}.png"] = png_mask(label_mask(seed))
    return files


def write_files(root: Path, files: Files) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def pack(path: Path, files: Files, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[Files], Path]:
    return lambda files: write_files(tmp_path / "source", files)
