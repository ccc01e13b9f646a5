"""Folders of masks in any of the ways people save them: the objects come out as drawn, or a sentence says why not."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vosforge import InputError
from vosforge.seeding import rng_for
from vosforge.videos.folders import FolderVideo
from vosforge.videos.palette import PALETTE

HEIGHT, WIDTH = 48, 64
KEPT = ("grey", "palette", "davis palette", "4 bit", "16 bit labels")
COUNTED = ("black and white", "black and white palette", "1 bit", "16 bit", "colours", "opaque colours", "alpha")
REFUSED = {
    "soft": "soft edges",
    "soft colours": "soft edges",
    "jpeg": "cannot hold labels",
    "cut short": "damaged",
    "other size": "make them equal",
}
NAMES = ("{:05d}", "{}", "frame{}", "img_{:03d}", "{:04d}0")


def drawn(rng: np.random.Generator, objects: int, frames: int) -> np.ndarray:
    """Objects of random shapes that move: labels uint8 ``[T, H, W]``; each shows in some frame."""
    labels = np.zeros((frames, HEIGHT, WIDTH), np.uint8)
    for k in range(1, objects + 1):
        place, step = rng.uniform((8, 8), (WIDTH - 8, HEIGHT - 8)), rng.uniform(-2, 2, 2)
        shape, size = rng.choice(["disc", "box", "line", "star"]), int(rng.integers(3, 10))
        for t in range(frames):
            x, y = (int(v) for v in place + t * step)
            if shape == "disc":
                cv2.circle(labels[t], (x, y), size, k, -1)
            elif shape == "box":
                cv2.rectangle(labels[t], (x - size, y - 3), (x + size, y + 4), k, -1)
            elif shape == "line":
                cv2.line(labels[t], (x - 9, y - size), (x + 9, y + size), k, 2)
            else:
                corners = np.add(rng.uniform(-size, size, (5, 2)), (x, y))
                cv2.fillPoly(labels[t], [corners.astype(np.int32)], k)
    return labels


def image_of(kind: str, values: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """A mask of ``labels`` as somebody saves it, where object k has ``values[k]``."""
    shown = values[labels]
    if kind in ("grey", "cut short", "other size", "jpeg"):
        return Image.fromarray(shown.astype(np.uint8))
    if kind == "black and white":
        return Image.fromarray((labels > 0).astype(np.uint8) * 255)
    if kind == "1 bit":
        return Image.fromarray(labels > 0)
    if kind in ("16 bit", "16 bit labels"):
        return Image.fromarray(shown.astype(np.uint16))
    if kind.endswith("palette"):
        indices = (labels > 0).astype(np.uint8) * 255 if kind.startswith("black") else shown.astype(np.uint8)
        image = Image.fromarray(indices)
        colors = PALETTE if kind == "davis palette" else rng.integers(0, 256, (256, 3))
        image.putpalette(colors.astype(np.uint8).tobytes())
        return image
    if kind == "4 bit":
        image = Image.fromarray((shown % 16).astype(np.uint8))
        image.putpalette(np.repeat(np.arange(16, dtype=np.uint8) * 17, 3).tobytes())
        return image
    if kind == "alpha":
        rgba = np.dstack([values[labels], np.where(labels > 0, 255, 0)])
        rgba[labels == 0, :3] = 90  # hidden colours do not count
        return Image.fromarray(rgba.astype(np.uint8))
    if kind == "opaque colours":
        return Image.fromarray(np.dstack([shown, np.full(labels.shape, 255)]).astype(np.uint8))
    if kind in ("soft", "soft colours"):
        bright = (labels > 0).astype(np.uint8) * 255 if kind == "soft" else shown.astype(np.uint8)
        return (
            Image.fromarray(bright).resize((3 * WIDTH, 3 * HEIGHT)).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
        )
    return Image.fromarray(shown.astype(np.uint8))


def write(folder: Path, number: int) -> tuple[str, np.ndarray, np.ndarray]:
    """A video with masks of a random kind: the kind, its labels and the value of each object."""
    rng = rng_for("mask folders", number)
    kind = str(rng.choice([*KEPT, *COUNTED, *REFUSED]))
    objects = 1 if kind in ("black and white", "black and white palette", "1 bit", "soft") else int(rng.integers(1, 6))
    labels = drawn(rng, objects, frames=3)
    values: np.ndarray = np.array([0, *rng.choice(np.arange(1, 255), objects, replace=False)])
    if kind == "4 bit":
        values = np.array([0, *rng.choice(np.arange(1, 16), objects, replace=False)])
    elif kind == "16 bit":
        values = np.array([0, *rng.choice(np.arange(256, 65536), objects, replace=False)])
    elif kind in ("colours", "opaque colours", "alpha", "soft colours"):
        values = np.vstack([np.zeros((1, 3), int), rng.permutation(64)[:objects, None] // [16, 4, 1] % 4 * 70 + 40])
    pattern, first, step = str(rng.choice(NAMES)), int(rng.integers(0, 12)), int(rng.choice([1, 1, 5]))
    suffix = str(rng.choice(["", "", "_mask"]))
    (folder / "frames").mkdir(parents=True)
    (folder / "masks").mkdir()
    for t in range(3):
        name = pattern.format(first + t * step)
        Image.new("RGB", (WIDTH, HEIGHT), (10 * t, 50, 60)).save(folder / "frames" / f"{name}.jpg")
        size = (WIDTH, HEIGHT + 2) if kind == "other size" and t == 2 else (WIDTH, HEIGHT)
        image = image_of(kind, values, labels[t], rng).resize(size, Image.Resampling.NEAREST)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG" if kind == "jpeg" else "PNG", **({"bits": 4} if kind == "4 bit" else {}))
        data = buffer.getvalue()[: -60 if kind == "cut short" and t == 1 else None]
        (folder / "masks" / f"{name}{suffix}.{'jpg' if kind == 'jpeg' else 'png'}").write_bytes(data)
    for hidden in ("._00000.png", ".DS_Store"):
        (folder / "masks" / hidden).write_bytes(b"Mac OS X")
    return kind, labels, values


@pytest.mark.parametrize("count", [60, pytest.param(600, marks=pytest.mark.slow)])
def test_masks_of_any_kind_come_out_as_drawn_or_are_refused(tmp_path: Path, count: int) -> None:
    wrong = []
    for number in range(count):
        folder = tmp_path / str(number)
        kind, labels, values = write(folder, number)
        try:
            video = FolderVideo(folder / "frames", folder / "masks")
            found = video.masks()
        except InputError as error:
            if REFUSED.get(kind, "accepted") not in str(error):
                wrong.append((number, kind, str(error)))
            continue
        shown = np.unique(labels)
        if kind in KEPT:
            right = np.array_equal(found, values[labels])
        else:  # which label an object has is the reader's choice; that each has its own, everywhere, is not
            pairs = np.unique(np.stack([labels.ravel(), found.ravel()]), axis=1)
            right = pairs.shape[1] == len(shown) and (pairs[1, pairs[0] == 0] == 0).all()
        if kind in REFUSED or not right or video.num_objects != np.count_nonzero(shown):
            wrong.append((number, kind, np.unique(found).tolist()))
    assert wrong == []
