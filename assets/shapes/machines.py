"""Procedural vehicles and robots. Each family is a function of a generator; parts wear materials by slot."""

import numpy as np

from assets.shapes.surfaces import (
    FORWARD,
    LYING,
    Surface,
    ball,
    box,
    curve,
    ellipsoid,
    extrude,
    joined,
    lathe,
    rotation,
    tube,
    vec,
)


def _wheel(radius: float, width: float) -> list[Surface]:
    r, w = radius, width / 2
    tyre = lathe(
        [
            [0, -w],
            [0.8 * r, -w],
            [0.96 * r, -0.8 * w],
            [r, -0.5 * w],
            [r, 0.5 * w],
            [0.96 * r, 0.8 * w],
            [0.8 * r, w],
            [0, w],
        ]
    )
    hub = lathe([[0, -1.12 * w], [0.5 * r, -1.08 * w], [0.55 * r, 0], [0.5 * r, 1.08 * w], [0, 1.12 * w]])
    return [tyre.moved(turn=LYING, slot=2), hub.moved(turn=LYING, slot=3)]


def vehicle(rng: np.random.Generator) -> Surface:
    """A car, van, bus or truck."""
    length, width, wheel = rng.uniform(1.5, 2.8), rng.uniform(0.7, 0.95), rng.uniform(0.17, 0.28)
    low, sill = wheel * 0.7, rng.uniform(0.3, 0.5)
    parts = [box((length, width, sill), bevel=rng.uniform(0.04, 0.12)).moved((0, 0, low + sill / 2))]
    roof, base = rng.uniform(0.25, 0.6), low + sill
    cabin = length * rng.uniform(0.3, 0.8)
    shift = (length - cabin) / 2 * rng.uniform(-0.8, 0.9)
    corner = np.array([[1, -1], [1, 1], [-1, 1], [-1, -1]]) * [cabin / 2, width * 0.47]
    taper = rng.uniform(0.65, 0.95)
    parts.append(extrude(corner, roof, bevel=0.04, taper=taper).moved((shift, 0, base - 0.03), slot=1))
    parts.append(
        box((cabin * taper * 0.9, width * taper * 0.9, 0.05), bevel=0.02).moved((shift, 0, base + roof - 0.03))
    )
    if cabin < 0.45 * length and rng.random() < 0.6:  # a load behind the cabin
        room = length / 2 + shift - cabin / 2 - 0.05
        if room > 0.4:
            load = rng.uniform(0.3, 0.9)
            parts.append(
                box((room, width * 0.96, load), bevel=0.02).moved(
                    (room / 2 - length / 2 + 0.02, 0, base + load / 2), slot=4
                )
            )
    for x in (-0.32 * length, 0.32 * length):
        for side in (-1, 1):
            parts += [part.moved((x, side * width * 0.48, wheel)) for part in _wheel(wheel, 0.16)]
    for side in (-1, 1):
        parts.append(
            ellipsoid((0.04, 0.08, 0.06), 20).moved((length / 2, side * width * 0.33, low + sill * 0.6), slot=3)
        )
    return joined(parts)


def aircraft(rng: np.random.Generator) -> Surface:
    """An aeroplane: fuselage, wings, tail, engines or a propeller."""
    girth, sweep, span = rng.uniform(0.13, 0.22), rng.uniform(-0.1, 0.5), rng.uniform(0.7, 1.2)
    body = curve([[0.03, 0], [0.75 * girth, 0.15], [girth, 0.5], [girth, 1.2], [0.5 * girth, 1.7], [0.04, 2.0]], 48)
    hull = lathe(np.concatenate([[[0, 0]], body, [[0, 2.0]]])).moved((1.0, 0, 0), turn=-FORWARD @ np.diag([1, -1, 1]))

    def wing(length: float, chord: float, back: float) -> Surface:
        section = np.array([[np.cos(a) * chord / 2, np.sin(a) * chord * 0.07] for a in np.arange(24) / 24 * 2 * np.pi])
        plate = extrude(section, length, taper=0.45, rows=4, smooth=True)
        return plate.shaped(plate.vertices - np.outer(plate.vertices[:, 2] * back / length, [1, 0, 0]))

    level, parts = rng.choice([-0.05, 0.1]), [hull]
    for side in (-1, 1):
        turn = rotation((1, 0, 0), -side * (np.pi / 2 - rng.uniform(0.0, 0.15)))
        parts.append(wing(span, 0.45, sweep).moved((0.1, 0, level), turn=turn, slot=1))
        parts.append(wing(0.4, 0.25, sweep * 0.5).moved((-0.85, 0, 0.05), turn=turn, slot=1))
        if rng.random() < 0.6:
            engine = ellipsoid((0.07, 0.07, 0.2), 20).moved((0.15, side * span * 0.4, level - 0.1), turn=FORWARD)
            parts.append(engine.moved(slot=2))
    parts.append(wing(0.4, 0.3, 0.15).moved((-0.8, 0, 0.03), slot=1))
    window = ellipsoid((0.18, girth * 0.75, girth * 0.55), 24).moved((0.6, 0, girth * 0.65), slot=2)
    return joined([*parts, window])


def robot(rng: np.random.Generator) -> Surface:
    """A toy robot or doll of boxes, balls and jointed limbs."""
    width, height, depth = rng.uniform(0.35, 0.6), rng.uniform(0.4, 0.7), rng.uniform(0.22, 0.4)
    leg, skull = rng.uniform(0.3, 0.6), rng.uniform(0.22, 0.38)
    chest = leg + height / 2
    parts = [box((width, depth, height), bevel=rng.uniform(0.02, 0.09)).moved((0, 0, chest))]
    top = leg + height + skull * 0.5
    head = box((skull, skull * 0.9, skull * 0.85), bevel=0.04) if rng.random() < 0.5 else ellipsoid([skull / 2] * 3)
    parts += [head.moved((0, 0, top + 0.02), slot=1), tube(np.linspace((0, 0, top - skull), (0, 0, top), 3), 0.05)]
    for side in (-1, 1):
        shoulder = np.array([side * width / 2, 0, leg + height * 0.85])
        swing, bend = rng.uniform(-1.2, 1.2, 2)
        elbow = shoulder + vec(side * rng.uniform(0.1, 0.25), 0.25 * np.sin(swing), -0.25 * np.cos(swing))
        hand = elbow + vec(0, 0.25 * np.sin(swing + bend), -0.25 * np.cos(swing + bend))
        hip, foot = np.array([side * width * 0.28, 0, leg]), np.array([side * width * 0.32, 0, 0.05])
        parts += [tube(curve(np.stack([shoulder, elbow, hand]), 16), 0.05, columns=12).moved(slot=2)]
        parts += [tube(np.linspace(foot, hip, 6), 0.07, columns=12).moved(slot=2)]
        parts += [ball(3).moved(hand, 0.085, slot=1), ball(3).moved(shoulder, 0.08, slot=2)]
        parts += [box((0.16, 0.28, 0.1), bevel=0.02).moved(foot - vec(0, 0.05, 0), slot=1)]
        parts += [ball(2).moved((side * skull * 0.22, -skull * 0.45, top + 0.06), 0.12 * skull, slot=3)]
    return joined(parts)
