"""The benchmark's robot and clicks, against slow twins and the published code's own observations."""

from typing import Any

import networkx as nx
import numpy as np
import pytest
from skimage.draw import disk

from train.data.skeleton import medial_axis
from train.data.strokes import _shortest_tree, benchmark_strokes, bezier, longest_paths
from train.evaluation.clicks import Clicker, next_click
from train.evaluation.robot import NO_SCRIBBLE, benchmark_scribbles, robot_scribbles


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def drawn(truth: np.ndarray, prediction: np.ndarray | None = None) -> np.ndarray:
    return benchmark_scribbles(truth, np.zeros_like(truth) if prediction is None else prediction, 1, rng())


@pytest.mark.parametrize("radius", [10, 20, 40])
def test_a_disc_gets_no_stroke_from_the_benchmark_but_one_from_us(radius: int) -> None:
    truth = np.zeros((120, 120), np.uint8)
    truth[disk((60, 60), radius + 0.01)] = 1
    assert (drawn(truth) == NO_SCRIBBLE).all()
    assert (robot_scribbles(truth, np.zeros_like(truth), 1, rng()) == 1).any()


@pytest.mark.parametrize(("side", "strokes"), [(2, False), (4, True), (10, True), (20, True)])
def test_squares(side: int, strokes: bool) -> None:
    truth = np.zeros((60, 80), np.uint8)
    truth[20 : 20 + side, 30 : 30 + side] = 1
    assert (drawn(truth) == 1).any() == strokes


@pytest.mark.parametrize(("length", "strokes"), [(90, True), (140, False)])
def test_a_thin_line_gets_no_stroke_where_every_opening_empties_it(length: int, strokes: bool) -> None:
    truth = np.zeros((40, 200), np.uint8)
    truth[20, 10 : 10 + length] = 1
    assert (drawn(truth) == 1).any() == strokes


def test_strokes_are_drawn_a_pixel_left_and_above_and_across_void() -> None:
    region = np.zeros((60, 80), bool)
    region[10:50, 20:60] = True
    (path,) = benchmark_strokes(region, rng())
    H, W = region.shape
    expected = {(int(y / H * (H - 1)), int(x / W * (W - 1))) for x, y in path}
    found = drawn(region.astype(np.uint8))
    assert expected <= {tuple(pixel) for pixel in np.argwhere(found == 1)}
    columns = np.arange(854)
    assert ((columns / 854 * 853).astype(int) == np.maximum(columns - 1, 0)).all()
    void = region.astype(np.uint8)
    void[::3][region[::3]] = 255
    assert set(np.unique(drawn(void))) <= {NO_SCRIBBLE, 1}


def test_each_label_is_stroked_where_it_is_missing_the_later_on_top() -> None:
    truth, prediction = np.zeros((2, 60, 80), np.uint8)
    truth[5:25, 5:35], truth[30:55, 40:75] = 1, 2
    prediction[30:55, 5:35] = 1
    found = benchmark_scribbles(truth, prediction, 2, rng())
    assert set(np.unique(found)) == {NO_SCRIBBLE, 0, 1, 2}
    for label, (rows, columns) in enumerate([((30, 55), (5, 35)), ((5, 25), (5, 35)), ((30, 55), (40, 75))]):
        ys, xs = np.nonzero(found == label)
        assert ys.min() >= rows[0] - 1 and ys.max() < rows[1] and xs.min() >= columns[0] - 1 and xs.max() < columns[1]
    assert (benchmark_scribbles(truth, truth, 2, rng()) == NO_SCRIBBLE).all()


