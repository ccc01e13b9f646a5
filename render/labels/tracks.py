"""Points on the objects' surfaces, followed through a video as TAP-Vid has them: where each is, and whether it is seen.

A point belongs to a place on a triangle of the undeformed mesh, so it bends and moves with it. It is occluded where
something lies before it, and outside the frame.
"""

import numpy as np

from render.geometry.raycast import CLIP_START, Points, project
from render.geometry.surfaces import Surfaces, flat_surfaces
from vosforge.seeding import rng_for

SAME_SURFACE = 1e-6
"""What is nearer than a point by less than this share of its depth is the point's own surface."""


def make_tracks(surfaces: Surfaces, masks: np.ndarray) -> dict[str, np.ndarray]:
    """Follow the spec's ``render.tracks`` points, shared out evenly to the objects that are seen: the pass's data sets.

    masks: uint8 ``[T, H, W]``. Where a point starts is drawn from all pixels of its object in all frames, by the spec's
    seed. A scene that shows no object has no points.
    """
    geometry = surfaces.geometry
    spec = geometry.spec
    rng = rng_for(spec.seed, "tracks", spec.index, spec.attempt)
    shown = [number for number in range(1, len(spec.objects) + 1) if (masks == number).any()]
    shares = [len(part) for part in np.array_split(np.arange(spec.render.tracks), max(len(shown), 1))]
    places = {
        number: _places(surfaces, masks, number, share, rng)
        for number, share in zip(shown, shares, strict=False)
        if share
    }
    owner = np.concatenate([np.zeros(0, np.uint8), *(np.full(len(f), k, np.uint8) for k, (f, _) in places.items())])
    points = np.empty((spec.render.frames, len(owner), 2), np.float32)
    occluded = np.empty((spec.render.frames, len(owner)), bool)
    for t in range(spec.render.frames):
        at = [
            np.einsum("nk,nkd->nd", weights, geometry.corners(number, t, face))
            for number, (face, weights) in places.items()
        ]
        where = np.concatenate([*at, np.zeros((0, 3))])
        points[t] = project(where, geometry.K[t])
        occluded[t] = _occluded(surfaces, t, where, (masks.shape[1], masks.shape[2]))
    return {"tracks/points": points, "tracks/occluded": occluded, "tracks/object": owner}


def _places(
    surfaces: Surfaces, masks: np.ndarray, number: int, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Up to ``count`` places where an object is seen: triangles ``[n]`` and weights of their corners ``[n, 3]``."""
    upto = np.cumsum([np.count_nonzero(mask == number) for mask in masks])
    drawn = np.sort(rng.choice(upto[-1], min(count, int(upto[-1])), replace=False))
    faces, weights = [], []
    for t in np.unique(np.searchsorted(upto, drawn, side="right")):
        before = upto[t - 1] if t else 0
        here = drawn[(drawn >= before) & (drawn < upto[t])] - before
        pixels = np.argwhere(masks[t] == number)[here]
        points = Points(pixels[:, ::-1] + 0.5, surfaces.geometry.K[t], (masks.shape[1], masks.shape[2]))
        z, face, weight = surfaces.first_hits(number, int(t), points)
        met = np.isfinite(z)  # a pixel in 100,000 shows an outline that its centre's ray passes by
        faces.append(face[met])
        weights.append(weight[met])
    return np.concatenate(faces), np.concatenate(weights)


def _occluded(surfaces: Surfaces, t: int, where: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Whether places ``[N, 3]`` in camera axes are hidden or outside the frame at frame ``t``: bool ``[N]``."""
    xy = project(where.astype(np.float64), surfaces.geometry.K[t])
    inside = np.flatnonzero((xy >= 0).all(axis=1) & (xy < [size[1], size[0]]).all(axis=1) & (where[:, 2] > CLIP_START))
    points = Points(xy[inside], surfaces.geometry.K[t], size)
    nearest = np.full(len(inside), np.inf)
    for number in surfaces.geometry.numbers:
        nearest = np.minimum(nearest, surfaces.first_hits(number, t, points)[0])
    for z, _ in flat_surfaces(surfaces.geometry, t, points.rays):
        nearest = np.minimum(nearest, z)
    occluded = np.ones(len(where), bool)
    occluded[inside] = nearest < where[inside, 2] * (1 - SAME_SURFACE)
    return occluded
