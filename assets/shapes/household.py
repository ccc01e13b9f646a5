"""Procedural vessels and furniture. Each family is a function of a generator; parts wear materials by slot."""

import numpy as np

from assets.shapes.surfaces import Surface, box, curve, extrude, joined, lathe, rotation, tube


def vessel(rng: np.random.Generator) -> Surface:
    """A vase, bottle, bowl, mug or jug: hollow, with a rounded rim, perhaps a handle."""
    height, count, wall = rng.uniform(0.5, 2.4), int(rng.integers(3, 7)), 0.045
    controls = np.column_stack([rng.uniform(0.28, 0.85, count), np.linspace(0.0, height, count)])
    outer = curve(controls, 40)
    outer[:, 0] = np.maximum(outer[:, 0], 0.16)
    rim = outer[-1] + wall / 2 * np.array([[0.0, 0.35], [-1.0, 1.0], [-2.0, 0.35]])
    inner = outer[::-1] - (wall, 0)
    inner = inner[inner[:, 1] > 2 * wall]
    foot = [[0, 0], [0.9 * outer[0, 0], 0]]
    profile = np.concatenate(
        [foot, outer + np.array([0, 0.02]), rim, inner, [[0.5 * inner[-1, 0], 1.6 * wall], [0, 1.6 * wall]]]
    )
    parts = [lathe(profile, columns=56)]
    if rng.random() < 0.45:
        low, high = 0.25 * height, 0.8 * height
        at = [np.interp(level, outer[:, 1], outer[:, 0]) - wall / 2 for level in (low, high)]
        reach = max(at) + rng.uniform(0.25, 0.5)
        path = [[at[0], 0, low], [reach, 0, low + 0.15 * (high - low)], [reach, 0, high - 0.1], [at[1], 0, high]]
        parts.append(tube(curve(np.array(path), 32), rng.uniform(0.05, 0.09), columns=14, ratio=rng.uniform(0.6, 1.4)))
    return joined(parts)


def _leg(rng: np.random.Generator, height: float, width: float, turned: bool) -> Surface:
    if not turned:
        return box((width, width, height), bevel=0.006).moved((0, 0, height / 2))
    bulge = width * rng.uniform(0.35, 0.75, 6)
    body = curve(np.column_stack([bulge, np.linspace(0, height, 6)]), 28)
    return lathe(np.concatenate([[[0, 0]], np.maximum(body, [0.01, 0]), [[0, height]]]), columns=20)


def _four(part: Surface, x: float, y: float) -> list[Surface]:
    return [part.moved((sx * x, sy * y, 0)) for sx in (-1, 1) for sy in (-1, 1)]


def table(rng: np.random.Generator) -> Surface:
    """A table or stool: round or square top, four legs or one foot."""
    width, depth, height = rng.uniform(0.6, 1.6), rng.uniform(0.5, 1.0), rng.uniform(0.4, 1.1)
    thick = rng.uniform(0.04, 0.1)
    round_top = rng.random() < 0.45
    if round_top:
        depth = width
        circle = width / 2 * np.stack([f(np.arange(56) / 56 * 2 * np.pi) for f in (np.cos, np.sin)], axis=1)
        top = extrude(circle, thick, bevel=thick / 4, smooth=True).moved((0, 0, height))
    else:
        top = box((width, depth, thick), bevel=0.012).moved((0, 0, height + thick / 2))
    if round_top and rng.random() < 0.5:
        radius = width * np.array([0.32, 0.28, 0.07, 0.06, 0.09, 0.2])
        foot = np.column_stack([radius, height * np.array([0, 0.05, 0.15, 0.6, 0.9, 1.0])])
        return joined([top, lathe(np.concatenate([[[0, 0]], foot, [[0, height]]])).moved(slot=1)])
    inset = 0.32 if round_top else 0.42
    leg = _leg(rng, height, rng.uniform(0.05, 0.1), turned=rng.random() < 0.5).moved(slot=1)
    parts = [top, *_four(leg, inset * width, inset * depth)]
    if rng.random() < 0.4:
        parts.append(box((2 * inset * width, 2 * inset * depth, 0.03)).moved((0, 0, height * 0.25), slot=1))
    return joined(parts)


