"""Masks that need no training."""

import numpy as np
from torch.nn import functional

from benchmarks.baselines import by_flow, by_trunk, copied
from train.evaluation.metrics import region_j


def panning(frames: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """A random picture seen through a window that moves, and a square on it."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (24, 40, 3)).astype(np.uint8)
    picture, square = np.kron(coarse, np.ones((8, 8, 1), np.uint8)), np.zeros((192, 320), np.uint8)
    square[64:128, 112:192] = 2
    seen = [np.s_[:, step * t : step * t + 256] for t in range(frames)]
    return np.stack([picture[part] for part in seen]), np.stack([square[part] for part in seen])


def test_copies_stay_and_flow_follows() -> None:
    frames, truth = panning(6, 4)
    assert (copied(frames, truth[0]) == truth[0]).all()
    found = by_flow(frames, truth[0])
    assert found.dtype == np.uint8 and found.shape == truth.shape and set(np.unique(found)) <= {0, 2}
    assert region_j(found[-1] == 2, truth[-1] == 2) > 0.7 > region_j(truth[0] == 2, truth[-1] == 2)


def test_labels_follow_what_looks_the_same() -> None:
    """The stand-in for a trunk gives the pixels of each cell."""
    frames, truth = panning(4, 16)
    found = by_trunk(frames, truth[0], lambda image: [functional.pixel_unshuffle(image, 16)])
    assert np.array_equal(found[0], truth[0]) and set(np.unique(found)) <= {0, 1, 2}
    assert region_j(found[-1] == 2, truth[-1] == 2) > 0.7 > region_j(truth[0] == 2, truth[-1] == 2)
