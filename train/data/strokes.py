"""Strokes over pixel regions: skeletons, longest paths, Bezier curves, rasterising. Shared by robot and training.

The robot's geometry follows the DAVIS interactive challenge (Caelles et al., "The 2018 DAVIS Challenge on Video
Object Segmentation").
"""

import math
from collections import deque

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree
from skimage.filters import rank
from skimage.morphology import disk

from train.data.skeleton import medial_axis

OPENING = 0.15
BENCHMARK_OPENING = 0.2
"""The benchmark's kernel; the strokes that S2M is trained on have `OPENING`."""
MAX_OPENING_RADIUS = 16.0
MIN_STROKE_NODES = 4
MIN_LINE_AREA = 16
CURVE_POINTS = 1000


def region_strokes(
    region: np.ndarray, rng: np.random.Generator, min_nodes: int = MIN_STROKE_NODES, opening: float = OPENING
) -> list[np.ndarray]:
    """A smooth stroke through each part of a binary ``region [H, W]``: ``[N, 2]`` float64 (x, y) pixels each.

    The region is opened (radius ``opening`` * sqrt(area) / 2, at most 16) and reduced to its medial axis. In each
    connected component of the axis with at least ``min_nodes`` pixels, the longest path of a spanning tree becomes one
    Bezier curve. A part of at least 16 pixels with a shorter axis, such as a disc, gets a short line.
    """
    kept = opened(region, opening)
    paths = longest_paths(medial_axis(kept, rng), min_nodes)
    count, parts = cv2.connectedComponents(kept.astype(np.uint8), connectivity=8)
    served = {int(parts[y, x]) for path in paths for x, y in path}
    missed = [parts == part for part in range(1, count) if part not in served]
    lines = [short_line(part) for part in missed if np.count_nonzero(part) >= MIN_LINE_AREA]
    return [*(bezier(path) for path in paths), *lines]


def benchmark_strokes(region: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """The strokes of the benchmark's own robot through a binary ``region [H, W]``: ``[N, 2]`` float64 (x, y) each.

    As published, up to ties, which are broken at random there: a region that every opening empties gets no stroke, nor
    does a part whose medial axis has less than 4 pixels (a disc); rings of the axis are cut at their longest step.
    """
    region = region.astype(np.uint8)
    radius = min(BENCHMARK_OPENING * np.sqrt(np.count_nonzero(region)) / 2, MAX_OPENING_RADIUS)
    kept = region
    while radius > 1.0:
        # Of a radius that is no integer the disk is off centre, where OpenCV's opening would shift the region.
        kept = rank.maximum(rank.minimum(region, disk(radius)), disk(radius))
        if kept.any():
            break
        radius *= 0.9
    return [bezier(path) for path in longest_paths(medial_axis(kept > 0, rng), MIN_STROKE_NODES, shortest=True)]


def short_line(part: np.ndarray) -> np.ndarray:
    """A line ``[2, 2]`` (x, y) in a connected, binary ``part [H, W]``, along its principal axis.

    It is centred on the point farthest from the edge and extends half that distance to both sides, so it stays inside.
    """
    depth = cv2.distanceTransform(np.pad(part, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), part.shape)
    axis = np.linalg.eigh(np.cov(np.argwhere(part)[:, ::-1].T))[1][:, -1]
    reach = np.trunc(axis * depth[y, x] / 2)
    return np.array([x, y], np.float64) + np.stack([-reach, reach])


def opened(region: np.ndarray, opening: float = OPENING) -> np.ndarray:
    """``region`` without its thin parts, as bool; the radius shrinks until something remains."""
    region = region.astype(np.uint8)
    radius = min(opening * np.sqrt(np.count_nonzero(region)) / 2, MAX_OPENING_RADIUS)
    while radius > 1.0:
        element = disk(radius).astype(np.uint8)
        result = cv2.dilate(cv2.erode(region, element), element)
        if result.any():
            return result.astype(bool)
        radius *= 0.9
    return region.astype(bool)


def longest_paths(skeleton: np.ndarray, min_nodes: int, *, shortest: bool = False) -> list[np.ndarray]:
    """The longest path in a spanning tree of each 8-connected component of ``skeleton [H, W]``, in raster order.

    Each is ``[N, 2]`` int (x, y). The tree grows breadth first, straight steps before diagonal ones, so a cycle is cut
    on its far side, as an annotator would stop before closing a ring. ``shortest``: the shortest tree instead, where a
    cycle is cut at its longest step, and the first of equal paths, as in the benchmark.
    """
    ys, xs = np.nonzero(skeleton)
    index = {(int(x), int(y)): n for n, (x, y) in enumerate(zip(xs, ys, strict=True))}
    steps = ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1), (-1, -1), (1, -1))
    neighbours = [[index[x + dx, y + dy] for dx, dy in steps if (x + dx, y + dy) in index] for x, y in index]
    if shortest:
        neighbours = _shortest_tree(neighbours, np.stack([xs, ys], axis=1))
    tree: list[list[int]] = [[] for _ in index]
    seen = np.zeros(len(index), bool)
    paths = []
    for start in range(len(index)):
        if seen[start]:
            continue
        seen[start] = True
        piece = deque([start])
        size = 1
        while piece:
            node = piece.popleft()
            for other in neighbours[node]:
                if not seen[other]:
                    seen[other] = True
                    size += 1
                    tree[node].append(other)
                    tree[other].append(node)
                    piece.append(other)
        if size >= min_nodes:
            end = _farthest(tree, start, first=shortest)[-1]
            path = _farthest(tree, end, first=shortest)
            paths.append(np.stack([xs[path], ys[path]], axis=1))
    return paths


