"""Textures of floors and walls, in the patterns and calm colours of houses, yards and paths. All tile seamlessly."""

import numpy as np

from assets.textures import (
    Family,
    Field,
    Pixels,
    bands,
    cells,
    gradient,
    hsv_to_rgb,
    noise,
    over,
    softness,
)

EARTHS = np.array([0.03, 0.06, 0.08, 0.1, 0.13])
"""Hues, in turns, from brick to straw."""


def _tone(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Pixels:
    """A calm colour ``[3]``: mostly of the hues of earth, sometimes a pale green or blue."""
    earthy = rng.random() < 0.75
    hue = rng.choice(EARTHS) if earthy else rng.uniform(0.3, 0.65)
    strength = rng.uniform(*saturation) * (1.0 if earthy else 0.6)
    return hsv_to_rgb(np.array([hue + rng.normal(0, 0.01), strength, rng.uniform(*value)]))


def _shaded(tone: Pixels, field: Field, by: float) -> Pixels:
    """``tone`` brightened by ``by`` where ``field`` is 1, darkened where it is -1."""
    return np.asarray(tone * (1 + by * field[..., None]), np.float32)


def _staggered(x: Field, y: Field, columns: int, rows: int, shift: float) -> tuple[Field, Field, np.ndarray]:
    """A wall of bricks, each row shifted by ``shift`` bricks: places inside a brick (0 to 1 twice), and its number."""
    row = np.floor(rows * y)
    across = columns * x + shift * (row % 2)
    number = (row.astype(int) % rows) * columns + np.floor(across).astype(int) % columns
    return across % 1, (rows * y) % 1, number


def _joint(u: Field, v: Field, columns: int, rows: int, width: float | Field) -> Field:
    """How much of each pixel is joint, ``width`` images wide, between bricks as of `_staggered`."""
    gap = np.minimum(np.minimum(u, 1 - u) / columns, np.minimum(v, 1 - v) / rows)
    return np.clip((width / 2 - gap) * u.shape[0] / 1.5 + 0.5, 0, 1)


# -- floors ---------------------------------------------------------------------------------------------------------


def parquet(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Boards laid in a bond, each cut from another place of the wood."""
    size, columns = x.shape[0], int(rng.choice([1, 2, 3]))
    rows = columns * 2 * int(rng.integers(2, 5))
    u, v, board = _staggered(x, y, columns, rows, rng.uniform(0.3, 0.5))
    own = rng.random((rows * columns, 3)).astype(np.float32)[board]
    rings = (3 + 4 * own[..., 0]) * (v + 0.12 * noise(rng, size, 2.2).T) + 9 * own[..., 1]
    grain = 0.5 + 0.3 * np.sin(2 * np.pi * rings) + 0.16 * noise(rng, size, 0.8, 24.0).T
    hue, saturation, value = rng.uniform(0.055, 0.1), rng.uniform(0.25, 0.6), rng.uniform(0.35, 0.85)
    tones = hsv_to_rgb(np.array([[hue - 0.012, saturation * 1.1, value * 0.72], [hue, saturation, value]]))
    body = gradient(np.clip(grain, 0, 1), tones.astype(np.float32)) * (0.86 + 0.28 * own[..., 2:])
    return over(body, tones[0] * 0.35, _joint(u, v, columns, rows, 0.004))


def tiles(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Ceramic or stone tiles in a grid, of one colour or two by turns."""
    size, rows = x.shape[0], 2 * int(rng.integers(1, 5))
    columns = rows if rng.random() < 0.7 else rows // 2
    u, v, tile = _staggered(x, y, columns, rows, float(rng.choice([0.0, 0.0, 0.5])))
    tone = _tone(rng, (0.02, 0.3), (0.45, 0.95))
    own = rng.normal(0, rng.uniform(0.01, 0.07), (rows * columns, 1)).astype(np.float32)[tile]
    body = _shaded(tone, noise(rng, size, rng.uniform(1.2, 2.0)), rng.uniform(0.02, 0.09)) * (1 + own)
    if rng.random() < 0.35:
        dark = ((tile // columns + tile % columns) % 2 == 1).astype(np.float32)
        body = body * (1 - dark * rng.uniform(0.3, 0.75))[..., None]
    grout = np.full(3, rng.uniform(0.3, 0.85), np.float32)
    return over(body, grout, _joint(u, v, columns, rows, rng.uniform(0.006, 0.014)))


def carpet(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Short pile, plain or with faint stripes."""
    size, tone = x.shape[0], _tone(rng, (0.08, 0.5), (0.2, 0.7))
    pile = 0.75 * noise(rng, size, 0.25) + 0.35 * noise(rng, size, 1.6)
    body = _shaded(tone, pile, rng.uniform(0.06, 0.13))
    if rng.random() < 0.4:
        number = int(rng.integers(3, 12))
        stripe = bands(number * x, np.array([0.0, 0.5, 1.0]), np.array([[1.0] * 3, [0.82] * 3]), softness(x, number))
        body = body * stripe
    return body


def slabs(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Irregular slabs of natural stone."""
    size, count = x.shape[0], int(rng.integers(10, 36))
    owner, border = cells(rng, x, y, count)
    tone = _tone(rng, (0.03, 0.25), (0.35, 0.75))
    own = rng.normal(0, 0.1, (count, 1)).astype(np.float32)[owner]
    body = _shaded(tone, noise(rng, size, 0.9), 0.09) * (1 + own)
    return over(body, tone * rng.uniform(0.35, 0.7), np.clip((0.09 - border) * 14 + 0.5, 0, 1))


def soil(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Sand, earth or gravel."""
    size, value = x.shape[0], rng.uniform(0.3, 0.8)
    tone = hsv_to_rgb(np.array([rng.uniform(0.06, 0.12), rng.uniform(0.12, 0.45), value]))
    fine, broad = noise(rng, size, rng.uniform(0.3, 0.9)), noise(rng, size, 1.8)
    pebbles = np.clip((noise(rng, size, 0.7) - rng.uniform(1.2, 2.2)) * 3, 0, 1)
    body = _shaded(tone, fine, rng.uniform(0.06, 0.16)) * (1 + 0.08 * broad[..., None])
    return over(body, tone * rng.uniform(0.6, 1.3), pebbles)


# -- walls ----------------------------------------------------------------------------------------------------------


def plaster(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Painted or bare plaster, smooth or rough."""
    size, rough = x.shape[0], rng.uniform(0.01, 0.06)
    tone = _tone(rng, (0.02, 0.35), (0.6, 0.97))
    return _shaded(_shaded(tone, noise(rng, size, 2.0), rng.uniform(0.01, 0.05)), noise(rng, size, 0.9), rough)


def brickwork(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Bricks in a bond: red, brown, yellow or painted."""
    size, columns = x.shape[0], int(rng.integers(4, 9))
    rows = 2 * round(columns * 1.5)
    u, v, brick = _staggered(x, y, columns, rows, 0.5)
    painted = rng.random() < 0.25
    hue, saturation = rng.uniform(0.01, 0.1), 0.06 if painted else rng.uniform(0.3, 0.62)
    tone = hsv_to_rgb(np.array([hue, saturation, rng.uniform(0.75, 0.95) if painted else rng.uniform(0.4, 0.72)]))
    own = rng.normal(0, 0.03 if painted else 0.13, (rows * columns, 1)).astype(np.float32)[brick]
    body = _shaded(tone, noise(rng, size, 0.7), 0.09) * (1 + own)
    mortar = tone * 0.85 if painted else np.full(3, rng.uniform(0.45, 0.8))
    edge = 0.012 + 0.003 * noise(rng, size, 1.2)
    return over(body, mortar.astype(np.float32), _joint(u, v, columns, rows, edge))


def concrete(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Grey concrete with stains and the marks of its formwork."""
    size, grey = x.shape[0], rng.uniform(0.35, 0.75)
    tone = np.array([grey * 1.02, grey, grey * rng.uniform(0.94, 1.0)], np.float32)
    stains = noise(rng, size, 1.9, rng.choice([1.0, 0.3]))
    body = _shaded(_shaded(tone, stains, rng.uniform(0.04, 0.12)), noise(rng, size, 0.5), 0.035)
    panels = int(rng.integers(1, 4))
    u, v, _ = _staggered(x, y, panels, panels, 0.0)
    body = over(body, tone * 0.6, _joint(u, v, panels, panels, 0.004) * 0.8)
    holes = np.hypot(np.abs(u - 0.5) - 0.3, np.abs(v - 0.5) - 0.3) / panels
    return over(body, tone * 0.4, np.clip((0.007 - holes) * size / 1.5 + 0.5, 0, 1))


def wallpaper(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Paper with stripes or a mirrored motif, hardly lighter or darker than its ground."""
    size, tone, number = x.shape[0], _tone(rng, (0.05, 0.4), (0.5, 0.95)), int(rng.integers(3, 11))
    contrast = rng.choice([-1, 1]) * rng.uniform(0.05, 0.2)
    if rng.random() < 0.5:
        edges = np.array([0.0, rng.uniform(0.3, 0.7), 1.0])
        motif = bands(number * x, edges, np.array([[0.0] * 3, [1.0] * 3]), softness(x, number))[..., 0]
    else:
        steps = (np.arange(size) * number) % size
        field = noise(rng, size, 2.0)
        field = (field + field[:, ::-1])[np.ix_(steps, steps)]
        motif = np.clip(field * 2 + 0.5, 0, 1)
    return _shaded(tone * min(1.0, 1.0 - contrast), motif, contrast)


def panelling(rng: np.random.Generator, x: Field, y: Field) -> Pixels:
    """Upright boards, painted or bare."""
    size, boards = x.shape[0], int(rng.integers(4, 13))
    painted = rng.random() < 0.5
    hue = rng.uniform(0.055, 0.1)
    wood = hsv_to_rgb(np.array([hue, rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.75)]))
    tone = _tone(rng, (0.03, 0.3), (0.5, 0.95)) if painted else wood
    board = np.floor(boards * x).astype(int) % boards
    own = rng.normal(0, 0.015 if painted else 0.08, boards).astype(np.float32)[board][..., None]
    body = _shaded(tone, noise(rng, size, 1.0, 20.0), 0.02 if painted else 0.12) * (1 + own)
    groove = np.minimum((boards * x) % 1, 1 - (boards * x) % 1) / boards * size
    return body * (0.45 + 0.55 * np.clip(groove / 2.5, 0, 1))[..., None]


FLOORS: dict[str, Family] = {family.__name__: family for family in (parquet, tiles, carpet, slabs, soil)}
WALLS: dict[str, Family] = {family.__name__: family for family in (plaster, brickwork, concrete, wallpaper, panelling)}
