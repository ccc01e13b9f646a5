"""Abstract procedural shapes: each a function of a generator, so that a seed is a shape.

The shapes that look like things are in `household`, `nature` and `machines`.
"""

import numpy as np
from numpy.typing import NDArray

from assets.shapes.surfaces import (
    Surface,
    Vertices,
    ball,
    blend,
    curve,
    extrude,
    faceted,
    grid,
    joined,
    lathe,
    rotation,
    tube,
)


def ripples(rng: np.random.Generator, points: Vertices, frequency: float, octaves: int = 3) -> NDArray[np.float64]:
    """[V] smooth noise of about unit size at ``points`` [V,3]: plane waves, each octave finer and lower."""
    total = np.zeros(len(points))
    for octave in range(octaves):
        waves = rng.standard_normal((6, 3))
        waves *= frequency * 2**octave / np.linalg.norm(waves, axis=1, keepdims=True)
        total += np.sin(points @ waves.T + rng.uniform(0, 2 * np.pi, 6)).sum(axis=1) * 0.5**octave / 6**0.5
    return total


def superquadric(rng: np.random.Generator) -> Surface:
    """Between a box, a ball, a cylinder and an octahedron, of any proportions."""
    upright, level = rng.uniform(0.15, 1.7), rng.uniform(0.15, 2.3)
    polar = np.linspace(-np.pi / 2, np.pi / 2, 49)[:, None]
    around = np.arange(64) / 64 * 2 * np.pi
    spread = _power(np.cos(polar), upright)
    spread[[0, -1]] = 0
    x, y = spread * _power(np.cos(around), level), spread * _power(np.sin(around), level)
    points = np.stack([x, y, np.broadcast_to(_power(np.sin(polar), upright), x.shape)], axis=-1)
    body = grid(points).moved(scale=rng.uniform(0.45, 1.0, 3))
    return faceted(body.vertices, body.faces, smooth=True)  # an image sits straight on the sides of a box


def _power(value: NDArray, exponent: float) -> NDArray:
    return np.sign(value) * np.abs(value) ** exponent


def ring(rng: np.random.Generator) -> Surface:
    """A torus: round, square or pinched in section, with lobes or twisted ridges."""
    columns, rows = 40, 120
    along, around = np.arange(rows)[:, None] / rows * 2 * np.pi, np.arange(columns) / columns * 2 * np.pi
    thickness, section = rng.uniform(0.18, 0.5), rng.uniform(0.25, 1.8)
    lobes, wave = int(rng.integers(2, 9)), rng.choice([0.0, 1.0]) * rng.uniform(0.05, 0.2)
    ridges, twist = int(rng.integers(3, 8)), int(rng.integers(0, 5))
    ridge = 1 + rng.choice([0.0, 1.0]) * rng.uniform(0.05, 0.25) * np.cos(ridges * around + twist * along)
    radius = 1 + wave * np.cos(lobes * along) + thickness * ridge * _power(np.cos(around), section)
    height = -thickness * ridge * _power(np.sin(around), section) + rng.choice([0, 0.15]) * np.sin(2 * along)
    return grid(np.stack([radius * np.cos(along), radius * np.sin(along), height], axis=-1), wrap_rows=True)


def random_outline(rng: np.random.Generator) -> NDArray[np.float64]:
    """[C,2] a random star-shaped outline of radius about 1: polygon, star, gear, flower, cross or pebble."""
    kind, n = rng.choice(["polygon", "star", "gear", "flower", "cross", "pebble"]), int(rng.integers(3, 10))
    if kind == "polygon":
        return _polar(np.ones(n))
    if kind == "star":
        return _polar(np.tile([1.0, rng.uniform(0.35, 0.75)], max(n, 4)))
    if kind == "gear":
        return _polar(np.tile([1.0, 1.0, 0.8, 0.8], n + 3))
    if kind == "cross":
        arm = rng.uniform(0.2, 0.45)
        quarter = np.array([[1, -arm], [1, arm], [arm, arm]])
        return np.concatenate([quarter @ rotation((0, 0, 1), turn * np.pi / 2)[:2, :2].T for turn in range(4)])
    angle = np.arange(96) / 96 * 2 * np.pi
    if kind == "flower":
        return _polar(1 + rng.uniform(0.1, 0.35) * np.cos(n * angle))
    waves = sum(rng.normal(0, 0.25 / k) * np.cos(k * angle + rng.uniform(0, 6.28)) for k in range(2, 6))
    return _polar(np.clip(1 + waves, 0.4, 1.6))


