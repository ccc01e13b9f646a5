"""Our warps against torchvision's transforms, which do the same more slowly."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from train.data.augment import FILL, Augmentation, Geometry, sample_views, sample_window, warp_image, warp_mask

BENT = [
    Geometry(crop=64, area=(0.25, 1.0), rotation=15, shear=10, cubic=False),
    Geometry(crop=48, short_side=64, zoom=(0.4, 1.25), rotation=20, shear=10, cubic=False),
]
UPRIGHT = [Geometry(crop=64, area=(0.25, 1.0)), Geometry(crop=48, short_side=64, zoom=(0.8, 1.25))]


def smooth_frame(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Colours around FILL without steps: OpenCV rounds places to a 32nd of a pixel."""
    coarse = FILL + rng.uniform(-40, 40, (height // 12, width // 12, 3))
    return cv2.resize(coarse, (width, height)).round().astype(np.uint8)


def planes(pixels: np.ndarray) -> torch.Tensor:
    """[H, W] or [H, W, 3] as float32 [C, H, W]; of bytes, torchvision would also clip what it makes of rows alone."""
    return torch.from_numpy(np.atleast_3d(pixels)).movedim(2, 0).float()


def array(planes: torch.Tensor) -> np.ndarray:
    return planes.round().clamp(0, 255).byte().movedim(0, 2).numpy()


def source(to_frame: np.ndarray, crop: int) -> np.ndarray:
    """Where in the frame the centre of each of the crop's pixels lies: x and y, [2, crop, crop]."""
    x, y = np.mgrid[:crop, :crop][::-1] + 0.5
    return np.tensordot(to_frame[:2], np.stack([x, y, np.ones_like(x)]), axes=1)


def inside_pixels(at: np.ndarray) -> np.ndarray:
    """Which places lie clearly in one pixel of the frame: on an edge, either pixel's label may be taken."""
    return (np.abs(at - np.round(at)) > 0.05).all(axis=0)


def window_of(to_frame: np.ndarray, crop: int) -> dict[str, int]:
    """An upright map as torchvision's crop."""
    (x0, y0), (x1, y1) = (to_frame @ (0, 0, 1))[:2], (to_frame @ (crop, crop, 1))[:2]
    edges = {"top": y0, "left": min(x0, x1), "height": y1 - y0, "width": abs(x1 - x0)}
    return {name: round(value) for name, value in edges.items()}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(BENT), st.integers(64, 120), st.integers(64, 120))
def test_bent_frames_and_masks(seed: int, geometry: Geometry, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    frame, mask = smooth_frame(height, width, rng), rng.integers(0, 9, (height, width), np.uint8)
    (view,) = sample_views((height, width), 1, Augmentation(geometry=geometry), rng)
    crop, coefficients = geometry.crop, [*view.to_frame[:2].ravel().tolist(), 0.0, 0.0]

    def theirs(pixels: np.ndarray, how: InterpolationMode, fill: list[float]) -> np.ndarray:
        seen = functional.perspective(planes(pixels), None, None, how, fill, coefficients)
        return array(seen[:, :crop, :crop])

    at = source(view.to_frame, crop)
    from_rim = np.minimum(np.abs(at), np.abs(at - [[[width]], [[height]]])).min(axis=0)
    off_rim = from_rim > 0.6  # nearer, torchvision darkens what it blends with the fill
    expected = theirs(frame, InterpolationMode.BILINEAR, list(map(float, FILL)))
    found = warp_image(frame, view.to_frame, crop, cubic=False)
    assert np.abs(found.astype(int) - expected)[off_rim].max() <= 2

    labels = theirs(mask, InterpolationMode.NEAREST, [0.0])[..., 0]
    assert np.array_equal(warp_mask(mask, view.to_frame, crop)[inside_pixels(at)], labels[inside_pixels(at)])


@pytest.mark.parametrize("cubic", [False, True])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), geometry=st.sampled_from(UPRIGHT), height=st.integers(64, 150))
def test_upright_frames_and_masks(cubic: bool, seed: int, geometry: Geometry, height: int) -> None:
    rng = np.random.default_rng(seed)
    frame = rng.integers(0, 256, (height, 100, 3), np.uint8)
    mask = rng.integers(0, 9, (height, 100), np.uint8)
    to_frame, crop = sample_window(height, 100, geometry, rng), geometry.crop

    def theirs(pixels: np.ndarray, how: InterpolationMode) -> np.ndarray:
        seen = functional.resized_crop(
            planes(pixels), **window_of(to_frame, crop), size=[crop, crop], interpolation=how, antialias=False
        )
        return array(functional.horizontal_flip(seen) if to_frame[0, 0] < 0 else seen)

    expected = theirs(frame, InterpolationMode.BICUBIC if cubic else InterpolationMode.BILINEAR)
    assert np.abs(warp_image(frame, to_frame, crop, cubic).astype(int) - expected).max() <= 1 + cubic
    labels, clear = theirs(mask, InterpolationMode.NEAREST_EXACT)[..., 0], inside_pixels(source(to_frame, crop))
    assert np.array_equal(warp_mask(mask, to_frame, crop)[clear], labels[clear])


def test_crops_are_drawn_like_random_resized_crop() -> None:
    rng, draws = np.random.default_rng(0), 2000
    ours = [window_of(sample_window(256, 384, Geometry(area=(0.25, 1.0)), rng), 384) for _ in range(draws)]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        crop, frame = v2.RandomResizedCrop(384, scale=(0.25, 1.0)), torch.zeros(3, 256, 384)
        theirs = [crop.make_params([frame]) for _ in range(draws)]
    for name in ("top", "left", "height", "width"):
        apart = ks_2samp([each[name] for each in ours], [each[name] for each in theirs]).statistic
        assert apart < 0.06, name