@pytest.mark.parametrize("seed", range(15))
def test_rings_are_cut_at_their_longest_steps(seed: int) -> None:
    """Cycle after cycle is looked for and cut, as published; of equal steps another may go, lengths stay the same."""
    points = np.argwhere(np.random.default_rng(seed).random((9, 9)) < 0.45)[:, ::-1]
    lengths = {(a, b): float(np.hypot(*(p - q))) for a, p in enumerate(points) for b, q in enumerate(points) if a != b}
    graph = nx.Graph([(a, b, {"length": length}) for (a, b), length in lengths.items() if length < 1.5])
    neighbours = [list(graph[a]) if a in graph else [] for a in range(len(points))]
    while True:
        try:
            cycle = nx.find_cycle(graph)
        except nx.NetworkXNoCycle:
            break
        graph.remove_edge(*max(cycle, key=lambda edge: lengths[edge]))
    tree = _shortest_tree(neighbours, points)
    steps = [(a, b) for a, others in enumerate(tree) for b in others if a < b]
    assert sorted(lengths[step] for step in steps) == sorted(lengths[step] for step in graph.edges)
    assert list(nx.connected_components(nx.Graph(steps))) == list(nx.connected_components(nx.Graph(list(graph.edges))))
    skeleton = np.zeros((9, 9), bool)
    skeleton[points[:, 1], points[:, 0]] = True
    long_enough = [piece for piece in nx.connected_components(graph) if len(piece) >= 4]
    assert len(longest_paths(skeleton, 4, shortest=True)) == len(long_enough)


def test_a_ring_becomes_one_stroke_almost_around_it() -> None:
    rows, columns = np.ogrid[:60, :60]
    ring = np.abs(np.hypot(rows - 30, columns - 30) - 20) < 4
    (path,) = longest_paths(medial_axis(ring, rng()), 4, shortest=True)
    assert len(path) > 80


def test_bezier_of_more_points_than_samples_is_the_path_itself() -> None:
    path = np.stack([np.arange(1200), np.arange(1200)], axis=1)
    assert np.array_equal(bezier(path), path)


def slow_depth(region: np.ndarray) -> np.ndarray:
    """The distance of each pixel to the nearest one outside, the picture's surroundings included."""
    H, W = region.shape
    padded = np.pad(region, 1)
    outside = [(y - 1, x - 1) for y, x in np.argwhere(~padded)]
    depth = np.zeros((H, W))
    for y, x in np.argwhere(region):
        depth[y, x] = min(np.hypot(y - v, x - u) for v, u in outside)
    return depth


def slow_click(truth: np.ndarray, prediction: np.ndarray, clicked: set[tuple[int, int]]) -> Any:
    """RITM's rule for one object: missing against false pixels, ties to the negative click."""
    missing, false = slow_depth((truth == 1) & (prediction == 0)), slow_depth((truth == 0) & (prediction == 1))
    for y, x in clicked:
        missing[y, x] = false[y, x] = 0
    positive = missing.max() > false.max()
    depth = missing if positive else false
    if depth.max() == 0:
        return None
    y, x = np.argwhere(depth >= depth.max() - 1e-5)[0]
    return int(x), int(y), int(positive)


@pytest.mark.parametrize("seed", range(8))
def test_clicks_equal_their_slow_twin(seed: int) -> None:
    random = np.random.default_rng(seed)
    coarse = random.random((2, 4, 5)) < 0.5
    truth, prediction = (np.kron(each, np.ones((4, 4), np.uint8)).astype(np.uint8) for each in coarse)
    truth[random.random(truth.shape) < 0.03] = 255
    clicker, clicked = Clicker(truth[None], 1), set()
    for _ in range(5):
        expected, found = slow_click(truth, prediction, clicked), clicker(0, prediction)
        assert found == expected
        if found is None:
            break
        clicked.add((found.y, found.x))


def test_a_click_says_the_label_that_is_missing_most_deeply() -> None:
    truth, prediction = np.zeros((2, 40, 40), np.uint8)
    truth[2:9, 2:9], truth[20:31, 20:31] = 1, 2
    assert next_click(truth, prediction, 2) == (25, 25, 2)
    prediction[20:31, 20:31] = 2
    assert next_click(truth, prediction, 2) == (5, 5, 1)
    prediction[2:9, 2:9] = 1
    assert next_click(truth, prediction, 2) is None
    prediction[:, 35:] = 2
    assert next_click(truth, prediction, 2) == (37, 2, 0)  # the border of the image ends the error
    truth[truth == 0] = 255
    assert next_click(truth, prediction, 2) is None
