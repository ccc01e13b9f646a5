"""Procedural textures for procedural meshes and backgrounds.

All families but the scenic ones tile seamlessly. A family is a function of a random generator and pixel coordinates,
so coordinate warping, wear and shading are shared. Colours are sRGB in 0..1.
"""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float32]
"""[S,S], one value per pixel."""
Pixels = NDArray[np.float32]
"""[...,3] sRGB in 0..1."""
Family = Callable[[np.random.Generator, Field, Field], Pixels]
"""(rng, x, y) -> [S,S,3]; x and y run from 0 to 1 across the image."""


def family_image(family: Family, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """An image [size,size,3] uint8 sRGB of one family."""
    return np.round(_worn(rng, _draw(family, rng, size)) * 255).astype(np.uint8)


def encode_jpeg(image: NDArray[np.uint8]) -> bytes:
    """``image`` [H,W,3] uint8 as a high-quality JPEG without chroma subsampling."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=93, subsampling=0)
    return buffer.getvalue()


def palette(rng: np.random.Generator, count: int) -> Pixels:
    """[count,3] matching colours of evenly spread brightness, in random order."""
    scheme = rng.choice(["natural", "pastel", "vivid", "muted", "one hue"])
    hue = rng.random()
    if scheme == "natural":
        hues = rng.choice([0.04, 0.08, 0.11, 0.22, 0.3, 0.55]) + rng.normal(0, 0.04, count)
        saturations, low, high = rng.uniform(0.15, 0.6, count), 0.15, 0.85
    elif scheme == "pastel":
        hues, saturations, low, high = hue + rng.uniform(0, 0.6, count), rng.uniform(0.12, 0.4, count), 0.7, 1.0
    elif scheme == "vivid":
        hues, saturations, low, high = hue + rng.integers(0, 4, count) / 4, rng.uniform(0.6, 0.95, count), 0.35, 0.98
    elif scheme == "muted":
        hues, saturations, low, high = hue + rng.normal(0, 0.07, count), rng.uniform(0.1, 0.45, count), 0.2, 0.85
    else:
        hues, saturations, low, high = np.full(count, hue), rng.uniform(0.05, 0.7, count), 0.12, 0.95
    values = np.linspace(low, high, count) + rng.uniform(-0.5, 0.5, count) * (high - low) / (2 * count)
    colors = hsv_to_rgb(np.stack([hues, saturations, np.clip(values, 0, 1)], axis=-1))
    return colors[rng.permutation(count)].astype(np.float32)


def hsv_to_rgb(hsv: NDArray) -> NDArray:
    """Convert [...,3] hue (in turns, any real), saturation, value to RGB."""
    hue, saturation, value = (hsv[..., [channel]] for channel in range(3))
    phase = (hue * 6 + np.array([5.0, 3.0, 1.0])) % 6
    return value - value * saturation * np.clip(np.minimum(phase, 4 - phase), 0, 1)


# -- building blocks of the families --------------------------------------------------------------------------------


def noise(rng: np.random.Generator, size: int, power: float, stretch: float = 1.0) -> Field:
    """[size,size] seamless noise, mean 0, standard deviation 1, with amplitude frequency^-power.

    ``stretch`` > 1 elongates it along y (grain); power 0 is white, 1 rough, 2 smooth.
    """
    fy, fx = np.fft.fftfreq(size)[:, None] * size * stretch, np.fft.rfftfreq(size)[None, :] * size
    amplitude = (fx**2 + fy**2 + 0.5) ** (-power / 2)
    amplitude[0, 0] = 0
    real, imaginary = rng.standard_normal((2, *amplitude.shape))
    field = np.fft.irfft2((real + 1j * imaginary) * amplitude, s=(size, size))
    return (field / field.std()).astype(np.float32)


def gradient(field: Field, colors: Pixels) -> Pixels:
    """Piecewise linear colour gradient through ``colors``, indexed by ``field`` in 0..1 (clipped)."""
    at = np.linspace(0, 1, len(colors))
    return np.stack([np.interp(field, at, colors[:, channel]) for channel in range(3)], axis=-1).astype(np.float32)


def rank(field: Field) -> Field:
    """``field`` with its values replaced by their approximate quantiles in 0..1."""
    return (0.5 * (1 + np.tanh(0.85 * field))).astype(np.float32)


def bands(phase: Field, edges: NDArray, colors: Pixels, softness: float) -> Pixels:
    """Bands of ``colors``, the i-th between edges[i] and edges[i+1] of each period of ``phase`` (edges from 0 to 1)."""
    phase = phase % 1
    image = np.broadcast_to(colors[-1], (*phase.shape, 3))
    for edge, color in zip(edges, [*colors, colors[0]], strict=True):
        cover = np.clip((phase - edge) / softness + 0.5, 0, 1)[..., None]
        image = image + (color - image) * cover
    return image


def _random_edges(rng: np.random.Generator, count: int) -> NDArray:
    widths = rng.uniform(0.3, 1.5, count)
    return np.concatenate([[0], np.cumsum(widths) / widths.sum()])


def over(image: Pixels, color: Pixels, cover: Field) -> Pixels:
    """``image`` under ``color`` that covers the share ``cover`` of each pixel."""
    return image + (color - image) * cover[..., None]


def softness(x: Field, frequency: float) -> float:
    """The width of a 1.5-pixel edge in phase units, at ``frequency`` periods per image."""
    return 1.5 * frequency / x.shape[0]


def cells(rng: np.random.Generator, x: Field, y: Field, count: int) -> tuple[NDArray[np.int64], Field]:
    """Seamless Voronoi cells: each pixel's cell, and its distance to the border (in mean cell sizes)."""
    nearest = np.full(x.shape, np.inf, np.float32)
    second = nearest.copy()
    owner = np.zeros(x.shape, np.int64)
    for number, (px, py) in enumerate(rng.random((count, 2)).astype(np.float32)):
        dx, dy = x - px, y - py
        dx -= np.round(dx)
        dy -= np.round(dy)
        distance = dx * dx + dy * dy
        closer = distance < nearest
        second = np.where(closer, nearest, np.minimum(second, distance))
        nearest = np.where(closer, distance, nearest)
        owner[closer] = number
    return owner, (np.sqrt(second) - np.sqrt(nearest)) * np.float32(np.sqrt(count))


def _draw(family: Family, rng: np.random.Generator, size: int) -> Pixels:
    """One family's image, before wear. Only patterns are bent."""
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(centres, centres)
    if family in PATTERNS.values() and rng.random() < 0.4:
        bend = rng.uniform(0.004, 0.03)
        x = x + bend * noise(rng, size, 2.5)
        y = y + bend * noise(rng, size, 2.5)
    return family(rng, x, y)


def _worn(rng: np.random.Generator, image: Pixels) -> Pixels:
    """``image`` with slight uneven shading and grain, as on real surfaces."""
    size = image.shape[0]
    shading = rng.uniform(0.02, 0.10) * noise(rng, size, 1.6) + rng.uniform(0.0, 0.035) * noise(rng, size, 0.2)
    return np.clip(image * (1 + shading[..., None]), 0, 1)


# -- the families ---------------------------------------------------------------------------------------------------


def stripes(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Parallel bands of two to six colours, vertical, horizontal or diagonal."""
    n, count = int(rng.integers(1, 9)), int(rng.integers(2, 7))
    fx, fy = [(n, 0), (0, n), (n, n), (n, -n)][rng.integers(4)]
    return bands(fx * x + fy * y, _random_edges(rng, count), palette(rng, count), softness(x, n))


def zigzag(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Chevrons or waves."""
    fx, fy, count = int(rng.integers(2, 8)), int(rng.integers(2, 8)), int(rng.integers(2, 5))
    wave = np.abs((fx * x) % 1 - 0.5) * 2 if rng.random() < 0.5 else np.sin(2 * np.pi * fx * x) * 0.5
    phase = fy * y + rng.uniform(0.3, 1.2) * wave
    return bands(phase, _random_edges(rng, count), palette(rng, count), softness(x, fx + fy))


def checks(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """A chequerboard of two colours, or of many shades of two."""
    n = 2 * int(rng.integers(2, 8))
    column, row = np.floor(n * x).astype(int) % n, np.floor(n * y).astype(int) % n
    pair = palette(rng, 2)
    shades = 1 + rng.choice([0.0, 0.15]) * rng.standard_normal((n, n, 1))
    return (pair[(column + row) % 2] * shades[row, column]).astype(np.float32)


def tartan(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """A woven plaid: the same bands along and across."""
    n, count = int(rng.integers(1, 5)), int(rng.integers(3, 7))
    edges, colors, soft = _random_edges(rng, count), palette(rng, count), softness(x, n)
    warp, weft = bands(n * x, edges, colors, soft), bands(n * y, edges, colors, soft)
    threads = (0.5 + 0.2 * np.sin(2 * np.pi * 64 * (x + y)))[..., None]
    return (warp * threads + weft * (1 - threads)).astype(np.float32)


def dots(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Rows of discs or rings, aligned or staggered, in one or several colours."""
    n = 2 * int(rng.integers(2, 8))
    colors = palette(rng, int(rng.integers(2, 6)))
    row = np.floor(n * y)
    across = n * x + rng.choice([0.0, 0.5]) * (row % 2)
    which = rng.integers(1, len(colors), (n, n))[row.astype(int) % n, np.floor(across).astype(int) % n]
    distance = np.hypot(across % 1 - 0.5, (n * y) % 1 - 0.5)
    radius, soft = rng.uniform(0.18, 0.45), softness(x, n)
    cover = np.clip((radius - distance) / soft + 0.5, 0, 1)
    if rng.random() < 0.3:
        cover = cover * np.clip((distance - radius / 2) / soft + 0.5, 0, 1)
    return over(np.broadcast_to(colors[0], (*x.shape, 3)), colors[which], cover)


def bricks(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Bricks or tiles with joints, each with its own shade."""
    rows = 2 * int(rng.integers(2, 8))
    columns = max(1, round(rows / rng.choice([1.0, 2.0, 2.5])))
    row = np.floor(rows * y)
    across = columns * x + rng.choice([0.0, 0.5]) * (row % 2)
    tones = palette(rng, 3)
    number = (row.astype(int) % rows) * columns + np.floor(across).astype(int) % columns
    mix = rng.random((rows * columns, 1)).astype(np.float32)
    body = tones[0] + (tones[1] - tones[0]) * mix[number] * rng.uniform(0.2, 1.0)
    body = body * (1 + 0.12 * noise(rng, x.shape[0], 0.8))[..., None]
    gap = np.minimum(
        np.minimum(across % 1, 1 - across % 1) / columns, np.minimum((rows * y) % 1, 1 - (rows * y) % 1) / rows
    )
    joint = rng.uniform(0.02, 0.07) / rows
    return over(body, tones[2], np.clip((joint - gap) * x.shape[0] / 1.5 + 0.5, 0, 1))


def mosaic(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Irregular cells with borders: cobbles, cracked earth, giraffe, stained glass."""
    count = int(rng.integers(12, 60))
    owner, border = cells(rng, x, y, count)
    colors = palette(rng, int(rng.integers(2, 7)))
    shade = rng.uniform(0.75, 1.15, (count, 1)).astype(np.float32)
    body = (colors[1:][rng.integers(0, len(colors) - 1, count)] * shade)[owner]
    body = body * (1 - 0.35 * np.exp(-3 * border))[..., None]
    width = rng.uniform(0.04, 0.3)
    return over(body, colors[0], np.clip((width - border) * 12 + 0.5, 0, 1))


def camouflage(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Overlapping blotches of three to five colours."""
    colors = palette(rng, int(rng.integers(3, 6)))
    image = np.broadcast_to(colors[0], (*x.shape, 3))
    power = rng.uniform(1.6, 2.4)
    for color in colors[1:]:
        image = over(image, color, np.clip((noise(rng, x.shape[0], power) - rng.uniform(0.2, 0.8)) * 12, 0, 1))
    return image


def clouds(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Soft or rough clouds of colour: plaster, sky, felt, rust."""
    field = noise(rng, x.shape[0], rng.uniform(0.9, 2.2), rng.choice([1.0, 1.0, 3.0]))
    return gradient(rank(field), palette(rng, int(rng.integers(2, 5))))


def marble(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Veins in stone."""
    n = int(rng.integers(1, 4))
    vein = np.abs(np.sin(np.pi * (n * x + n * y + rng.uniform(0.4, 1.0) * noise(rng, x.shape[0], 1.9))))
    stone = gradient(rank(noise(rng, x.shape[0], 1.7)), palette(rng, 2))
    return over(stone, palette(rng, 1)[0], np.exp(-vein * rng.uniform(5, 16)) * 0.85)


def wood(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Planks with grain along y."""
    size, planks = x.shape[0], int(rng.choice([1, 2, 4, 6]))
    plank = np.floor(planks * x).astype(int) % planks
    shift = rng.uniform(0, 9, planks)[plank] if planks > 1 else 0.0
    rings = rng.integers(4, 14) * (x + 0.05 * noise(rng, size, 2.0, 6.0)) + shift
    grain = 0.5 + 0.5 * np.sin(2 * np.pi * rings)
    grain = 0.5 * grain + 0.3 * rank(noise(rng, size, 0.9, 30.0)) + 0.2 * rank(noise(rng, size, 1.5, 4.0))
    hue, saturation, value = rng.uniform(0.05, 0.11), rng.uniform(0.25, 0.7), rng.uniform(0.35, 0.9)
    dark, light = hsv_to_rgb(np.array([[hue - 0.02, saturation, value * 0.5], [hue, saturation * 0.85, value]]))
    image = gradient(grain, np.stack([dark, light]).astype(np.float32))
    if planks > 1:
        image = image * rng.uniform(0.8, 1.1, planks)[plank][..., None]
        seam = np.minimum((planks * x) % 1, 1 - (planks * x) % 1) / planks * size
        image = image * (0.35 + 0.65 * np.clip(seam / 2, 0, 1))[..., None]
    return image.astype(np.float32)


def granite(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Fine grains of three or four colours: stone, sand, carpet, gravel."""
    size, colors = x.shape[0], palette(rng, int(rng.integers(3, 5)))
    image = gradient(rank(noise(rng, size, rng.uniform(0.4, 1.0))), colors[:2])
    for color in colors[2:]:
        image = over(image, color, np.clip((noise(rng, size, rng.uniform(0.5, 1.1)) - rng.uniform(0.6, 1.4)) * 6, 0, 1))
    return image


def grass(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Blades and straw: strands along y over tonal patches."""
    size = x.shape[0]
    strands = rank(noise(rng, size, 0.5, rng.uniform(4, 14)) + 0.8 * noise(rng, size, 1.8))
    hue = rng.choice([0.1, 0.14, 0.22, 0.27, 0.3])
    tones = hsv_to_rgb(np.array([[hue + 0.03, 0.7, 0.12], [hue, 0.6, 0.4], [hue - 0.03, 0.5, 0.75]]))
    return gradient(strands, tones.astype(np.float32))


def leaves(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Overlapping discs, ellipses and boxes of all sizes (the "dead leaves" model of natural clutter)."""
    return _scatter(rng, x, y, count=int(rng.integers(120, 320)), smallest=rng.uniform(0.02, 0.05), largest=0.28)


def confetti(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Small shapes scattered on a plain ground: terrazzo, confetti, printed cloth."""
    return _scatter(rng, x, y, count=int(rng.integers(40, 160)), smallest=0.012, largest=rng.uniform(0.03, 0.08))


def _scatter(rng: np.random.Generator, x: Field, y: Field, count: int, smallest: float, largest: float) -> Pixels:
    size = x.shape[0]
    colors = palette(rng, int(rng.integers(3, 9)))
    image = np.broadcast_to(colors[0], (size, size, 3)).copy()
    boxy = rng.choice([0.0, 0.0, 0.5, 1.0])
    # Radii follow r^-3, which gives clutter the scale invariance of photographs.
    radii = (smallest**-2 + rng.random(count) * (largest**-2 - smallest**-2)) ** -0.5
    for radius in radii:
        reach = int(np.ceil(radius * 1.5 * size)) + 1
        span = np.arange(-reach, reach + 1)
        rows, columns = (rng.integers(0, size, 2)[:, None] + span) % size
        across, down = np.meshgrid(span / size, span / size)
        angle, ratio = rng.uniform(0, np.pi), rng.uniform(0.45, 1.0)
        u = np.cos(angle) * across + np.sin(angle) * down
        v = (np.cos(angle) * down - np.sin(angle) * across) / ratio
        distance = np.maximum(np.abs(u), np.abs(v)) if rng.random() < boxy else np.hypot(u, v)
        cover = np.clip((radius - distance) * size * ratio / 1.5 + 0.5, 0, 1)[..., None]
        tone = (
            colors[rng.integers(1, len(colors))]
            * (1 + rng.normal(0, 0.08) + rng.normal(0, 0.15) * u / radius)[..., None]
        )
        window = np.ix_(rows, columns)
        image[window] += ((tone - image[window]) * cover).astype(np.float32)
    return image


def patchwork(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """A quilt of patches cut from other families."""
    size, n = x.shape[0], int(rng.integers(2, 6))
    cut = [stripes, zigzag, checks, tartan, dots, clouds, granite, mosaic]
    cloths = [cut[index](rng, x, y) for index in rng.choice(len(cut), 4, replace=False)]
    column, row = np.floor(n * x).astype(int) % n, np.floor(n * y).astype(int) % n
    cloth = rng.integers(0, len(cloths), (n, n))[row, column]
    image = np.choose(cloth[..., None], cloths)
    seam = np.minimum.reduce([(n * x) % 1, 1 - (n * x) % 1, (n * y) % 1, 1 - (n * y) % 1]) * size / n
    return (image * (0.5 + 0.5 * np.clip(seam / 3, 0, 1))[..., None]).astype(np.float32)


def ornament(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Mirrored blotches: carpets, wallpaper, lace."""
    size, n = x.shape[0], int(rng.integers(1, 5))
    field = noise(rng, size, rng.uniform(1.3, 2.0))
    field = field + field[::-1] + field[:, ::-1] + field[::-1, ::-1]
    if rng.random() < 0.6:
        field = field + field.T
    steps = (np.arange(size) * n) % size
    levels = int(rng.integers(3, 7))
    phase = rank(field[np.ix_(steps, steps)] / 2) * 0.999
    return bands(phase, np.linspace(0, 1, levels + 1), palette(rng, levels), 0.02)


def hills(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Ranges of hills under a sky."""
    size = x.shape[0]
    hue = rng.uniform(0.52, 0.62) if rng.random() < 0.6 else rng.uniform(0.9, 1.1)
    zenith, horizon = hsv_to_rgb(np.array([[hue, rng.uniform(0.3, 0.7), rng.uniform(0.35, 0.9)], [hue, 0.12, 0.95]]))
    image = gradient(y / 0.7, np.stack([zenith, horizon]).astype(np.float32))
    cloud = rank(noise(rng, size, 1.7, 0.4) - rng.uniform(0.0, 1.5)) * (1 - np.clip(y / 0.75, 0, 1))
    image = over(image, np.ones(3, np.float32), cloud * 0.8)
    ranges = int(rng.integers(3, 7))
    land_hue, saturation = rng.choice([0.08, 0.12, 0.25, 0.3, 0.58]), rng.uniform(0.2, 0.6)
    for nearness in np.linspace(0.15, 1, ranges):
        ridge = 0.35 + 0.45 * nearness + (0.03 + 0.05 * nearness) * noise(rng, size, 1.6)[0][None, :]
        tone = hsv_to_rgb(np.array([land_hue, saturation, 0.65 - 0.4 * nearness * rng.uniform(0.6, 1.0)]))
        land = tone * (1 + 0.25 * nearness * noise(rng, size, 0.9, 0.7))[..., None]
        land = land * nearness + horizon * (1 - nearness)  # distant ranges fade into haze
        image = over(image, land.astype(np.float32), np.clip((y - ridge) * size / 2 + 0.5, 0, 1))
    return image


def bokeh(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Out-of-focus lights before a dim background."""
    image = gradient(rank(noise(rng, x.shape[0], 2.2)), palette(rng, 3)) * rng.uniform(0.2, 0.6)
    lights = palette(rng, 4)
    for radius in rng.uniform(0.02, 0.11, int(rng.integers(15, 50))):
        distance = np.hypot(x - rng.random(), y - rng.random())
        cover = np.clip((radius - distance) / 0.012 + 0.5, 0, 1) * (0.6 + 0.4 * distance / radius)
        image = image + lights[rng.integers(4)] * (cover * rng.uniform(0.15, 0.6))[..., None]
    return np.clip(image, 0, 1).astype(np.float32)


def room(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """A wallpapered wall above a skirting board and a floor."""
    size = x.shape[0]
    walls, floors = [stripes, clouds, ornament, dots, bricks, tartan], [wood, checks, granite, bricks]
    wall = 0.35 * walls[rng.integers(len(walls))](rng, x, y) + 0.65 * palette(rng, 1)[0]
    level = rng.uniform(0.6, 0.85)
    depth = 1 / np.maximum(y - level + 0.12, 0.12)  # perspective: floor rows converge towards the wall
    floor = floors[rng.integers(len(floors))](rng, x, y)
    rows = np.clip(((depth * 0.12) * size).astype(int), 0, size - 1)
    columns = np.clip(((0.5 + (x - 0.5) * depth * 0.12) * size).astype(int), 0, size - 1)
    image = over(wall, floor[rows, columns], np.clip((y - level) * size / 2 + 0.5, 0, 1))
    board = np.clip((0.02 - np.abs(y - level + 0.02)) * size / 2 + 0.5, 0, 1)
    return over(image, hsv_to_rgb(np.array([0.1, 0.1, rng.uniform(0.3, 0.95)])).astype(np.float32), board)


PATTERNS: dict[str, Family] = {
    family.__name__: family
    for family in (
        stripes, zigzag, checks, tartan, dots, bricks, mosaic, camouflage, clouds, marble, wood, granite, grass,
        leaves, confetti, patchwork, ornament,
    )
}  # fmt: skip
SCENIC: dict[str, Family] = {family.__name__: family for family in (hills, bokeh, room)}
