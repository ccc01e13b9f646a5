"""Procedural shapes without end: primitives that are deformed and joined, and height fields. A seed is a shape.

Everything here is numpy's arithmetic alone, so that a seed gives the same shape for as long as this file does.
"""

import numpy as np
from numpy.typing import NDArray

from assets.shapes.abstract import random_outline, ring, ripples, superquadric
from assets.shapes.jointed import capsule
from assets.shapes.surfaces import Surface, Vertices, extrude, grid, joined, lathe, rotation, vec

SLOTS = 4
"""Materials of a shape, at most."""


def compound(rng: np.random.Generator) -> Surface:
    """One to six primitives, each deformed in its own way, grown from one another, then deformed as a whole."""
    count = int(rng.choice([1, 2, 3, 4, 6], p=[0.2, 0.25, 0.25, 0.2, 0.1]))
    parts: list[Surface] = []
    mirrored = rng.random() < 0.4
    for number in range(count):
        slot = int(rng.integers(SLOTS)) if number else 0
        part = sized(deformed(primitive(rng), rng, 0.6), 1.0)
        if number:
            part = part.moved(scale=rng.uniform(0.25, 0.7), turn=random_turn(rng))
            host = parts[int(rng.integers(len(parts)))]
            at = host.vertices[int(rng.integers(len(host.vertices)))]
            part = part.moved(to=at * rng.uniform(0.85, 1.15))
        parts.append(part.moved(slot=slot))
        if number and mirrored:
            parts.append(mirror(parts[-1]))
    return deformed(joined([numbered(part, parts) for part in parts]), rng, 0.35)


def landscape(rng: np.random.Generator) -> Surface:
    """A height field on a block: hills, dunes, steps, craters or waves, round or square."""
    rows, columns = 40, 72
    radius = np.linspace(0, 1, rows + 1)[1:, None]
    angle = np.arange(columns) / columns * 2 * np.pi
    square = np.maximum(np.abs(np.cos(angle)), np.abs(np.sin(angle))) if rng.random() < 0.5 else 1.0
    x, y = radius * np.cos(angle) / square, radius * np.sin(angle) / square
    flat = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    kind, height = rng.choice(["hills", "steps", "craters", "waves"]), rng.uniform(0.12, 0.4)
    field = ripples(rng, flat, rng.uniform(2.0, 7.0), int(rng.integers(1, 5))) * 0.4
    if kind == "steps":
        field = np.round(field * 4) / 4
    elif kind == "craters":
        middles = rng.uniform(-0.8, 0.8, (int(rng.integers(2, 9)), 2))
        far = np.linalg.norm(flat[:, None, :2] - middles, axis=2) / rng.uniform(0.1, 0.4, len(middles))
        field = 0.3 * field + (np.exp(-((far - 1) ** 2) * 8) - 0.8 * np.exp(-(far**2) * 2)).sum(axis=1)
    elif kind == "waves":
        toward = rng.normal(size=2)
        field = 0.3 * field + np.sin(flat[:, :2] @ toward * rng.uniform(4, 12) / np.linalg.norm(toward))
    z = (height * np.clip(field, -1.5, 2.5)).reshape(x.shape)
    base = z.min() - rng.uniform(0.05, 0.5)
    points = np.stack([x, y, z], axis=-1)[::-1]  # from the rim up to the middle
    rim = points[0] * [1, 1, 0] + [0, 0, base]
    middle = np.broadcast_to(points[-1].mean(axis=0), rim.shape)
    top = grid(np.stack([np.broadcast_to(rim.mean(axis=0), rim.shape), rim, *points, middle]), smooth=kind != "steps")
    return deformed(top, rng, 0.15)


