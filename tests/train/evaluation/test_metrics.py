from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.evaluation.metrics import boundary_f, region_j, score_masks, statistics


def slow_boundary(mask: Any) -> Any:
    height, width = mask.shape
    edge = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            right = mask[y, min(x + 1, width - 1)]
            below = mask[min(y + 1, height - 1), x]
            both = mask[min(y + 1, height - 1), min(x + 1, width - 1)]
            edge[y, x] = mask[y, x] != right or mask[y, x] != below or mask[y, x] != both
    return edge


def slow_boundary_f(truth: Any, prediction: Any, void: Any = None, bound_th: Any = 0.008) -> Any:
    """The definition of DAVIS 2017, by distances between all pairs of boundary pixels."""
    if void is not None:
        truth, prediction = truth & ~void, prediction & ~void
    radius = np.ceil(bound_th * np.hypot(*truth.shape)) if bound_th < 1 else bound_th
    truth_edge = np.argwhere(slow_boundary(truth))
    predicted_edge = np.argwhere(slow_boundary(prediction))
    if len(truth_edge) == 0 and len(predicted_edge) == 0:
        return 1.0
    if len(truth_edge) == 0 or len(predicted_edge) == 0:
        return 0.0
    distances = np.linalg.norm(truth_edge[:, None] - predicted_edge[None], axis=2)
    recall = (distances.min(axis=1) <= radius).mean()
    precision = (distances.min(axis=0) <= radius).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def blobs(rng: Any, height: Any, width: Any) -> Any:
    grid = rng.random((height // 4 + 1, width // 4 + 1)) < rng.uniform(0.1, 0.7)
    return np.kron(grid, np.ones((4, 4), bool))[:height, :width]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(8, 40), st.integers(8, 40), st.sampled_from([0.008, 0.05, 3.0]))
def test_boundary_f_equals_its_slow_twin(seed: Any, height: Any, width: Any, bound_th: Any) -> None:
    rng = np.random.default_rng(seed)
    truth, prediction, void = (blobs(rng, height, width) for _ in range(3))
    expected = slow_boundary_f(truth, prediction, void, bound_th)
    assert boundary_f(truth, prediction, void, bound_th) == pytest.approx(expected, abs=1e-12)
    small = np.zeros_like(truth)
    small[height // 2, width // 2] = True
    assert boundary_f(small, prediction, None, bound_th) == pytest.approx(
        slow_boundary_f(small, prediction, None, bound_th), abs=1e-12
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_scores_are_symmetric_and_perfect_only_for_equal_masks(seed: Any) -> None:
    rng = np.random.default_rng(seed)
    a, b = blobs(rng, 30, 40), blobs(rng, 30, 40)
    assert region_j(a, a) == boundary_f(a, a) == 1.0
    assert region_j(a, b) == region_j(b, a)
    assert boundary_f(a, b) == pytest.approx(boundary_f(b, a))
    assert (region_j(a, b) == 1.0) == np.array_equal(a, b)


def test_known_values() -> None:
    truth = np.zeros((100, 100), bool)
    truth[10:30, 10:30] = True
    apart = np.roll(truth, 50, axis=1)
    shifted = np.roll(truth, 10, axis=1)
    empty = np.zeros_like(truth)
    assert region_j(truth, apart) == boundary_f(truth, apart) == 0.0
    assert region_j(truth, shifted) == pytest.approx(1 / 3)
    assert boundary_f(truth, np.roll(truth, 2, axis=1)) == 1.0  # radius 2 at a diagonal of 141
    assert boundary_f(truth, np.roll(truth, 3, axis=1)) < 1.0
    assert region_j(empty, empty) == boundary_f(empty, empty) == 1.0
    assert region_j(truth, empty) == boundary_f(truth, empty) == boundary_f(empty, truth) == 0.0
    # A mask that fills the image has no boundary: DAVIS does not count the image's border.
    assert boundary_f(~empty, ~empty) == 1.0
    assert boundary_f(~empty, truth) == 0.0


def test_void_is_background() -> None:
    truth = np.zeros((1, 40, 40), np.uint8)
    truth[0, 5:20, 5:20] = 1
    prediction = truth.copy()
    prediction[0, 5:20, 20:30] = 1
    expected = score_masks(truth, prediction, [1])
    assert expected.mean_j == pytest.approx(0.6)
    truth[0, 5:20, 20:30] = 255
    scores = score_masks(truth, prediction, [1])
    assert (scores.mean_j, scores.mean_f) == (expected.mean_j, expected.mean_f)


def slow_statistics(values: Any) -> Any:
    """By hand: bounds of the quarters in whole frames, halves rounded up."""
    n = len(values)
    bounds = [int(np.floor(1 + (n - 1) * quarter / 4 + 0.5)) - 1 for quarter in range(5)]
    first, last = (values[bounds[at] : bounds[at + 1] + 1] for at in (0, 3))
    return sum(values) / n, sum(value > 0.5 for value in values) / n, sum(first) / len(first) - sum(last) / len(last)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 10, 69, 255, 256, 400])
def test_mean_recall_and_decay_equal_their_definitions(n: int) -> None:
    values = np.random.default_rng(n).random(n)
    assert statistics(values) == pytest.approx(slow_statistics(values.tolist()), abs=1e-12)


def test_a_score_of_one_half_is_no_recall() -> None:
    assert statistics(np.array([0.5, 0.5, 0.6, 0.4])).recall == 0.25


def test_scores_have_one_row_a_frame_and_one_column_an_object() -> None:
    truth = np.zeros((2, 20, 20), np.uint8)
    truth[:, 2:8, 2:8], truth[:, 10:18, 10:18] = 1, 3
    prediction = truth.copy()
    prediction[1][prediction[1] == 3] = 1
    assert score_masks(truth, prediction, [1, 3]).j == pytest.approx(np.array([[1, 1], [36 / 100, 0]]))
    with pytest.raises(ValueError, match="differ"):
        score_masks(truth, prediction[:1], [1])
    with pytest.raises(ValueError, match="without objects"):
        score_masks(truth, prediction, [])
