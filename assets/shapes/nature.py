"""Procedural animals and plants. Each family is a function of a generator; parts wear materials by slot."""

import numpy as np

from assets.shapes.surfaces import (
    FORWARD,
    LYING,
    Surface,
    ball,
    blend,
    curve,
    ellipsoid,
    extrude,
    joined,
    lathe,
    rotation,
    tube,
    vec,
)


def quadruped(rng: np.random.Generator) -> Surface:
    """A four-legged animal: dog, cow, giraffe, lizard by proportion."""
    length, leg, girth = rng.uniform(0.8, 1.5), rng.uniform(0.25, 0.9), rng.uniform(0.18, 0.34)
    neck, pitch, skull = rng.uniform(0.15, 0.8), rng.uniform(0.2, 1.3), rng.uniform(0.13, 0.22)
    hip = leg + girth * 0.6
    shoulder = np.array([length / 2, 0, hip + rng.uniform(-0.05, 0.1)])
    rump = np.array([-length / 2, 0, hip])
    head = shoulder + neck * np.array([np.cos(pitch), 0, np.sin(pitch)]) + vec(0.1, 0, 0.1)
    nose = head + vec(rng.uniform(0.15, 0.35), 0, -rng.uniform(0.02, 0.15))
    thin = rng.uniform(0.06, 0.11)
    limbs = [
        [*rump, *shoulder, girth * rng.uniform(0.85, 1.1), girth],
        [*shoulder, *head, girth * 0.6, skull * 0.8],
        [*head, *nose, skull, skull * rng.uniform(0.45, 0.7)],
    ]
    for end in (shoulder - vec(0.08, 0, 0), rump + vec(0.08, 0, 0)):
        for side in (-1, 1):
            top = end + vec(0, side * girth * 0.6, -0.1 * girth)
            foot = np.array([end[0] + rng.uniform(-0.15, 0.15), side * girth * 0.75, 0.0])
            limbs += [[*top, *foot, thin * 1.5, thin], [*foot, *(foot + vec(0.08, 0, 0)), thin, thin * 0.9]]
    ear = rng.uniform(0.08, 0.3)
    for side in (-1, 1):
        root = head + vec(-0.03, side * skull * 0.7, skull * 0.7)
        limbs.append([*root, *(root + vec(-0.05, side * 0.5 * ear, ear)), 0.06, 0.025])
    tail = rump + vec(-girth * 0.8, 0, 0.05)
    tip = tail + vec(-rng.uniform(0.1, 0.5), rng.uniform(-0.2, 0.2), rng.uniform(-0.4, 0.5))
    limbs.append([*tail, *tip, 0.07, 0.035])
    body = blend(limbs, softness=0.035, detail=64)
    out = np.array([0.55, 0.62, 0.45]) * skull * 1.12
    eyes = [ball(2).moved(head + out * [1, side, 1], 0.22 * skull, slot=1) for side in (-1, 1)]
    return joined([body, *eyes])


def bird(rng: np.random.Generator) -> Surface:
    """A bird with raised or spread wings: duck, parrot, penguin by proportion."""
    girth, pitch, neck = rng.uniform(0.22, 0.36), rng.uniform(0.1, 1.2), rng.uniform(0.15, 0.6)
    chest = np.array([np.cos(pitch), 0, np.sin(pitch)]) * 0.35
    head = chest + vec(0.12, 0, neck + girth * 0.5)
    skull = rng.uniform(0.14, 0.2)
    tail = -chest * rng.uniform(1.4, 2.2)
    limbs = [[*-chest, *chest, girth * 0.8, girth], [*chest, *head, girth * 0.55, skull * 0.8]]
    limbs += [[*head, *(head + vec(0.03, 0, 0)), skull, skull], [*-chest, *tail, girth * 0.5, 0.05]]
    body = blend(limbs, softness=0.05, detail=48)
    lift, span = rng.uniform(-0.9, 0.9), rng.uniform(0.5, 1.1)
    parts = [body]
    for side in (-1, 1):
        turn = rotation((1, 0, 0), side * lift)
        feather = ellipsoid((0.26, span / 2, 0.045)).moved((-0.05, side * span / 2, 0))
        parts.append(feather.moved((0, side * girth * 0.6, 0.1), turn=turn, slot=1))
        parts.append(ball(2).moved(head + vec(0.5 * skull, side * 0.72 * skull, 0.45 * skull), 0.22 * skull, slot=2))
        leg = np.array([[0, side * girth * 0.4, -girth * 0.7], [0.02, side * girth * 0.4, -girth - 0.3]])
        parts.append(tube(np.linspace(leg[0], leg[1], 4), 0.03, columns=10).moved(slot=3))
        parts.append(ellipsoid((0.12, 0.07, 0.025)).moved(leg[1] + vec(0.06, 0, 0), slot=3))
    beak = lathe([[0, 0], [0.45 * skull, 0], [0.3 * skull, 0.12], [0.03, 0.3], [0, 0.3]], columns=20)
    return joined([*parts, beak.moved(head + vec(0.7 * skull, 0, -0.02), turn=FORWARD, scale=(0.6, 1, 1), slot=3)])


