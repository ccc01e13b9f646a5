import numpy as np
import pytest

from mivos_models import rasterise
from mivos_models.runner.scribbles import as_stroke_map
from vosforge import InputError


def bresenham(x0: int, y0: int, x1: int, y1: int) -> list[tuple[int, int]]:
    """The textbook algorithm with its running error."""
    dx, dy = abs(x1 - x0), abs(y1 - y0)
    sx, sy = (1 if x1 > x0 else -1), (1 if y1 > y0 else -1)
    steep = dy >= dx
    if steep:
        dx, dy = dy, dx
    error, across, pixels = 2 * dy - dx, 0, []
    for along in range(dx + 1):
        pixels.append((x0 + sx * across, y0 + sy * along) if steep else (x0 + sx * along, y0 + sy * across))
        if error >= 0 and dx:
            across += 1
            error -= 2 * dx
        error += 2 * dy
    return pixels


def strokes_of(*lines: tuple[int, list[tuple[float, float]]], frame: int = 1) -> dict:
    frames: list[list[dict]] = [[], [], []]
    frames[frame] = [{"path": path, "object_id": j, "start_time": 0, "end_time": 1} for j, path in lines]
    return {"sequence": "x", "scribbles": frames}


def test_lines_are_bresenhams() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        (x0, y0), (x1, y1) = rng.integers(0, 30, (2, 2)).tolist()
        # a quarter of a pixel past the corner survives the truncation of the float product
        path = [((x + 0.25) / 30, (y + 0.25) / 30) for x, y in ((x0, y0), (x1, y1))]
        drawn = rasterise(strokes_of((2, path)), 1, 31, 31)
        expected = np.full((31, 31), -1)
        for x, y in bresenham(x0, y0, x1, y1):
            expected[y, x] = 2
        np.testing.assert_array_equal(drawn, expected)


def test_coordinates_are_scaled_truncated_and_later_strokes_win() -> None:
    drawn = rasterise(strokes_of((1, [(0, 0), (1, 0)]), (0, [(0.49, 0.0)]), (3, [(1, 1), (1, 1)])), 1, 4, 11)
    assert drawn[0].tolist() == [1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1]
    assert np.argwhere(drawn == 3).tolist() == [[3, 10]]
    assert (drawn[1:3] == -1).all()


@pytest.mark.parametrize(
    ("scribbles", "message"),
    [
        ({}, "DAVIS format"),
        ({"scribbles": [[], [{"path": [[0, 0]]}]]}, "DAVIS format"),
        ({"scribbles": [[], [{"path": "ab", "object_id": 1}]]}, "DAVIS format"),
        ({"scribbles": [[], [{"path": [], "object_id": 1}]]}, r"not a list of \[x, y\]"),
        ({"scribbles": [[], [{"path": [[0, float("nan")]], "object_id": 1}]]}, r"not a list of \[x, y\]"),
        ({"scribbles": [[], [{"path": [[0, 10**400]], "object_id": 1}]]}, "DAVIS format"),
        ({"scribbles": [[], [{"path": [[0, 0]], "object_id": 10**30}]]}, "objects are whole numbers"),
        (strokes_of((1, [(0, 0)]), frame=2), r"no stroke on frame 1; they have some on \[2\]"),
    ],
)
def test_malformed_dictionaries_are_named(scribbles: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rasterise(scribbles, 1, 8, 8)


def test_stroke_maps() -> None:
    unsigned = np.full((2, 3), 255, np.uint8)
    unsigned[0] = (0, 1, 2)
    assert as_stroke_map(unsigned, 2, 2, 3).tolist() == [[0, 1, 2], [-1, -1, -1]]
    assert as_stroke_map(np.full((2, 3), -1, np.int8), 2, 2, 3).max() == -1
    for bad in (np.full((2, 3), 3), np.full((2, 3), -2), np.zeros((3, 2), int), np.zeros((2, 3), float)):
        with pytest.raises(InputError, match="stroke"):
            as_stroke_map(bad, 2, 2, 3)
