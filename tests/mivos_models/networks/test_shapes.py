"""Videos of any shape, with any number of objects, through a small network."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mivos_models import S2M, Fusion, InteractiveRunner, Propagation

torch.manual_seed(5)
NETWORKS = {"propagation": Propagation(18, 0.125).eval(), "s2m": S2M(18, 0.125).eval(), "fusion": Fusion(0.25).eval()}


def checked(runner: InteractiveRunner, masks: np.ndarray, frames: np.ndarray, num_objects: int) -> None:
    assert masks.shape == frames.shape[:3] and masks.dtype == np.uint8 and masks.max() <= num_objects
    for t in range(len(frames)):
        found = runner.probabilities(t)
        assert found.shape == (num_objects + 1, *frames.shape[1:3]) and np.isfinite(found).all()
        np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-3)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 5),
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([1, 2, 20]),
    st.sampled_from([None, 16, 33]),
    st.sampled_from([None, 1, 50, 10**6]),
    st.integers(0, 2**32 - 1),
)
def test_any_shape(T, H, W, K, short_side, top_k, seed) -> None:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (T, H, W, 3), np.uint8)
    runner = InteractiveRunner(frames=frames, num_objects=K, top_k=top_k, short_side=short_side, **NETWORKS)
    runner.interact(int(rng.integers(T)), rng.integers(0, K + 1, (H, W)))
    strokes = rng.integers(-1, K + 1, (H, W))
    last = T - 1
    masks = runner.interact(last, runner.scribble(last, strokes))
    checked(runner, masks, frames, K)


@pytest.mark.parametrize("K", [1, 3])
def test_empty_masks(K: int) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (4, 33, 47, 3), np.uint8)
    runner = InteractiveRunner(frames=frames, num_objects=K, **NETWORKS)
    for t in (0, 3, 0):
        masks = runner.interact(t, np.zeros((33, 47), np.uint8))
        assert not masks[t].any()
        checked(runner, masks, frames, K)


def test_large_frames_through_a_working_resolution() -> None:
    """4K in, 4K out, and the seams between labels are as fine as what was given."""
    frames = np.zeros((2, 2160, 3840, 3), np.uint8)
    frames[:, 500:1500, 1000:3000] = 200
    given = np.zeros((2160, 3840), np.uint8)
    given[501:1499, 1003:2997] = 1
    runner = InteractiveRunner(NETWORKS["propagation"], frames, 1, short_side=120)
    masks = runner.interact(0, given)
    assert masks.shape == (2, 2160, 3840) and np.array_equal(masks[0], given)
    assert runner.probabilities(1).shape == (2, 2160, 3840)


def test_frames_of_a_memory_map(tmp_path) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (3, 32, 48, 3), np.uint8)
    np.save(tmp_path / "frames.npy", frames)
    mapped = np.load(tmp_path / "frames.npy", mmap_mode="r")
    mask = (frames[0, :, :, 0] > 99).astype(np.uint8)
    found = [InteractiveRunner(NETWORKS["propagation"], each, 1).interact(0, mask) for each in (frames, mapped)]
    assert np.array_equal(*found)