def _polar(radius: NDArray) -> NDArray[np.float64]:
    angle = np.arange(len(radius)) / len(radius) * 2 * np.pi
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def prism(rng: np.random.Generator) -> Surface:
    """An outline drawn up, perhaps twisted, tapered or bevelled."""
    shape, height = random_outline(rng), float(np.exp(rng.uniform(np.log(0.3), np.log(2.5))))
    twist = rng.choice([0.0, 0.0, 1.0]) * rng.uniform(-2.5, 2.5)
    taper = rng.choice([1.0, 1.0, rng.uniform(0.15, 0.8)])
    bevel = rng.choice([0.0, 1.0]) * rng.uniform(0.03, 0.1)
    return extrude(shape, height, bevel=bevel, twist=twist, taper=taper, rows=32 if twist else 1)


def gear(rng: np.random.Generator) -> Surface:
    """An outline with a hole through it: gear wheels, nuts, frames, cookie cutters."""
    outer = random_outline(rng)
    outer = np.concatenate(
        [outer + (np.roll(outer, -1, axis=0) - outer) * t for t in np.arange(6)[:, None, None] / 6], 1
    )
    outer = outer.reshape(-1, 2)
    inner = rng.uniform(0.25, 0.8) * np.linalg.norm(outer, axis=1).min()
    angle = np.arctan2(outer[:, 1], outer[:, 0])
    hole = inner * np.stack([np.cos(angle), np.sin(angle)], axis=1) if rng.random() < 0.6 else outer * inner
    height = rng.uniform(0.2, 1.2)
    rings = [(outer, 0), (outer, height), (hole, height), (hole, 0)]
    points = np.stack([np.column_stack([flat, np.full(len(flat), level)]) for flat, level in rings])
    return grid(points, wrap_rows=True, smooth=False)


def knot(rng: np.random.Generator) -> Surface:
    """A torus knot or a closed loop through random points, as a tube."""
    if rng.random() < 0.6:
        p, q = [(2, 3), (3, 2), (2, 5), (3, 4), (3, 5), (1, 4), (5, 2)][rng.integers(7)]
        t = np.arange(280) / 280 * 2 * np.pi
        swing = 1 + rng.uniform(0.3, 0.55) * np.cos(q * t)
        path = np.stack([swing * np.cos(p * t), swing * np.sin(p * t), rng.uniform(0.3, 0.7) * np.sin(q * t)], axis=1)
        thickness = rng.uniform(0.08, 0.17)
    else:
        count = int(rng.integers(5, 9))
        angle = np.arange(count) / count * 2 * np.pi
        level = np.stack([np.cos(angle), np.sin(angle), np.zeros(count)], axis=1) * rng.uniform(0.5, 1.2, (count, 1))
        path = curve(level + rng.normal(0, 0.25, (count, 3)), 240, closed=True)
        thickness = rng.uniform(0.08, 0.2)
    beads = 1 + rng.choice([0.0, 0.3]) * np.sin(np.arange(len(path)) / len(path) * 2 * np.pi * rng.integers(8, 24))
    return tube(path, thickness * beads, columns=18, closed=True, ratio=rng.choice([1.0, 1.0, 0.45]))


def coil(rng: np.random.Generator) -> Surface:
    """A spring: straight, conical or barrelled."""
    turns, count = rng.uniform(2.5, 7), 260
    t = np.linspace(0, 1, count)
    width = 1 - rng.uniform(-0.5, 0.8) * t + rng.uniform(-0.5, 0.5) * np.sin(np.pi * t)
    angle = 2 * np.pi * turns * t
    height = rng.uniform(0.8, 3.0)
    path = np.stack([width * np.cos(angle), width * np.sin(angle), height * t], axis=1)
    thickness = min(rng.uniform(0.07, 0.2), 0.42 * height / turns)
    return tube(path, thickness * _round_ends(t, 0.012), columns=14, ratio=rng.choice([1.0, 1.0, 0.6]))


def shell(rng: np.random.Generator) -> Surface:
    """A horn or snail shell: a tube that grows as it winds."""
    t = np.linspace(0, 1, 220)
    turns, growth = rng.uniform(0.4, 3.2), rng.uniform(2.0, 4.0)
    size = np.exp(growth * (t - 1))
    angle = 2 * np.pi * turns * t
    path = np.stack([size * np.cos(angle), size * np.sin(angle), -rng.uniform(0.3, 1.6) * size], axis=1)
    ribs = 1 + rng.choice([0.0, 0.06]) * np.sin(angle * rng.integers(6, 14))
    return tube(path, rng.uniform(0.3, 0.5) * size * ribs * _round_ends(t, 0.02), columns=28)


def _round_ends(t: NDArray, length: float) -> NDArray:
    """Factors for a tube's radius that round off both its ends over ``length`` (a share of the path ``t`` in 0..1)."""
    nearness = np.clip(1 - np.minimum(t, 1 - t) / length, 0, 1)
    return np.sqrt(np.maximum(1 - nearness**2, 0.02))