def fish(rng: np.random.Generator) -> Surface:
    """A fish: a flattened body, fins and a forked tail."""
    depth, width = rng.uniform(0.2, 0.5), rng.uniform(0.08, 0.2)
    profile = curve([[0.0, 0], [0.55, 0.15], [1.0, rng.uniform(0.35, 0.55)], [0.5, 0.9], [0.17, 1.3]], 48)
    profile = np.maximum(profile, [0.0, 0])
    profile[0, 0] = 0
    body = lathe(np.concatenate([profile, [[0, profile[-1, 1] + 0.02]]]))
    turn = rotation((0, 1, 0), -np.pi / 2)
    body = body.moved(scale=(depth, width, 1)).moved(turn=turn)

    def fin(points: list[list[float]], thick: float = 0.03) -> Surface:
        flat = np.array(points, np.float64)
        middle = flat.mean(axis=0)
        x, y = (flat - middle).T
        if x @ np.roll(y, -1) < y @ np.roll(x, -1):  # clockwise
            flat = flat[::-1]
        plate = extrude(flat - middle, thick, bevel=thick / 3).moved((0, 0, -thick / 2))
        return plate.moved((middle[0], 0, middle[1]), turn=LYING, slot=1)

    spread, back = rng.uniform(0.2, 0.45), rng.uniform(0.15, 0.45)
    tail = [[-1.2, 0.0], [-1.65, spread], [-1.6, 0.0], [-1.65, -spread]]
    crest = [[-0.9, depth * 0.3], [-0.95, depth * 0.5 + back * 0.6], [-0.45, depth * 0.9 + back], [-0.25, depth * 0.8]]
    keel = [[-0.4, -depth * 0.7], [-0.8, -depth * 0.5], [-0.85, -depth * 0.7 - back * 0.5]]
    fins = [fin(points) for points in (tail, crest, keel)]
    eyes = [ball(2).moved((-0.2, side * width * 0.62, 0.12 * depth), 0.05, slot=2) for side in (-1, 1)]
    paddles = [ellipsoid((0.16, 0.02, 0.08)).moved((-0.55, side * width * 1.1, -0.05), slot=1) for side in (-1, 1)]
    return joined([body, *fins, *eyes, *paddles])


def mushroom(rng: np.random.Generator) -> Surface:
    """One to four mushrooms on a clump of earth."""
    parts = []
    for number in range(int(rng.integers(1, 5))):
        height, cap = rng.uniform(0.5, 1.1), rng.uniform(0.3, 0.6)
        dome = curve(
            [[0.12, 0.0], [cap, -0.06], [cap * 0.92, 0.14], [cap * 0.5, rng.uniform(0.25, 0.55)], [0.02, 0.5]], 40
        )
        lean = rng.uniform(-0.15, 0.15, 2)
        stem = curve([[0, 0, 0], [*lean, height / 2], [*lean, height]], 16)
        at = np.array([0.0, 0.0, 0.0]) if number == 0 else np.array([*rng.normal(0, 0.45, 2), 0])
        parts.append(tube(stem, np.linspace(0.17, 0.1, 16) * rng.uniform(0.8, 1.2)).moved(at))
        hat = lathe(np.concatenate([[[0, 0.02]], dome, [[0, dome[-1, 1]]]]))
        parts.append(hat.moved(at + vec(lean[0], lean[1], height - 0.02), slot=1))
    earth = ellipsoid((0.75, 0.75, 0.16))
    earth = earth.shaped(np.maximum(earth.vertices, [-9, -9, -0.05]))
    return joined([*parts, earth.moved(slot=2)])


def _leaf(rng: np.random.Generator, length: float, width: float, droop: float) -> Surface:
    blade = ellipsoid((width / 2, length / 2, 0.012), 24).moved((0, length / 2, 0))

    x, y, z = blade.vertices.T
    along = np.clip(y / length, 0, 1)
    x = x * (1.25 - 0.7 * along)
    return blade.shaped(np.stack([x, y, z - droop * along**2 * length + 0.25 * np.abs(x)], axis=1))