def primitive(rng: np.random.Generator) -> Surface:
    """One of the simplest solids, of any proportions."""
    kind = rng.choice(["superquadric", "capsule", "ring", "prism", "lathe"], p=[0.3, 0.15, 0.15, 0.2, 0.2])
    if kind == "superquadric":
        return superquadric(rng)
    if kind == "ring":
        return ring(rng)
    if kind == "capsule":
        first, last = rng.uniform(0.1, 0.5, 2)
        return capsule(vec(0, 0, -0.5), vec(0, 0, 0.5), first, last, columns=32)
    if kind == "prism":
        height, taper = float(np.exp(rng.uniform(-1.2, 0.9))), rng.uniform(0.2, 1.0)
        return extrude(random_outline(rng), height, bevel=rng.choice([0.0, 0.05]), taper=taper, rows=16)
    count = int(rng.integers(4, 9))
    radius = np.concatenate([[0.0], rng.uniform(0.15, 1.0, count), [0.0]])
    at, fine = np.linspace(0, 1, count + 2), np.linspace(0, 1, 60)
    ease = np.interp(fine, at, radius)
    if rng.random() < 0.7:  # rounded
        ease = np.convolve(np.pad(ease, 4, mode="edge"), np.ones(9) / 9, "valid")
        ease[[0, -1]] = 0.0
    return lathe(np.stack([ease, fine * rng.uniform(0.6, 2.5)], axis=1))


def deformed(surface: Surface, rng: np.random.Generator, share: float) -> Surface:
    """The surface tapered, twisted, bent, sheared and rippled: each of these with probability ``share``."""
    points = surface.vertices - (surface.vertices.min(axis=0) + surface.vertices.max(axis=0)) / 2
    size = float(np.abs(points).max())
    points = points / size
    turn = random_turn(rng)
    points = points @ turn.T
    chosen = rng.random(5) < share * np.array([1.0, 0.8, 0.8, 0.5, 0.7])
    taper, twist, bend, shear = (
        rng.uniform(-0.45, 0.45),
        rng.uniform(-1.8, 1.8),
        rng.uniform(0.3, 1.2),
        rng.normal(0, 0.3),
    )
    frequency, depth = rng.uniform(2.0, 9.0), rng.uniform(0.02, 0.08)
    if chosen[0]:
        points = points * np.column_stack([1 + taper * points[:, 2], 1 + taper * points[:, 2], np.ones(len(points))])
    if chosen[1]:
        cos, sin = np.cos(twist * points[:, 2]), np.sin(twist * points[:, 2])
        points = np.column_stack(
            [points[:, 0] * cos - points[:, 1] * sin, points[:, 0] * sin + points[:, 1] * cos, points[:, 2]]
        )
    if chosen[2]:
        angle, out = bend * points[:, 2], 1 / bend - points[:, 0]
        points = np.column_stack([1 / bend - out * np.cos(angle), points[:, 1], out * np.sin(angle)])
    if chosen[3]:
        points = points + np.outer(points[:, 2], [shear, 0, 0])
    if chosen[4]:
        away = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-6)
        points = points + away * (depth * ripples(rng, points, frequency, 2))[:, None]
    return surface.shaped(points @ turn * size)


def sized(surface: Surface, reach: float) -> Surface:
    """The surface about the origin, its furthest side ``reach`` away."""
    low, high = surface.vertices.min(axis=0), surface.vertices.max(axis=0)
    return surface.shaped((surface.vertices - (low + high) / 2) * (2 * reach / float((high - low).max())))


def mirror(surface: Surface) -> Surface:
    """The surface seen in a mirror at y = 0."""
    flipped = surface.moved(scale=1.0)
    return Surface(
        flipped.vertices * [1, -1, 1], flipped.faces[:, ::-1], flipped.corner_uv[:, ::-1], flipped.smooth, flipped.slot
    )


def numbered(part: Surface, parts: list[Surface]) -> Surface:
    """The part with its slot among those that ``parts`` use, from 0 on without gaps."""
    used = np.unique(np.concatenate([each.slot for each in parts]))
    return part.moved(slot=int(np.searchsorted(used, part.slot[0])))


def random_turn(rng: np.random.Generator) -> NDArray[np.float64]:
    """A rotation matrix, about any axis by any angle."""
    axis: Vertices = rng.normal(size=3)
    return rotation(axis / np.linalg.norm(axis), float(rng.uniform(0, 2 * np.pi)))
