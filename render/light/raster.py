"""A compiled, supersampling rasteriser: visible triangle and colour per sample.

Each pixel has n by n samples. A ray d hits a triangle A, B, C (camera axes) where the dot products of d with B×C, C×A
and A×B have one sign, as in `render.geometry.raycast`; they are the barycentric weights up to a common factor.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from blender_scenes.object_spec import BOX_BLEND
from render.geometry.raycast import CLIP_START
from vosforge.compiled import compiled

PLAIN, BY_UV, BY_MIRRORED_UV, BY_BOX = 0, 1, 2, 3
"""Texture mapping of a triangle: a plain colour, UVs with repeated or mirrored wrapping, or box projection."""
NOTHING = -1
LEVELS = 4095
"""Steps of sRGB from black to white."""
MAX_TAPS = 4
"""Maximum texture lookups per sample (anisotropic filtering)."""


_inlined = partial(compiled, inline="always")


class Painted(NamedTuple):
    """The appearance of F triangles."""

    kind: np.ndarray
    """int8 ``[F]``: PLAIN, BY_UV, BY_MIRRORED_UV or BY_BOX."""
    color: np.ndarray
    """float32 ``[F, 3]``: scene-linear base colour, added to the image's."""
    image: np.ndarray
    """int32 ``[F]``: image index, unless PLAIN."""
    place: np.ndarray
    """float32 ``[F, 3, 3]``: corner coordinates: u, v, 0, or positions in the mesh's bounding box, 0 to 1."""
    normal: np.ndarray
    """float32 ``[F, 3, 3]``: corner normals in mesh axes, for BY_BOX."""
    known: np.ndarray
    """bool ``[F]``: whether this appearance is exact."""


class Images(NamedTuple):
    """I images with their mipmaps, L levels in one array."""

    texels: np.ndarray
    """uint8 ``[N, 3]``, sRGB; each level bottom row first."""
    start: np.ndarray
    """int64 ``[L]``: first texel of each level."""
    size: np.ndarray
    """int64 ``[L, 2]``: height and width of each level."""
    first: np.ndarray
    """int64 ``[I + 1]``: first level of each image, then L."""


@compiled
def draw_triangles(
    corners: np.ndarray, first: int, K: np.ndarray, origin: tuple[int, int], n: int, z: np.ndarray, face: np.ndarray
) -> None:
    """Draw triangles into a depth buffer.

    corners: float64 ``[F, 3, 3]``, camera axes; first: index of the first triangle; origin: row and column of the
    grid's first pixel; z: float64 ``[h n, w n]``, depth in metres; face: int32 of the same shape, index of the nearest
    triangle. z and face are updated where a triangle is nearer.
    """
    rows, columns = z.shape
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    top, left = origin
    for f in range(len(corners)):
        a, b, c = corners[f, 0], corners[f, 1], corners[f, 2]
        behind = (a[2] <= CLIP_START) + (b[2] <= CLIP_START) + (c[2] <= CLIP_START)
        if behind == 3:
            continue
        low_x, low_y, high_x, high_y = 0, 0, columns, rows
        if behind == 0:
            ax, bx, cx_ = (a[0] / a[2], b[0] / b[2], c[0] / c[2])
            ay, by, cy_ = (a[1] / a[2], b[1] / b[2], c[1] / c[2])
            low_x = max(0, int(np.ceil((min(ax, bx, cx_) * fx + cx - left) * n - 0.5)))
            high_x = min(columns, int(np.floor((max(ax, bx, cx_) * fx + cx - left) * n - 0.5)) + 1)
            low_y = max(0, int(np.ceil((min(ay, by, cy_) * fy + cy - top) * n - 0.5)))
            high_y = min(rows, int(np.floor((max(ay, by, cy_) * fy + cy - top) * n - 0.5)) + 1)
        if low_x >= high_x or low_y >= high_y:
            continue
        ux, uy, uz = b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]
        vx, vy, vz = c[1] * a[2] - c[2] * a[1], c[2] * a[0] - c[0] * a[2], c[0] * a[1] - c[1] * a[0]
        wx, wy, wz = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
        volume = a[0] * ux + a[1] * uy + a[2] * uz
        if volume == 0.0:
            continue
        sign = 1.0 if volume > 0 else -1.0
        ux, uy, uz, vx, vy, vz = ux * sign, uy * sign, uz * sign, vx * sign, vy * sign, vz * sign
        wx, wy, wz, volume = wx * sign, wy * sign, wz * sign, volume * sign
        # Grid columns to x, and back.
        step, start = 1.0 / (n * fx), (0.5 / n + left - cx) / fx
        for i in range(low_y, high_y):
            y = ((i + 0.5) / n + top - cy) / fy
            u_row, v_row, w_row = uy * y + uz, vy * y + vz, wy * y + wz
            begin, end = low_x, high_x
            for slope, value in ((ux, u_row), (vx, v_row), (wx, w_row)):
                if slope == 0.0:
                    end = end if value >= 0.0 else begin
                    continue
                zero = min(max((-value / slope - start) / step, -1.0), columns + 1.0)
                if slope > 0.0:
                    begin = max(begin, int(zero))
                else:
                    end = min(end, int(zero) + 2)
            for j in range(begin, end):
                x = start + j * step
                u, v, w = ux * x + u_row, vx * x + v_row, wx * x + w_row
                if u >= 0.0 and v >= 0.0 and w >= 0.0:
                    depth = volume / (u + v + w)
                    if CLIP_START < depth < z[i, j]:
                        z[i, j] = depth
                        face[i, j] = first + f


