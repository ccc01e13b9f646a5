"""Pasted cut-outs."""

from typing import Any

import numpy as np
import pytest
import torch

from train.data.augment import Augmentation, Geometry, Jitter
from train.data.clips import ClipDataset
from train.data.cutouts import Cutout, CutoutSettings, Layer, cut_out, place, sample_layers, sample_motion
from train.data.sources import Mix, OpenSource
from train.settings import PropagationSettings
from vosforge.videos.video import MemoryVideo

SETTINGS = PropagationSettings(
    iterations=12, batch=1, augmentation=Augmentation(geometry=Geometry(crop=64, area=(0.3, 1), rotation=9))
)
ALWAYS = CutoutSettings(probability=1.0)


def disc(size: int = 20, colour: tuple[int, int, int] = (255, 0, 255)) -> Cutout:
    y, x = np.mgrid[0:size, 0:size] + 0.5 - size / 2
    mask = (x**2 + y**2 < (size / 2) ** 2).astype(np.uint8)
    pixels = np.where(mask[..., None] == 1, np.array(colour, np.uint8), np.uint8(77))
    return Cutout(pixels, mask)


def shifted(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0, x], [0, 1.0, y]])


def test_whole_pixels_are_pasted_exactly() -> None:
    cutout = disc()
    layer = place(cutout, 5, [shifted(3, 7), shifted(30, 10)], 64)
    masks = np.full((2, 64, 64), 2, np.uint8)
    layer.onto_masks(masks)
    for t, (x, y) in enumerate([(3, 7), (30, 10)]):
        expected = np.full((64, 64), 2, np.uint8)
        expected[y : y + 20, x : x + 20][cutout.mask == 1] = 5
        assert np.array_equal(masks[t], expected)
        frame = layer.onto_frame(np.full((64, 64, 3), 9, np.uint8), t)
        assert (frame[expected == 5] == (255, 0, 255)).all() and (frame[expected == 2] == 9).all()


def test_labels_are_where_the_cutout_is_seen() -> None:
    """Of a white cut-out on black, the label is where the pixel is at least half white."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        cutout = disc(int(rng.integers(8, 90)), (255, 255, 255))
        masks = np.zeros((4, 64, 64), np.uint8)
        layer = place(cutout, 1, sample_motion(cutout, 4, 64, CutoutSettings(), rng), 64)
        layer.onto_masks(masks)
        assert masks.any()
        for t in range(4):
            frame = layer.onto_frame(np.zeros((64, 64, 3), np.uint8), t)
            assert np.array_equal(masks[t] == 1, frame[..., 0] >= 128) or (
                np.abs(frame[..., 0].astype(int) - 127.5)[(masks[t] == 1) != (frame[..., 0] >= 128)].max() <= 1
            )


def test_motion_is_smooth() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        motion = np.stack(sample_motion(disc(), 8, 64, CutoutSettings(), rng))
        centres = motion[:, :, :2] @ np.array([10.0, 10.0]) + motion[:, :, 2]
        steps = np.diff(centres, axis=0)
        assert np.abs(steps).max() < 64 * 0.4 / 7 * 2.5
        assert np.abs(np.diff(steps, axis=0)).max() < 64 * 0.4 * 0.1


def test_a_cutout_is_an_object_of_a_frame(make_video: Any) -> None:
    video = make_video(0, num_frames=4)
    cutout = cut_out(video, np.random.default_rng(0))
    assert cutout is not None and cutout.mask.any(axis=0).all() and cutout.mask.any(axis=1).all()
    areas = {int((video.mask(t) == label).sum()) for t in range(4) for label in video.object_ids}
    assert int(cutout.mask.sum()) in areas
    empty = MemoryVideo("empty", video.frames(), np.zeros_like(video.masks()))
    assert cut_out(empty, np.random.default_rng(0)) is None


def test_labels_of_objects_are_new_and_those_of_occluders_0() -> None:
    masks = np.zeros((2, 64, 64), np.uint8)
    masks[:, :9], masks[:, 9:20] = 1, 3
    one = CutoutSettings(occluders=0.0)
    layers = sample_layers([disc()] * 3, masks, one, np.random.default_rng(0))
    assert [layer.label for layer in layers] == [2, 4, 5]
    hidden = sample_layers([disc()] * 3, masks, CutoutSettings(occluders=1.0), np.random.default_rng(0))
    assert [layer.label for layer in hidden] == [0, 0, 0]


def test_nothing_is_pasted_unless_asked_for(make_video: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = [make_video(seed, num_frames=6) for seed in range(2)]
    monkeypatch.setattr(Layer, "onto_frame", lambda *_: pytest.fail("something was pasted"))
    plain = [ClipDataset(videos, SETTINGS)[index] for index in range(4)]
    other = SETTINGS.model_copy(update={"cutouts": CutoutSettings(most=5, occluders=0.1)})
    for index, clip in enumerate(plain):
        assert all(torch.equal(a, b) for a, b in zip(ClipDataset(videos, other)[index], clip, strict=True))
    assert "cutouts" not in SETTINGS.model_dump()


def test_pasted_objects_are_taught(make_video: Any) -> None:
    """On videos without objects, all that is taught are cut-outs of the source marked for them."""
    video = make_video(0, num_frames=6)
    empty = MemoryVideo("empty", np.full_like(video.frames(), 8), np.zeros_like(video.masks()))
    mix = Mix([OpenSource([empty]), OpenSource([video], share=0.0, cutouts=True)])
    asked = SETTINGS.model_copy(update={"cutouts": CutoutSettings(probability=1.0, occluders=0.0, most=1)})
    data = ClipDataset(mix, asked)
    moved = 0
    for index in range(len(data)):
        clip = data[index]
        assert clip.present.tolist() == [True, False]
        seen = clip.labels == 1
        assert seen[0].any() and (clip.frames.amax(dim=1)[seen] > 8).float().mean() > 0.9
        moved += not torch.equal(seen[0], seen[2])
        assert all(torch.equal(a, b) for a, b in zip(ClipDataset(mix, asked)[index], clip, strict=True))
    assert moved == len(data)


def test_occluders_hide_objects(make_video: Any) -> None:
    videos = [make_video(seed, num_frames=6) for seed in range(2)]
    hiding = SETTINGS.model_copy(update={"cutouts": ALWAYS.model_copy(update={"occluders": 1.0, "size": (0.6, 0.9)})})
    plain, hidden = ClipDataset(videos, SETTINGS), ClipDataset(videos, hiding)
    less = 0
    for index in range(12):
        before, after = plain[index].labels, hidden[index].labels
        less += int((after > 0).sum()) < int((before > 0).sum())
    assert less >= 6


def test_cutouts_take_the_colours_of_their_clip(make_video: Any) -> None:
    videos = [make_video(seed, num_frames=6) for seed in range(2)]
    grey = SETTINGS.augmentation.model_copy(update={"shared_colour": Jitter(grey=1.0)})
    data = ClipDataset(videos, SETTINGS.model_copy(update={"cutouts": ALWAYS, "augmentation": grey}))
    frames = data[0].frames.int()
    assert int((frames.amax(dim=1) - frames.amin(dim=1)).max()) <= 1
