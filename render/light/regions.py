"""Finds the rectangles of a frame in which objects can be visible; nothing else is rendered.

The frame is a grid of cells. Cells that a triangle touches or comes near are marked. Guillotine cuts then split their
bounding box while the cells saved outweigh the cost of another rectangle.
"""

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np

from blender_scenes.geometry import SceneGeometry, moved
from blender_scenes.spec import LightSpec, PlaneSpec, RenderSettings
from render.geometry.raycast import CLIP_START
from render.geometry.surfaces import lamp_box, plane_triangles
from render.light.raster import compiled
from vosforge.videos.codec import Region

CELL = 8
"""Side of a cell in pixels."""
RIM = 2.0
"""Pixels around a triangle that its antialiased edge may touch."""
PART_RAYS = 16_000
"""Cost of an additional rectangle, in rays that hit nothing."""

DENSE = 0.4
"""Above this rendered fraction of a frame, an adaptive denoiser uses "high"."""


class Regions:
    """Finds the regions in which selected objects can be visible, at any frame."""

    def __init__(
        self,
        geometry: SceneGeometry,
        numbers: Sequence[int],
        rays: int,
        lights: Sequence[LightSpec] = (),
        planes: Sequence[tuple[PlaneSpec, int]] = (),
    ) -> None:
        """``numbers``: the selected objects; ``rays``: rays per pixel; ``planes``: each with the axis that it faces."""
        self._geometry, self._numbers = geometry, numbers
        self._part = PART_RAYS / rays / CELL**2
        still = [plane_triangles(plane, facing) for plane, facing in planes]
        still += [lamp_box(light) for light in lights]
        self._still = np.concatenate([np.zeros((0, 3, 3)), *still])

    def at(self, t: int) -> list[Region]:
        """Disjoint regions of frame ``t`` that contain all visible parts of the selected objects."""
        geometry = self._geometry
        height, width = geometry.size
        cells = np.zeros((-(-height // CELL), -(-width // CELL)), bool)
        for number in self._numbers:
            mark(geometry.vertices(number, t), geometry.mesh(number).faces, geometry.K[t], cells)
        corners = moved(self._still.reshape(-1, 3), geometry.to_camera[t])
        mark(corners, np.arange(len(corners)).reshape(-1, 3), geometry.K[t], cells)
        return [
            Region(CELL * part.top, CELL * part.left, min(CELL * part.bottom, height), min(CELL * part.right, width))
            for part in parts(cells, self._part)
        ]


@compiled
def mark(vertices: np.ndarray, faces: np.ndarray, K: np.ndarray, cells: np.ndarray) -> None:
    """Mark every one of the ``cells [h, w]`` within RIM of a triangle (conservative rasterisation).

    vertices: float64 ``[V, 3]``, camera axes; faces: ``[F, 3]``; K: camera matrix; cells: bool.
    """
    rows, columns = cells.shape
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    xs, ys = np.empty(4), np.empty(4)  # a clipped triangle has at most four corners
    for f in range(len(faces)):
        count = 0
        for k in range(3):
            here, there = vertices[faces[f, k]], vertices[faces[f, (k + 1) % 3]]
            if here[2] > CLIP_START:
                xs[count], ys[count] = here[0] / here[2] * fx + cx, here[1] / here[2] * fy + cy
                count += 1
            if (here[2] > CLIP_START) != (there[2] > CLIP_START):
                share = (CLIP_START - here[2]) / (there[2] - here[2])
                xs[count] = (here[0] + share * (there[0] - here[0])) / CLIP_START * fx + cx
                ys[count] = (here[1] + share * (there[1] - here[1])) / CLIP_START * fy + cy
                count += 1
        if count == 0:
            continue
        low, high = ys[:count].min() - RIM, ys[:count].max() + RIM
        if not (low < rows * CELL and high >= 0):
            continue
        for row in range(int(max(low, 0.0)) // CELL, int(min(high, rows * CELL - 1.0)) // CELL + 1):
            # The triangle's horizontal extent within the row.
            top, bottom = row * CELL - RIM, (row + 1) * CELL + RIM
            left, right = np.inf, -np.inf
            for k in range(count):
                x0, y0, x1, y1 = xs[k], ys[k], xs[(k + 1) % count], ys[(k + 1) % count]
                if y0 > y1:
                    x0, y0, x1, y1 = x1, y1, x0, y0
                if y1 < top or y0 > bottom:
                    continue
                begin = x0 + (x1 - x0) * (top - y0) / (y1 - y0) if y0 < top else x0
                end = x0 + (x1 - x0) * (bottom - y0) / (y1 - y0) if y1 > bottom else x1
                left, right = min(left, begin, end), max(right, begin, end)
            if left - RIM < columns * CELL and right + RIM >= 0:
                first, last = max(left - RIM, 0.0), min(right + RIM, columns * CELL - 1.0)
                cells[row, int(first) // CELL : int(last) // CELL + 1] = True


def parts(cells: np.ndarray, cost: float) -> list[Region]:
    """Rectangles that cover all marked ``cells [h, w]``; an additional one costs as much as ``cost`` cells.

    A greedy guillotine partition: the best cut, then recursively both sides.
    """
    return _parts(cells, cost, 0, 0)


def _parts(cells: np.ndarray, cost: float, top: int, left: int) -> list[Region]:
    rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    if not len(rows):
        return []
    top, left = top + int(rows[0]), left + int(columns[0])
    cells = cells[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    across, down = _after_cuts(cells), _after_cuts(cells.T)
    if min(across.min(initial=cells.size), down.min(initial=cells.size)) + cost >= cells.size:
        return [Region(top, left, top + cells.shape[0], left + cells.shape[1])]
    if across.min(initial=cells.size) <= down.min(initial=cells.size):
        row = int(across.argmin()) + 1
        return _parts(cells[:row], cost, top, left) + _parts(cells[row:], cost, top + row, left)
    column = int(down.argmin()) + 1
    return _parts(cells[:, :column], cost, top, left) + _parts(cells[:, column:], cost, top, left + column)


def _after_cuts(cells: np.ndarray) -> np.ndarray:
    """Total cells of both bounding boxes after a cut below each row but the last: int64 ``[h - 1]``."""
    return _above(cells)[:-1] + _above(cells[::-1])[-2::-1]


def _above(cells: np.ndarray) -> np.ndarray:
    """Cells of the bounding box of marked cells down to each row: int64 ``[h]``."""
    height, width = cells.shape
    some = cells.any(axis=1)
    first = np.minimum.accumulate(np.where(some, cells.argmax(axis=1), width))
    last = np.maximum.accumulate(np.where(some, width - cells[:, ::-1].argmax(axis=1), 0))
    upper, lower = np.argmax(some), np.maximum.accumulate(np.where(some, np.arange(1, height + 1), 0))
    area: np.ndarray = np.maximum(lower - upper, 0) * np.maximum(last - first, 0)
    return area


def enclosing(regions: Sequence[Region]) -> list[Region]:
    """Bounding boxes of regions, merged until no two overlap or touch."""
    boxes: list[Region] = []
    for box in regions:
        while touching := [other for other in boxes if _touch(box, other)]:
            boxes = [other for other in boxes if other not in touching]
            tops, lefts, bottoms, rights = zip(box, *touching, strict=True)
            box = Region(min(tops), min(lefts), max(bottoms), max(rights))
        boxes.append(box)
    return boxes


def neighbourhoods(regions: Sequence[Region], margin: int, size: tuple[int, int]) -> list[tuple[Region, list[Region]]]:
    """Boxes around ``regions`` with a margin, each with the regions it contains; every region is in one box.

    ``margin``: pixels, clipped to the frame of ``size`` (height, width). Boxes merge while their union's box has no
    more pixels than both, best pair first.
    """

    def box(held: Sequence[Region]) -> Region:
        return _around(held, margin, size)

    def saved(pair: tuple[list[Region], list[Region]]) -> int:
        one, other = pair
        return _pixels(box(one)) + _pixels(box(other)) - _pixels(box(one + other))

    groups = [[region] for region in regions]
    while len(groups) > 1:
        one, other = max(itertools.combinations(groups, 2), key=saved)
        if saved((one, other)) < 0:
            break
        groups = [group for group in groups if group is not one and group is not other] + [one + other]
    return [(box(held), held) for held in groups]


def _around(regions: Sequence[Region], margin: int, size: tuple[int, int]) -> Region:
    tops, lefts, bottoms, rights = zip(*regions, strict=True)
    return Region(
        max(min(tops) - margin, 0),
        max(min(lefts) - margin, 0),
        min(max(bottoms) + margin, size[0]),
        min(max(rights) + margin, size[1]),
    )


def _pixels(region: Region) -> int:
    return (region.bottom - region.top) * (region.right - region.left)


def denoiser_for(
    settings: RenderSettings, regions: Sequence[Region], *, surrounded: bool = False
) -> Literal["fast", "high"]:
    """The denoiser's quality for a frame with these rendered regions."""
    if settings.denoiser != "adaptive":
        return settings.denoiser
    dense = sum(map(_pixels, regions)) > DENSE * settings.width * settings.height
    return "high" if dense and not surrounded else "fast"


def _touch(one: Region, other: Region) -> bool:
    rows = one.top <= other.bottom and other.top <= one.bottom
    return rows and one.left <= other.right and other.left <= one.right