@compiled
def paint(
    corners: np.ndarray,
    looks: Painted,
    images: Images,
    linear: np.ndarray,
    K: np.ndarray,
    origin: tuple[int, int],
    n: int,
    face: np.ndarray,
    color: np.ndarray,
) -> None:
    """Shade each sample by its visible triangle ``face [h n, w n]``.

    linear: lookup table from sRGB in LEVELS steps to scene-linear light; color: float32 ``[h n, w n, 5]`` of zeros,
    filled with colour, 1 where covered, and 1 where inexact. Like Cycles, it interpolates images before converting
    them to linear light.
    """
    rows, columns = face.shape
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    step_x, step_y = 1 / (n * fx), 1 / (n * fy)
    forms, last = np.zeros((7, 3)), NOTHING
    for i in range(rows):
        y = ((i + 0.5) / n + origin[0] - cy) / fy
        for j in range(columns):
            f = face[i, j]
            if f == NOTHING:
                continue
            kind, image = looks.kind[f], looks.image[f]
            for k in range(3):
                color[i, j, k] = looks.color[f, k]
            color[i, j, 3] = 1.0
            color[i, j, 4] = 0.0 if looks.known[f] else 1.0
            if kind == PLAIN:
                continue
            if f != last:  # neighbours mostly show the same triangle
                set_forms(forms, corners[f], looks.place[f], looks.normal[f])
                last = f
            x = ((j + 0.5) / n + origin[1] - cx) / fx
            here = at(forms, x, y)
            to_right, down = at(forms, x + step_x, y), at(forms, x, y + step_y)
            if kind != BY_BOX:
                red, green, blue = looked_up(images, image, kind, here, to_right, down, 0, 1, False, linear)
            else:
                # Weights are negative on front faces, and Cycles flips the normals of back faces: so all are flipped.
                nx, ny, nz = -value(forms, 4, x, y), -value(forms, 5, x, y), -value(forms, 6, x, y)
                x_share, y_share, z_share = box_shares(abs(nx), abs(ny), abs(nz))
                red, green, blue = 0.0, 0.0, 0.0
                for share, across, up, flip in (
                    (x_share, 1, 2, nx < 0),
                    (y_share, 0, 2, ny > 0),
                    (z_share, 1, 0, nz > 0),
                ):
                    if share > 0:
                        r, g, b = looked_up(images, image, kind, here, to_right, down, across, up, flip, linear)
                        red, green, blue = red + share * r, green + share * g, blue + share * b
            color[i, j, 0] += red
            color[i, j, 1] += green
            color[i, j, 2] += blue