def plant(rng: np.random.Generator) -> Surface:
    """A potted plant: broad leaves in a rosette, or a cactus."""
    pot_height, rim = rng.uniform(0.3, 0.55), rng.uniform(0.25, 0.4)
    base = rim * rng.uniform(0.6, 0.9)
    shape = [[0, 0], [base, 0], [rim, pot_height * 0.85], [rim * 1.1, pot_height * 0.85], [rim * 1.1, pot_height]]
    pot = lathe(np.array([*shape, [rim * 0.95, pot_height], [rim * 0.9, pot_height * 0.92], [0, pot_height * 0.92]]))
    if rng.random() < 0.3:
        tall, thick = rng.uniform(0.5, 1.0), rim * rng.uniform(0.4, 0.6)
        limbs = [[0, 0, pot_height, 0, 0, pot_height + tall, thick, thick * 0.85]]
        for side in rng.choice([-1, 1], int(rng.integers(0, 3)), replace=False):
            fork, out = pot_height + tall * rng.uniform(0.3, 0.7), side * (thick + rng.uniform(0.15, 0.25))
            limbs += [[0, 0, fork, out, 0, fork + 0.05, thick * 0.5, thick * 0.5]]
            limbs += [[out, 0, fork + 0.05, out, 0, fork + rng.uniform(0.2, 0.45), thick * 0.5, thick * 0.45]]
        return joined([pot, blend(limbs, softness=0.03, detail=48).moved(slot=1)])
    leaves, golden = [], np.pi * (3 - 5**0.5)
    count, length = int(rng.integers(7, 20)), rng.uniform(0.5, 1.0)
    for number in range(count):
        rise = rng.uniform(0.3, 1.3)
        turn = rotation((0, 0, 1), number * golden) @ rotation((1, 0, 0), rise)
        leaf = _leaf(rng, length * rng.uniform(0.7, 1.1), length * rng.uniform(0.15, 0.4), rng.uniform(0.1, 0.6))
        leaves.append(leaf.moved((0, 0, pot_height * 0.9), turn=turn, slot=1))
    return joined([pot, *leaves])


def tree(rng: np.random.Generator) -> Surface:
    """A tree: a bent trunk under a leafy crown, or a conifer."""
    height = rng.uniform(0.5, 1.0)
    lean = rng.uniform(-0.15, 0.15, 2)
    trunk = tube(curve([[0, 0, 0], [*lean, height / 2], [0, 0, height]], 16), np.linspace(0.13, 0.07, 16), columns=14)
    if rng.random() < 0.4:
        tiers, parts = int(rng.integers(3, 6)), [trunk]
        for tier in range(tiers):
            radius, start = 0.6 * (1 - tier / (tiers + 0.5)), height * 0.5 + tier * 0.3
            cone = [[0, 0.05], [radius * 0.97, 0.0], [radius, 0.03], [radius * 0.45, 0.3], [0.02, 0.55], [0, 0.55]]
            twigs = lathe(cone, 60)
            around = np.arctan2(twigs.vertices[:, 1], twigs.vertices[:, 0])
            ruffle = 1 + rng.uniform(0.02, 0.07) * np.cos(12 * around)
            ruffled = twigs.vertices * np.stack([ruffle, ruffle, np.ones_like(ruffle)], axis=1)
            parts.append(twigs.shaped(ruffled).moved((0, 0, start), slot=1))
        return joined(parts)
    crown = []
    for _ in range(int(rng.integers(4, 10))):
        tuft = ball(4)
        radius = 1 + 0.12 * np.sin(9 * tuft.vertices).prod(axis=1) + 0.05 * np.sin(21 * tuft.vertices).sum(axis=1)
        tuft = tuft.shaped(tuft.vertices * radius[:, None])
        crown.append(
            tuft.moved([*rng.normal(0, 0.28, 2), height + rng.uniform(0, 0.5)], rng.uniform(0.25, 0.45), slot=1)
        )
    return joined([trunk, *crown])


def fruit(rng: np.random.Generator) -> Surface:
    """An apple, pear, pumpkin or the like, with stalk and leaf."""
    tall, waist = rng.uniform(0.7, 1.4), rng.uniform(0.35, 0.6)
    body = curve([[0.03, 0.08], [0.28, 0.0], [waist, 0.35 * tall], [waist * rng.uniform(0.45, 1.05), 0.75 * tall],
                  [0.2, tall], [0.02, tall - rng.uniform(0.03, 0.15)]], 64)  # fmt: skip
    ribs, depth = int(rng.integers(5, 12)), rng.choice([0.0, 0.0, 0.08])
    flesh = lathe(np.concatenate([[[0, 0.08]], np.maximum(body, [0.01, -1]), [[0, body[-1, 1]]]]), columns=72)

    around = np.arctan2(flesh.vertices[:, 1], flesh.vertices[:, 0])
    furrow = 1 - depth * (1 - np.abs(np.cos(ribs * around)))
    flesh = flesh.shaped(flesh.vertices * np.stack([furrow, furrow, np.ones_like(furrow)], axis=1))
    stalk = curve([[0, 0, body[-1, 1] - 0.03], [0.02, 0, tall + 0.08], [rng.uniform(-0.1, 0.1), 0.05, tall + 0.22]], 12)
    parts = [flesh, tube(stalk, np.linspace(0.025, 0.04, 12), columns=10).moved(slot=1)]
    if rng.random() < 0.6:
        leaf = _leaf(rng, 0.4, 0.2, 0.3).moved((0.02, 0, tall + 0.05), turn=rotation((0, 0, 1), rng.uniform(0, 6.28)))
        parts.append(leaf.moved(slot=2))
    return joined(parts)
