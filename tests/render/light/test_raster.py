"""The compiled grid against the rays of `render.geometry.raycast`, interpolation written out, a plain convolution."""

import numpy as np
import pytest

from render.geometry.raycast import Points, cast
from render.light.raster import (
    BY_BOX,
    BY_MIRRORED_UV,
    BY_UV,
    LEVELS,
    NOTHING,
    Images,
    Painted,
    box_shares,
    draw_triangles,
    filtered,
    mirrored,
    paint,
    pixel_filter,
)

K = np.array([[50.0, 0, 24], [0, 50, 16], [0, 0, 1]])
SIZE = (32, 48)
LINEAR = np.linspace(0, 1, LEVELS + 1).astype(np.float32)


def triangles(seed, count=24):
    """Triangles all around the camera's frustum: some reach behind it, some are degenerate."""
    rng = np.random.default_rng(seed)
    corners = rng.normal(size=(count, 1, 3)) * [2, 2, 3] + [0, 0, 4] + rng.normal(size=(count, 3, 3)) * 0.6
    corners[0, 1] = corners[0, 0]
    return corners


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("seed", range(6))
def test_each_grid_point_shows_what_its_ray_meets_first(seed, n):
    corners = triangles(seed)
    origin, size = (5, 7), (20 * n, 30 * n)
    z, face = np.full(size, np.inf), np.full(size, NOTHING, np.int32)
    draw_triangles(corners[:10], 0, K, origin, n, z, face)
    draw_triangles(corners[10:], 10, K, origin, n, z, face)
    x, y = np.meshgrid((np.arange(size[1]) + 0.5) / n + origin[1], (np.arange(size[0]) + 0.5) / n + origin[0])
    points = Points(np.stack([x.ravel(), y.ravel()], axis=1), K, SIZE)
    expected = np.full(len(points), np.inf)
    for hits in cast(corners.reshape(-1, 3), np.arange(72).reshape(24, 3), points):
        np.minimum.at(expected, hits.point, hits.z)
    assert np.isfinite(expected).any() and np.isinf(expected).any()
    assert np.allclose(z.ravel(), expected, rtol=1e-9)
    assert ((face == NOTHING) == np.isinf(z)).all()


def facing_square(kind, place):
    """A square that fills the frame, two metres ahead, its corners at ``place [4, 3]`` of its image."""
    corners = np.array([[-2.0, -2, 2], [2, -2, 2], [2, 2, 2], [-2, 2, 2]])
    sides = [[0, 1, 2], [0, 2, 3]]
    looks = Painted(
        np.full(2, kind, np.int8),
        np.zeros((2, 3), np.float32),
        np.zeros(2, np.int32),
        np.asarray(place, np.float32)[sides],
        np.tile(np.float32([0, 0, 1]), (2, 3, 1)),
        np.array([True, False]),
    )
    return corners[sides], looks


def painted(corners, looks, image, n=1):
    size = SIZE[0] * n, SIZE[1] * n
    z, face = np.full(size, np.inf), np.full(size, NOTHING, np.int32)
    draw_triangles(corners, 0, K, (0, 0), n, z, face)
    images = Images(image.reshape(-1, 3), np.array([0]), np.array([image.shape[:2]]), np.array([0, 1]))
    color = np.zeros((*size, 5), np.float32)
    paint(corners, looks, images, LINEAR, K, (0, 0), n, face, color)
    assert (color[:, :, 3] == 1).all() and np.array_equal(color[:, :, 4], face == 1)
    return np.ascontiguousarray(color[:, :, :3])


def looked_up(image, u, v):
    """An image, bottom row first, between its texels, at every pair of ``u [W]`` and ``v [H]``; repeated."""
    height, width = image.shape[:2]
    x, y = u * width - 0.5, v * height - 0.5
    left, low = np.floor(x).astype(int), np.floor(y).astype(int)
    dx, dy = (x - left)[None, :, None], (y - low)[:, None, None]
    at = lambda row, column: image[np.ix_(row % height, column % width)] / 255  # noqa: E731
    below = at(low, left) * (1 - dx) + at(low, left + 1) * dx
    above = at(low + 1, left) * (1 - dx) + at(low + 1, left + 1) * dx
    return below * (1 - dy) + above * dy


@pytest.mark.parametrize("kind", [BY_UV, BY_MIRRORED_UV, BY_BOX])
def test_a_square_that_faces_the_camera_shows_its_image(kind):
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    low, high = (-0.7, 1.6) if kind != BY_BOX else (0.0, 1.0)
    place = [[low, high, 0], [high, high, 0], [high, low, 0], [low, low, 0]]
    color = painted(*facing_square(kind, place), image)
    across = low + (high - low) * (((np.arange(48) + 0.5 - 24) / 50 * 2 + 2) / 4)
    up = high - (high - low) * (((np.arange(32) + 0.5 - 16) / 50 * 2 + 2) / 4)
    if kind == BY_MIRRORED_UV:
        across, up = (np.array([mirrored(value) for value in axis]) for axis in (across, up))
    on_its_side = looked_up(image, up, across).swapaxes(0, 1)  # as a box's third projection has it
    expected = on_its_side if kind == BY_BOX else looked_up(image, across, up)
    assert np.allclose(color, expected, atol=1 / LEVELS + 1e-5)


def test_an_image_that_is_far_too_fine_is_averaged():
    image = np.random.default_rng(1).integers(0, 256, (512, 512, 3)).astype(np.uint8)
    place = [[0, 8, 0], [2, 8, 0], [2, 0, 0], [0, 0, 0]]  # 16 times as fine on one axis as on the other
    color = filtered(painted(*facing_square(BY_UV, place), image, n=4), pixel_filter(4), 4)
    assert abs(color.mean() - 0.5) < 0.01
    assert color.std() < 0.5 * image.std() / 255


def test_box_shares_add_up_and_follow_the_axes():
    rng = np.random.default_rng(2)
    for x, y, z in abs(rng.normal(size=(500, 3))):
        shares = box_shares(x, y, z)
        assert np.isclose(sum(shares), 1) and min(shares) >= 0
        assert np.argmax(shares) == np.argmax([x, y, z]) or max(shares) < 0.51
        assert np.allclose(box_shares(y, z, x), (shares[1], shares[2], shares[0]))
    assert box_shares(1, 0, 0) == (1, 0, 0)


@pytest.mark.parametrize("n", [1, 3, 4])
def test_filtering_is_a_convolution_at_pixel_centres(n):
    kernel = pixel_filter(n)
    assert np.isclose(kernel.sum(), 1) and np.allclose(kernel, kernel[::-1])
    grid = np.random.default_rng(3).random((n * 9, n * 11, 5)).astype(np.float32)
    at_corners = np.zeros((9 - 2, 11 - 2, 5))
    for i in range(9 - 2):
        for j in range(11 - 2):
            window = grid[i * n : (i + 3) * n, j * n : (j + 3) * n]
            at_corners[i, j] = np.einsum("a,b,abc->c", kernel, kernel, window)
    assert np.allclose(filtered(grid, kernel, n), at_corners, atol=1e-5)
