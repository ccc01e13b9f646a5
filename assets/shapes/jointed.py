"""Procedural shapes with joints: walking figures and beasts of capsules, snakes, chains and hinged things.

Each family is a function of a generator, so that a seed is a shape; its joints are the same for every seed. A part
turns about its joint, and so do all parts that hang on it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assets.prepared import Skeleton
from assets.shapes.surfaces import Surface, ball, box, curve, grid, joined, plane_axes, tube, vec

LINKS = 7
"""Of a chain."""
VERTEBRAE = 9
"""Of a snake."""
LEAVES = 2
"""Of a hinged thing, besides what they hang on."""


@dataclass(frozen=True, eq=False)
class Jointed:
    """A surface and its skeleton."""

    surface: Surface
    skeleton: Skeleton


@dataclass(frozen=True, eq=False)
class Part:
    """What turns about one joint: its place, the joint that it hangs on (-1: none), and its surfaces."""

    place: NDArray[np.float64]
    parent: int
    surfaces: Sequence[Surface]


def capsule(start: NDArray, end: NDArray, first: float, last: float, columns: int = 20, slot: int = 0) -> Surface:
    """A rounded cone from ``start`` to ``end`` with the radii ``first`` and ``last`` there."""
    along = (end - start) / np.linalg.norm(end - start)
    across, aside = plane_axes(along)
    turn = np.linspace(-np.pi / 2, np.pi / 2, 11)
    low, high = turn[:6], turn[5:]
    centres = [np.tile(start, (6, 1)), np.tile(end, (6, 1))]
    radius = np.concatenate([first * np.cos(low), last * np.cos(high)])
    lift = np.concatenate([first * np.sin(low), last * np.sin(high)])
    radius[[0, -1]] = 0
    angle = np.arange(columns) / columns * 2 * np.pi
    ring = np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * aside
    centre = np.concatenate(centres) + lift[:, None] * along
    return grid(centre[:, None] + radius[:, None, None] * ring).moved(slot=slot)


def of_parts(parts: Sequence[Part]) -> Jointed:
    """The shape of rigid parts, one a joint."""
    surfaces = [joined(part.surfaces) for part in parts]
    skin = np.repeat(np.eye(len(parts)), [len(each.vertices) for each in surfaces], axis=0)
    places, parents = np.stack([part.place for part in parts]), np.array([part.parent for part in parts])
    return Jointed(joined(surfaces), Skeleton(places, parents, skin))


FIGURE = (
    "hips", "chest", "head", "left arm", "left forearm", "right arm", "right forearm", "left leg", "left shin",
    "right leg", "right shin",
)  # fmt: skip
"""The joints of a figure, in order."""


def figure(rng: np.random.Generator) -> Jointed:
    """A figure that stands on two legs and looks along x: person, ape, doll or robot by proportion."""
    leg, trunk, arm = rng.uniform(0.6, 1.0), rng.uniform(0.4, 0.7), rng.uniform(0.5, 0.9)
    girth, broad, skull = rng.uniform(0.1, 0.2), rng.uniform(0.18, 0.34), rng.uniform(0.12, 0.26)
    thick, thin = rng.uniform(0.07, 0.13), rng.uniform(0.045, 0.08)
    hips, neck = vec(0, 0, leg), vec(0, 0, leg + trunk)
    waist, head = vec(0, 0, leg + 0.3 * trunk), neck + vec(0, 0, 0.06 + skull)
    eye = 0.16 * skull
    eyes = [ball(2).moved(head + skull * vec(0.9, side * 0.4, 0.2), eye, slot=2) for side in (-1, 1)]
    belly = capsule(hips - vec(0, 0.5 * broad, 0), hips + vec(0, 0.5 * broad, 0), girth, girth, slot=1)
    chest = capsule(waist, neck - vec(0, 0, 0.3 * girth), girth * 0.95, girth * rng.uniform(0.9, 1.3))
    yoke = capsule(neck - vec(0, broad * 0.8, 0.08), neck + vec(0, broad * 0.8, -0.08), thick, thick)
    face = capsule(neck + vec(0, 0, 0.02), head, skull * 0.5, skull, slot=2)
    parts = [Part(hips, -1, [belly]), Part(waist, 0, [chest, yoke]), Part(neck, 1, [face, *eyes])]
    hat = rng.random() < 0.4
    if hat:
        crown = capsule(head + vec(0, 0, 0.5 * skull), head + vec(0, 0, 1.4 * skull), skull * 0.8, skull * 0.5, slot=1)
        parts[2] = Part(neck, 1, [*parts[2].surfaces, crown])
    for side in (-1, 1):
        shoulder = neck + vec(0, side * (broad + thick), -0.1)
        elbow = shoulder + vec(0, side * 0.06, -arm / 2)
        hand = elbow + vec(0.02, 0, -arm / 2)
        parts.append(Part(shoulder, 1, [capsule(shoulder, elbow, thick * 0.8, thin)]))
        fist = ball(3).moved(hand, thin * 1.4, slot=2)
        parts.append(Part(elbow, len(parts) - 1, [capsule(elbow, hand, thin, thin * 0.8), fist]))
    for side in (-1, 1):
        hip = hips + vec(0, side * 0.55 * broad, 0)
        knee = hip - vec(0, 0, leg / 2)
        ankle = knee - vec(0, 0, leg / 2 - thin)
        toe = ankle + vec(rng.uniform(0.12, 0.22), 0, -0.2 * thin)
        parts.append(Part(hip, 0, [capsule(hip, knee, thick, thin * 1.1, slot=1)]))
        shin = capsule(knee, ankle, thin * 1.1, thin * 0.9, slot=1)
        parts.append(Part(knee, len(parts) - 1, [shin, capsule(ankle, toe, thin, thin * 0.8, slot=3)]))
    return of_parts(parts)


BEAST = ("trunk", "neck", "head", "tail", *(f"{which} {bone}" for which in "abcd" for bone in ("leg", "shin")))
"""The joints of a beast, in order; its legs: fore right, fore left, hind right, hind left."""


def beast(rng: np.random.Generator) -> Jointed:
    """A figure that stands on four legs and looks along x: dog, horse, giraffe, lizard by proportion."""
    length, leg, girth = rng.uniform(0.7, 1.4), rng.uniform(0.3, 0.9), rng.uniform(0.15, 0.3)
    neck, pitch, skull = rng.uniform(0.2, 0.7), rng.uniform(0.2, 1.3), rng.uniform(0.1, 0.2)
    thick = rng.uniform(0.06, 0.11)
    rump, shoulder = vec(-length / 2, 0, leg), vec(length / 2, 0, leg + rng.uniform(-0.05, 0.12))
    head = shoulder + neck * vec(np.cos(pitch), 0, np.sin(pitch))
    nose = head + vec(rng.uniform(0.15, 0.35), 0, -rng.uniform(0.02, 0.12))
    tip = rump + vec(-rng.uniform(0.2, 0.6), 0, rng.uniform(-0.3, 0.4))
    eyes = [ball(2).moved(head + skull * vec(0.6, side * 0.75, 0.5), 0.2 * skull, slot=3) for side in (-1, 1)]
    ears = [
        capsule(
            head + skull * vec(-0.2, side * 0.6, 0.6), head + skull * vec(-0.4, side * 0.9, 1.7), 0.04, 0.02, slot=1
        )
        for side in (-1, 1)
    ]
    parts = [
        Part((rump + shoulder) / 2, -1, [capsule(rump, shoulder, girth * rng.uniform(0.8, 1.1), girth, 28)]),
        Part(shoulder, 0, [capsule(shoulder, head, girth * 0.6, skull * 0.7)]),
        Part(head, 1, [capsule(head, nose, skull, skull * rng.uniform(0.5, 0.7)), *eyes, *ears]),
        Part(rump - vec(0.6 * girth, 0, 0), 0, [capsule(rump - vec(0.6 * girth, 0, 0), tip, 0.06, 0.025, slot=1)]),
    ]
    for end, inward in ((shoulder, -0.08), (rump, 0.08)):
        for side in (-1, 1):
            hip = end + vec(inward, side * girth * 0.65, -0.1 * girth)
            knee, foot = hip * [1, 1, 0.5], hip * [1, 1, 0] + vec(0, 0, thick * 0.7)
            parts.append(Part(hip, 0, [capsule(hip, knee, thick * 1.5, thick)]))
            shin = capsule(knee, foot, thick, thick * 0.7)
            hoof = capsule(foot, foot + vec(0.07, 0, 0), thick * 0.75, thick * 0.6, slot=2)
            parts.append(Part(knee, len(parts) - 1, [shin, hoof]))
    return of_parts(parts)


def snake(rng: np.random.Generator) -> Jointed:
    """A long body that bends everywhere, along x: snake, worm, eel, ribbon by proportion. It is skinned smoothly."""
    rows = 12 * VERTEBRAE
    t = np.linspace(0, 1, rows)
    path = np.stack([2 * t - 1, np.zeros(rows), np.zeros(rows)], axis=1)
    girth, taper = rng.uniform(0.05, 0.16), rng.uniform(0.2, 0.9)
    blunt = np.sqrt(np.maximum(1 - np.clip(1 - (1 - t) / 0.06, 0, 1) ** 2, 0.01))  # its head is at x = 1
    rings = 1 + rng.choice([0.0, 0.12]) * np.sin(2 * np.pi * t * rng.integers(6, 20))
    profile = (
        girth * (taper + (1 - taper) * np.sin(np.pi * np.clip(t, 0.02, 0.98)) ** 0.5) * np.minimum(blunt, t / 0.1 + 0.1)
    )
    body = tube(path, profile * rings, columns=20, ratio=rng.choice([1.0, 1.0, 0.35]))
    head = vec(0.93, 0, 0)
    eyes = [ball(2).moved(head + girth * vec(0, side * 0.6, 0.6) * taper, 0.22 * girth, slot=1) for side in (-1, 1)]
    surface = joined([body, *eyes])
    # A vertex hangs on the two joints between whose middles it lies.
    x = np.clip((surface.vertices[:, 0] + 1) / 2 * VERTEBRAE - 0.5, 0, VERTEBRAE - 1)
    x[len(body.vertices) :] = VERTEBRAE - 1
    skin = np.maximum(1 - np.abs(x[:, None] - np.arange(VERTEBRAE)), 0)
    places = np.stack([2 * np.arange(VERTEBRAE) / VERTEBRAE - 1, *np.zeros((2, VERTEBRAE))], axis=1)
    return Jointed(surface, Skeleton(places, np.arange(VERTEBRAE) - 1, skin))


def chain(rng: np.random.Generator) -> Jointed:
    """Stiff links in a row, hanging down: chain, beads, bones, rods by what a link is."""
    kind, length, width = rng.choice(["ring", "bead", "rod", "block"]), 1.0, rng.uniform(0.18, 0.4)
    places = np.stack([*np.zeros((2, LINKS)), -length * np.arange(LINKS)], axis=1)
    links = []
    for number, place in enumerate(places):
        size = width * (rng.uniform(0.8, 1.2) if kind in ("bead", "block") else 1.0)
        foot, slot = place - vec(0, 0, length), int(number % 2)
        if kind == "ring":
            turn = np.arange(48) / 48 * 2 * np.pi
            side = np.cos(turn) * size * 1.1
            flat = np.zeros(48)
            across = (side, flat) if number % 2 else (flat, side)
            path = place + np.stack([*across, -length / 2 + np.sin(turn) * (length / 2 + 0.12)], axis=1)
            links.append([tube(path, 0.3 * size, columns=12, closed=True).moved(slot=slot)])
        elif kind == "bead":
            middle = (place + foot) / 2
            links.append(
                [ball(3).moved(middle, size * vec(1.1, 1.1, 1.2), slot=slot), capsule(place, foot, 0.06, 0.06)]
            )
        elif kind == "rod":
            links.append([capsule(place, foot, size * 0.5, size * 0.4, slot=slot)])
        else:
            links.append([box((size * 1.6, size * 1.1, 0.86), bevel=0.05).moved((place + foot) / 2, slot=slot)])
            links[-1].append(capsule(place - vec(0, 0, 0.1), place + vec(0, 0, 0.1), 0.06, 0.06, slot=2))
    return of_parts(
        [Part(place, number - 1, link) for number, (place, link) in enumerate(zip(places, links, strict=True))]
    )


def hinged(rng: np.random.Generator) -> Jointed:
    """Two leaves on a body: shutters, a chest of two lids, a book, a butterfly, scissors by proportion. They turn
    about y."""
    depth, span, thick = rng.uniform(0.5, 1.6), rng.uniform(0.5, 1.2), rng.uniform(0.03, 0.12)
    width, height = rng.uniform(0.06, 0.9), rng.uniform(0.1, 0.7)
    body = box((width + 0.02, depth, height), bevel=0.02).moved((0, 0, -height / 2 + thick / 2))
    if rng.random() < 0.3:
        reach = depth / 2 * rng.uniform(1.0, 1.3)
        body = capsule(vec(0, -reach, 0), vec(0, reach, 0), 0.5 * width * 0.6 + thick, 0.4 * width * 0.6 + thick)
    rounded = rng.random() < 0.4
    parts = [Part(vec(0, 0, 0), -1, [body])]
    outline = curve([[0, -0.5], [0.6, -0.5], [1.0, -0.1], [0.7, 0.15], [0.9, 0.45], [0.4, 0.5], [0, 0.4]], 40)
    for side in (-1, 1):
        hinge = vec(side * width / 2, 0, thick / 2)
        if rounded:
            rim = np.concatenate([outline, [[0, 0]]]) * [span * side, depth]
            leaf = _plate(rim if side > 0 else rim[::-1], thick).moved(hinge, slot=1)
        else:
            leaf = box((span, depth, thick), bevel=0.01).moved(hinge + vec(side * span / 2, 0, 0), slot=1)
        knob = ball(2).moved(hinge + vec(side * span * 0.6, 0, thick * 0.7), 0.06, slot=2)
        parts.append(Part(hinge, 0, [leaf, knob]))
    return of_parts(parts)


def _plate(rim: NDArray, thick: float) -> Surface:
    """A flat plate of outline ``rim`` [C,2] (counter-clockwise about its middle), z from 0 to ``thick``."""
    middle = (rim.min(axis=0) + rim.max(axis=0)) / 2
    low, high = np.insert(rim, 2, 0.0, axis=1), np.insert(rim, 2, thick, axis=1)
    ends = [np.tile([*middle, level], (len(rim), 1)) for level in (0.0, thick)]
    return grid(np.stack([ends[0], low, high, ends[1]]), smooth=False)


JOINTED: dict[str, Callable[[np.random.Generator], Jointed]] = {
    family.__name__: family for family in (figure, beast, snake, chain, hinged)
}
"""Every family with joints by name."""
