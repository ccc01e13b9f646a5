"""Ray casting in numpy: which triangle a ray meets, where on it and how far away.

Rays start at the camera and pass through points of the image. A ray d meets the triangle A, B, C (camera axes) where
the products of d with B×C, C×A and A×B have one sign; they are the barycentric weights, times a common factor.
Neighbours share the product of their common edge, so no ray slips between them (Olano and Greer, "Triangle scan
conversion using 2D homogeneous coordinates", 1997).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

CLIP_START = 0.01
"""Metres; what is closer to the camera is not seen."""
BATCH = 2**20
"""Batch size in pairs of triangle and pixel."""


class Hits(NamedTuple):
    """M meetings of a ray and a triangle, in no order."""

    point: np.ndarray
    """int64 ``[M]``: which of the points the ray passes through."""
    face: np.ndarray
    """int64 ``[M]``: which triangle it meets."""
    weights: np.ndarray
    """float64 ``[M, 3]``: where on the triangle, as weights of its corners."""
    z: np.ndarray
    """float64 ``[M]``: metres along the camera's axis."""


class Points:
    """Points of an image of ``size`` (H, W), through which rays pass: ``xy`` float64 ``[N, 2]``, all inside it.

    Pixel centres are at half-integers. K: the camera's matrix ``[3, 3]``.
    """

    def __init__(self, xy: np.ndarray, K: np.ndarray, size: tuple[int, int]) -> None:
        self.K, self.size = K, size
        self.rays = rays(xy, K)
        cells = np.floor(xy)
        inside = xy - cells
        # Inside their pixels, all points lie between these two: a triangle that passes a pixel beyond them misses.
        self.low: np.ndarray = inside.min(axis=0, initial=1.0)
        self.high: np.ndarray = inside.max(axis=0, initial=0.0)
        cell = (cells[:, 1] * size[1] + cells[:, 0]).astype(np.int64)
        self.order = np.argsort(cell, kind="stable")
        self.count = np.bincount(cell, minlength=size[0] * size[1])
        self.start = np.cumsum(self.count) - self.count
        self._sums = np.zeros((size[0] + 1, size[1] + 1), np.int64)
        self._sums[1:, 1:] = self.count.reshape(size).cumsum(axis=0).cumsum(axis=1)

    def __len__(self) -> int:
        return len(self.rays)

    def inside(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """How many points lie in rectangles of pixels, first and beyond-the-last column and row ``[F, 2]`` each."""
        (x0, y0), (x1, y1) = low.T, high.T
        return self._sums[y1, x1] - self._sums[y0, x1] - self._sums[y1, x0] + self._sums[y0, x0]


def pixel_centres(height: int, width: int) -> np.ndarray:
    """The centres of all pixels, row by row: float64 ``[H * W, 2]``."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def rays(xy: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Rays through points of the image ``[N, 2]``, in camera axes, one metre along z: float64 ``[N, 3]``."""
    return np.concatenate([(xy - K[:2, 2]) / (K[0, 0], K[1, 1]), np.ones((len(xy), 1))], axis=1)


def project(places: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Places in camera axes ``[..., 3]`` in pixels ``[..., 2]``; NaN for what is not in front of the camera."""
    z = np.where(places[..., 2:] > CLIP_START, places[..., 2:], np.nan)
    return places[..., :2] / z * (K[0, 0], K[1, 1]) + K[:2, 2]


def cast(vertices: np.ndarray, faces: np.ndarray, points: Points, slack: float = 0.0) -> Iterator[Hits]:
    """Every meeting of the points' rays with the triangles ``faces [F, 3]`` of ``vertices [V, 3]`` in camera axes.

    ``slack``: rays that miss a triangle by up to this many pixels hit it too, with a weight slightly below 0.
    """
    chosen, low, high = _near_points(vertices, faces, points, slack)
    for batch in _batches(np.prod(high - low, axis=1)):
        a, b, c = (vertices[corner] for corner in faces[chosen[batch]].T)
        sides = [_cross(b, c), _cross(c, a), _cross(a, b)]
        volume = (a.T * sides[0]).sum(axis=0)
        place, point = _pairs(low[batch], high[batch], points)
        x, y = points.rays[point, :2].T
        weights = np.stack([side[0][place] * x + side[1][place] * y + side[2][place] for side in sides])
        total = weights.sum(axis=0)
        total[total == 0] = np.nan  # a triangle seen edge-on meets no ray
        weights /= total
        inside = weights
        if slack:
            reach = [slack * (abs(side[0]) / points.K[0, 0] + abs(side[1]) / points.K[1, 1]) for side in sides]
            inside = weights + np.stack(reach)[:, place] / abs(total)
        z = volume[place] / total
        met = np.flatnonzero((np.minimum(np.minimum(inside[0], inside[1]), inside[2]) >= 0) & (z > CLIP_START))
        yield Hits(point[met], chosen[batch][place[met]], weights[:, met].T, z[met])


def _near_points(
    vertices: np.ndarray, faces: np.ndarray, points: Points, slack: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The triangles that may meet a ray, and the pixels they may meet it in: their first, and beyond-the-last."""
    end = np.array([points.size[1], points.size[0]])
    a, b, c = faces.T
    seen = project(vertices, points.K)
    one, two, three = seen[a], seen[b], seen[c]
    low = np.ceil(np.minimum(np.minimum(one, two), three) - points.high - slack)
    high = np.floor(np.maximum(np.maximum(one, two), three) - points.low + slack) + 1
    # A triangle that reaches behind the camera has no end on screen: it may be anywhere, unless it is wholly behind.
    behind = vertices[:, 2] <= CLIP_START
    endless = np.isnan(low[:, 0])
    low[endless], high[endless] = 0, np.where((behind[a] & behind[b] & behind[c])[endless, None], 0, end)
    low, high = (corner.clip(0, end).astype(np.int64) for corner in (low, high))
    some = np.flatnonzero((points.inside(low, high) > 0) & (low < high).all(axis=1))
    return some, low[some], high[some]


def _batches(sizes: np.ndarray) -> Iterator[slice]:
    """Slices of consecutive triangles with about BATCH pixels together, at least one triangle each."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, before + BATCH, side="right")), start + 1)
        yield slice(start, stop)
        start = stop


def _pairs(low: np.ndarray, high: np.ndarray, points: Points) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of a rectangle of pixels ``[F, 2]`` and a point in it: int64 ``[M]`` both."""
    width = high[:, 0] - low[:, 0]
    size = width * (high[:, 1] - low[:, 1])
    owner = np.repeat(np.arange(len(low)), size)
    row, column = np.divmod(_counted(size), width[owner])
    cell = (low[owner, 1] + row) * points.size[1] + low[owner, 0] + column
    count = points.count[cell]
    return np.repeat(owner, count), points.order[np.repeat(points.start[cell], count) + _counted(count)]


def _counted(sizes: np.ndarray) -> np.ndarray:
    """0, 1, … up to each size in turn: ``[2, 3]`` gives 0, 1, 0, 1, 2."""
    return np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cross products of rows ``[F, 3]``, as rows ``[3, F]``."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