def rock(rng: np.random.Generator) -> Surface:
    """A stone: a ball cut by planes and roughened, faceted or worn smooth."""
    rough = rng.random() < 0.5
    stone = ball(3 if rough else 5)
    cuts = rng.standard_normal((int(rng.integers(5, 22)), 3))
    cuts /= np.linalg.norm(cuts, axis=1, keepdims=True)
    toward = np.maximum(stone.vertices @ cuts.T, 1e-3)
    radius = np.minimum(1.0, (rng.uniform(0.55, 0.95, len(cuts)) / toward).min(axis=1))
    radius *= 1 + rng.uniform(0.02, 0.07) * ripples(rng, stone.vertices, 3.0, 5)
    vertices = stone.vertices * radius[:, None] * rng.uniform(0.55, 1.0, 3)
    return faceted(vertices, stone.faces, smooth=not rough)


def blob(rng: np.random.Generator) -> Surface:
    """A ball with swellings, spikes, dimples or furrows."""
    body = ball(5)
    kind = rng.choice(["swollen", "spiky", "furrowed"])
    if kind == "swollen":
        radius = 1 + rng.uniform(0.15, 0.4) * np.tanh(ripples(rng, body.vertices, rng.uniform(1.5, 4.5), 2))
    elif kind == "spiky":
        count = int(rng.integers(8, 60))
        turn = np.arange(count) * np.pi * (3 - 5**0.5)  # Fibonacci lattice: evenly spread directions
        z = 1 - (2 * np.arange(count) + 1) / count
        tips = np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], axis=1)
        sharpness = count * rng.uniform(0.7, 2.0)
        height = rng.choice([-0.22, 0.3, 0.6]) * rng.uniform(0.6, 1.2)
        radius = 1 + height * np.exp(sharpness * (body.vertices @ tips.T - 1)).max(axis=1)
    else:
        around = np.arctan2(body.vertices[:, 1], body.vertices[:, 0])
        folds, slant = int(rng.integers(4, 13)), rng.uniform(-3, 3)
        wave = np.abs(np.cos(folds * around / 2 + slant * body.vertices[:, 2])) ** 0.7
        flatness = np.sqrt(np.maximum(1 - body.vertices[:, 2] ** 2, 0))
        radius = 1 - rng.uniform(0.1, 0.3) * (1 - wave) * flatness
    vertices = body.vertices * radius[:, None] * rng.uniform(0.6, 1.0, 3)
    return faceted(vertices, body.faces, smooth=True)


def cluster(rng: np.random.Generator) -> Surface:
    """A random tree of balls and rods: a molecule, or grown together into coral."""
    count = int(rng.integers(4, 12))
    places, sizes, rods = [np.zeros(3)], [rng.uniform(0.25, 0.5)], []
    for number in range(1, count):
        parent = int(rng.integers(max(0, number - 3), number))
        toward = rng.standard_normal(3)
        places.append(places[parent] + toward / np.linalg.norm(toward) * rng.uniform(0.6, 1.1))
        sizes.append(rng.uniform(0.18, 0.5))
        rods.append((parent, number))
    if rng.random() < 0.5:
        limbs = [[*places[a], *places[b], 0.8 * sizes[a], 0.8 * sizes[b]] for a, b in rods]
        return blend(limbs, softness=rng.uniform(0.05, 0.12), detail=48)
    balls = [ball(3).moved(place, size, slot=1) for place, size in zip(places, sizes, strict=True)]
    sticks = [tube(np.linspace(places[a], places[b], 4), rng.uniform(0.07, 0.12), columns=12) for a, b in rods]
    return joined(balls + sticks)


def totem(rng: np.random.Generator) -> Surface:
    """Two to five solids on top of each other: toy towers, chess pieces, ornaments."""
    parts, top = [], 0.0
    for number in range(int(rng.integers(2, 6))):
        maker = [superquadric, prism, rock, spindle][rng.integers(4)]
        part = maker(rng)
        low, high = part.vertices.min(axis=0), part.vertices.max(axis=0)
        factor = rng.uniform(0.6, 1.0) / (high - low)[:2].max()
        part = part.moved(-(low + high) / 2 * factor * [1, 1, 0], factor, slot=number % 3)
        low_z, high_z = low[2] * factor, high[2] * factor
        parts.append(part.moved((0, 0, top - low_z)))
        top += (high_z - low_z) * 0.97
    return joined(parts)


def spindle(rng: np.random.Generator) -> Surface:
    """A turned solid with a random outline: baluster, pawn, spinning top, bulb."""
    count = int(rng.integers(4, 8))
    heights = np.cumsum(rng.uniform(0.5, 1.5, count))
    controls = np.column_stack([rng.uniform(0.12, 0.75, count), heights / heights[-1] * rng.uniform(0.8, 2.2)])
    profile = curve(controls, 64)
    profile[:, 0] = np.maximum(profile[:, 0], 0.06)
    ends = (
        [[0, profile[0, 1]], [profile[0, 0] * 0.96, profile[0, 1]]],
        [[profile[-1, 0] * 0.96, profile[-1, 1]], [0, profile[-1, 1]]],
    )
    return lathe(np.concatenate([ends[0], profile, ends[1]]))