def chair(rng: np.random.Generator) -> Surface:
    """A chair or armchair with a slatted or solid back."""
    width, depth, seat, back = (
        rng.uniform(low, high) for low, high in ((0.4, 0.7), (0.4, 0.65), (0.3, 0.5), (0.4, 0.8))
    )
    thick = rng.uniform(0.05, 0.16)
    parts = [box((width, depth, thick), bevel=0.02).moved((0, 0, seat))]
    parts += _four(_leg(rng, seat, 0.05, turned=rng.random() < 0.4).moved(slot=1), width / 2 - 0.04, depth / 2 - 0.04)
    lean = rotation((1, 0, 0), -rng.uniform(0.0, 0.25))
    if rng.random() < 0.5:
        panels = [box((width, thick * 0.7, back), bevel=0.02).moved((0, 0, back / 2))]
    else:
        slats = int(rng.integers(2, 6))
        posts = [box((0.05, 0.05, back)).moved((side * (width / 2 - 0.03), 0, back / 2), slot=1) for side in (-1, 1)]
        height = back / (2 * slats)
        slat = box((width - 0.06, 0.03, height))
        panels = posts + [slat.moved((0, 0, back * (i + 0.75) / slats)) for i in range(slats)]
    parts += [panel.moved((0, depth / 2 - 0.03, seat), turn=lean) for panel in panels]
    if rng.random() < 0.35:
        arm = box((0.06, depth, 0.05), bevel=0.01)
        post = box((0.05, 0.05, 0.2)).moved((0, -depth / 2 + 0.05, 0.1 - 0.2))
        for side in (-1, 1):
            parts += [part.moved((side * width / 2, 0, seat + 0.2 + thick / 2), slot=1) for part in (arm, post)]
    return joined(parts)


def shelf(rng: np.random.Generator) -> Surface:
    """A bookcase with books and boxes on its boards."""
    width, depth, height, boards = rng.uniform(0.6, 1.2), 0.3, rng.uniform(0.7, 1.8), int(rng.integers(2, 6))
    parts = [box((0.04, depth, height)).moved((side * width / 2, 0, height / 2)) for side in (-1, 1)]
    parts.append(box((width, 0.02, height)).moved((0, depth / 2 - 0.01, height / 2)))
    gap = (height - 0.04) / boards
    for board in range(boards + 1):
        parts.append(box((width, depth, 0.035)).moved((0, 0, 0.02 + board * gap)))
        left = -width / 2 + 0.04
        while board < boards and left < width / 2 - 0.12:
            size = rng.uniform([0.03, 0.15, 0.45 * gap], [0.09, 0.25, 0.85 * gap])
            if rng.random() < 0.8:
                place = (left + size[0] / 2, -0.02, 0.0375 + board * gap + size[2] / 2)
                parts.append(box(size, bevel=0.004).moved(place, slot=int(rng.integers(1, 4))))
            left += size[0] + 0.004
    return joined(parts)


def lamp(rng: np.random.Generator) -> Surface:
    """A standing lamp: foot, pole, shade."""
    height, reach = rng.uniform(0.7, 1.6), rng.uniform(0.2, 0.4)
    foot = lathe([[0, 0], [reach * 0.8, 0], [reach * 0.8, 0.03], [0.06, 0.07], [0, 0.07]])
    sway = curve([[0, 0, 0.05], [rng.uniform(-0.1, 0.1), 0, height / 2], [0, 0, height]], 24)
    low, high = reach, reach * rng.uniform(0.35, 1.0)
    bell = curve([[low, 0], [(low + high) / 2 * rng.uniform(0.75, 1.1), 0.18], [high, 0.36]], 20)
    shade = lathe(np.concatenate([[[0, 0.02], [0.97 * low, 0.005]], bell, [[0.97 * high, 0.355], [0, 0.34]]]))
    return joined([foot, tube(sway, rng.uniform(0.015, 0.035), columns=12), shade.moved((0, 0, height - 0.1), slot=1)])