@compiled
def set_forms(forms: np.ndarray, corners: np.ndarray, place: np.ndarray, normal: np.ndarray) -> None:
    """Fill ``forms [7, 3]`` with a triangle's attributes as linear functions of a ray (x, y, 1).

    Rows 0 to 2: weighted ``place``; 3: sum of the weights; 4 to 6: weighted ``normal``.
    """
    forms[:] = 0
    for corner in range(3):
        p, q = corners[(corner + 1) % 3], corners[(corner + 2) % 3]
        for axis in range(3):
            one, two = (axis + 1) % 3, (axis + 2) % 3
            weight = p[one] * q[two] - p[two] * q[one]
            forms[3, axis] += weight
            for k in range(3):
                forms[k, axis] += weight * place[corner, k]
                forms[4 + k, axis] += weight * normal[corner, k]


@_inlined
def value(forms: np.ndarray, which: int, x: float, y: float) -> float:
    """Evaluate one linear function at a ray."""
    found: float = forms[which, 0] * x + forms[which, 1] * y + forms[which, 2]
    return found


@_inlined
def at(forms: np.ndarray, x: float, y: float) -> tuple[float, float, float]:
    """The texture or box coordinates where a ray hits the triangle."""
    share = 1 / value(forms, 3, x, y)
    return value(forms, 0, x, y) * share, value(forms, 1, x, y) * share, value(forms, 2, x, y) * share


@_inlined
def mirrored(place: float) -> float:
    """A coordinate wrapped to 0..1 with mirrored repetition."""
    turn = place - 2.0 * np.floor(0.5 * place)
    return 2.0 - turn if turn > 1.0 else turn


@_inlined
def box_shares(x: float, y: float, z: float) -> tuple[float, float, float]:
    """Blend weights of box projection for a normal with these absolute components.

    As in Cycles' image node (kernel/svm/image.h): one projection where its axis dominates, two near an edge, three near
    a corner of the box.
    """
    total = x + y + z
    x, y, z = x / total, y / total, z / total
    limit = 0.5 * (1 + BOX_BLEND)
    if x > limit * (x + y) and x > limit * (x + z):
        return 1.0, 0.0, 0.0
    if y > limit * (x + y) and y > limit * (y + z):
        return 0.0, 1.0, 0.0
    if z > limit * (x + z) and z > limit * (y + z):
        return 0.0, 0.0, 1.0
    if z < (1 - limit) * (y + x):
        share = blended(x / (x + y))
        return share, 1 - share, 0.0
    if x < (1 - limit) * (y + z):
        share = blended(y / (y + z))
        return 0.0, share, 1 - share
    if y < (1 - limit) * (x + z):
        share = blended(x / (x + z))
        return share, 0.0, 1 - share
    scale = 1 / (2 * limit - 1)
    return (
        ((2 - limit) * x + limit - 1) * scale,
        ((2 - limit) * y + limit - 1) * scale,
        ((2 - limit) * z + limit - 1) * scale,
    )


@_inlined
def blended(share: float) -> float:
    """The blend weight of the first of two axes, sharpened to the blend width."""
    return min(max((share - 0.5 * (1 - BOX_BLEND)) / BOX_BLEND, 0.0), 1.0)


