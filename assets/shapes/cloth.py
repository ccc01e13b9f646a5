"""Rectangles of cloth, and the rods that hold them. A seed is a shape.

Everything here is numpy's arithmetic alone, so that a seed gives the same shape for as long as this file does.
"""

import numpy as np

from assets.shapes.surfaces import Surface, lathe, rotation

QUADS = 25
"""Along each side of a cloth."""
COLUMNS = 16
"""Corners around a rod."""


def cloth(rng: np.random.Generator) -> Surface:
    """A flat square of quads, two triangles each, in x (right) and z (up). Unlike other surfaces, it is not closed.

    Objects stretch it. An image lies on it once, or twice along each side.
    """
    repeat = float(rng.choice([1.0, 2.0], p=[0.7, 0.3]))
    x, z = np.meshgrid(*[np.linspace(0, 1, QUADS + 1)] * 2)
    points = np.stack([x.ravel(), np.zeros(x.size), z.ravel()], axis=1)
    place = np.arange(x.size).reshape(x.shape)
    a, b, c, d = place[:-1, :-1], place[:-1, 1:], place[1:, 1:], place[1:, :-1]
    faces = np.stack([np.stack([a, b, c], axis=-1), np.stack([a, c, d], axis=-1)], axis=2).reshape(-1, 3)
    uv = points[:, [0, 2]] * repeat
    return Surface(points, faces, uv[faces], np.ones(len(faces), bool), np.zeros(len(faces), np.int64))


def quads(faces: np.ndarray) -> np.ndarray:
    """The quads ``[F / 2, 4]`` of a cloth's triangles ``[F, 3]``."""
    return np.column_stack([faces[0::2], faces[1::2, 2]])


def rod(rng: np.random.Generator) -> Surface:
    """A thin rod along z."""
    radius = rng.uniform(0.008, 0.014)
    profile = [(0, 0), (radius, 0), (radius, 1), (0, 1)]
    return lathe(profile, COLUMNS, smooth=False).moved(turn=rotation((0, 0, 1), rng.uniform(0, np.pi)))


CLOTHS = {family.__name__: family for family in (cloth, rod)}
"""What only some scenes have."""