def bezier(points: np.ndarray, count: int = CURVE_POINTS) -> np.ndarray:
    """``count`` points ``[count, 2]`` on the Bezier curve with control points ``points [N, 2]``, from first to last.

    If there are more control points than ``count``, they are returned unchanged.
    """
    points = np.asarray(points, np.float64)
    degree = len(points) - 1
    if len(points) > count:
        return points
    t = np.linspace(0.0, 1.0, count)[:, None]
    i = np.arange(degree + 1)
    binomials = np.array([math.comb(degree, k) for k in range(degree + 1)], np.float64)
    return (binomials * t**i * (1 - t) ** (degree - i)) @ points


def draw_path(canvas: np.ndarray, path: np.ndarray, value: int, thickness: int = 1) -> None:
    """Draw the polyline ``path [N, 2]`` (x, y pixels, truncated to integers) into ``canvas [H, W]`` with ``value``."""
    cv2.polylines(canvas, [path.astype(np.int32)[:, None]], False, (value,), thickness)


def _shortest_tree(neighbours: list[list[int]], points: np.ndarray) -> list[list[int]]:
    """The neighbours of each of ``points [N, 2]`` in the spanning tree of least length of each connected piece."""
    pairs = np.array([(a, b) for a, others in enumerate(neighbours) for b in others], np.int64).reshape(-1, 2)
    lengths = np.hypot(*(points[pairs[:, 0]] - points[pairs[:, 1]]).T)
    graph = coo_array((lengths, (pairs[:, 0], pairs[:, 1])), shape=(len(neighbours), len(neighbours)))
    kept = minimum_spanning_tree(graph.tocsr()).tocoo()
    tree: list[list[int]] = [[] for _ in neighbours]
    for a, b in zip(kept.row.tolist(), kept.col.tolist(), strict=True):
        tree[a].append(b)
        tree[b].append(a)
    return tree


def _farthest(tree: list[list[int]], start: int, *, first: bool) -> list[int]:
    """The path in ``tree`` from ``start`` to the node with most steps; of several the ``first`` or the last found."""
    parent = {start: -1}
    steps = {start: 0}
    queue = deque([start])
    farthest = start
    while queue:
        node = queue.popleft()
        if not first or steps[node] > steps[farthest]:
            farthest = node
        for other in sorted(tree[node]) if first else tree[node]:
            if other not in parent:
                parent[other], steps[other] = node, steps[node] + 1
                queue.append(other)
    path = []
    node = farthest
    while node != -1:
        path.append(node)
        node = parent[node]
    return path[::-1]