@_inlined
def looked_up(
    images: Images,
    image: int,
    kind: int,
    here: tuple[float, float, float],
    to_right: tuple[float, float, float],
    down: tuple[float, float, float],
    across: int,
    up: int,
    flip: bool,
    linear: np.ndarray,
) -> tuple[float, float, float]:
    """Anisotropic texture lookup at a sample, from its coordinates and those of its right and lower neighbours.

    ``across`` and ``up``: the coordinates that index the image; ``flip``: mirror the first. Up to MAX_TAPS lookups
    along the footprint's longer side use the mipmap level that fits its shorter side.
    """
    first = images.first[image]
    height, width = images.size[first, 0], images.size[first, 1]
    right_u, right_v = to_right[across] - here[across], to_right[up] - here[up]
    down_u, down_v = down[across] - here[across], down[up] - here[up]
    long_u, long_v = right_u, right_v
    longer, shorter = (right_u * width) ** 2 + (right_v * height) ** 2, (down_u * width) ** 2 + (down_v * height) ** 2
    if longer < shorter:
        longer, shorter, long_u, long_v = shorter, longer, down_u, down_v
    level, taps = 0, 1
    if longer >= 4.0:  # two texels
        longer, shorter = np.sqrt(longer), np.sqrt(max(shorter, longer / MAX_TAPS**2))
        while shorter >= 2.0 and first + level + 1 < images.first[image + 1]:
            level, shorter, longer = level + 1, shorter / 2, longer / 2
        taps = max(min(int(longer + 0.5), MAX_TAPS), 1)
    red, green, blue = 0.0, 0.0, 0.0
    for tap in range(taps):
        along = (tap + 0.5) / taps - 0.5
        u, v = here[across] + along * long_u, here[up] + along * long_v
        if flip:
            u = 1 - u
        if kind == BY_MIRRORED_UV:
            u, v = mirrored(u), mirrored(v)
        r, g, b = texel(images, first + level, u, v, linear)
        red, green, blue = red + r / taps, green + g / taps, blue + b / taps
    return red, green, blue


@_inlined
def texel(images: Images, level: int, u: float, v: float, linear: np.ndarray) -> tuple[float, float, float]:
    """The bilinearly interpolated colour of a mipmap level at (u, v)."""
    height, width = images.size[level, 0], images.size[level, 1]
    x, y = (u - np.floor(u)) * width - 0.5, (v - np.floor(v)) * height - 0.5
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    x, y = x - x0, y - y0
    x1, y1 = x0 + 1 if x0 + 1 < width else 0, y0 + 1 if y0 + 1 < height else 0
    x0, y0 = x0 if x0 >= 0 else width - 1, y0 if y0 >= 0 else height - 1
    low, high = images.start[level] + y0 * width, images.start[level] + y1 * width
    texels = images.texels
    one, two, three, four = (1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y
    a, b, c, d = low + x0, low + x1, high + x0, high + x1
    scale = LEVELS / 255
    red = one * texels[a, 0] + two * texels[b, 0] + three * texels[c, 0] + four * texels[d, 0]
    green = one * texels[a, 1] + two * texels[b, 1] + three * texels[c, 1] + four * texels[d, 1]
    blue = one * texels[a, 2] + two * texels[b, 2] + three * texels[c, 2] + four * texels[d, 2]
    return linear[int(red * scale + 0.5)], linear[int(green * scale + 0.5)], linear[int(blue * scale + 0.5)]


def linear_light(encoded: np.ndarray) -> np.ndarray:
    """sRGB values to scene-linear light, both 0 to 1 (IEC 61966-2-1), float32."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)


def pixel_filter(n: int) -> np.ndarray:
    """Cycles' pixel filter on one axis, a Blackman-Harris window three pixels wide: float32 ``[3 n]``."""
    angle = 2 * np.pi * (np.arange(3 * n) + 0.5) / (3 * n)
    weights = 0.35875 - 0.48829 * np.cos(angle) + 0.14128 * np.cos(2 * angle) - 0.01168 * np.cos(3 * angle)
    return (weights / weights.sum()).astype(np.float32)


@compiled
def filtered(grid: np.ndarray, kernel: np.ndarray, n: int) -> np.ndarray:
    """Filter samples to pixels: float32 ``[h n, w n, C]`` to ``[h - 2, w - 2, C]``, without border pixels.

    kernel: a `pixel_filter`.
    """
    rows, columns, channels = grid.shape
    height, width = rows // n - 2, columns // n - 2
    lines = grid.reshape(rows, columns * channels)
    out = np.zeros((height, width, channels), np.float32)
    for i in range(height):
        down = np.zeros(columns * channels, np.float32)
        for k in range(3 * n):
            weight, line = kernel[k], lines[i * n + k]
            for j in range(columns * channels):
                down[j] += weight * line[j]
        for j in range(width):
            start = j * n * channels
            for k in range(3 * n):
                for c in range(channels):
                    out[i, j, c] += kernel[k] * down[start + k * channels + c]
    return out
