"""Carved shapes: solids from which others are cut, so that they have bores, slots, bites, windows and hollows."""

import numpy as np

from assets.shapes.compound import deformed, primitive, random_turn, sized
from assets.shapes.surfaces import Surface, box_uv, rotation
from vosforge.extras import extra

with extra("render", "procedural shapes need manifold3d"):
    import manifold3d

WELDED = 1e-7
"""Vertices nearer than this to one another are one."""
MIN_VOLUME = 0.15
"""A cut that leaves less than this share of the solid is left out."""


def carved(rng: np.random.Generator) -> Surface:
    """A solid with one to five cuts, or a hollow one; the cuts are of its own material or of another."""
    body = sized(deformed(primitive(rng), rng, 0.3), 1.0)
    hollow = rng.random() < 0.25
    cutters = [_inside(body, rng)] if hollow else [_cutter(body, rng) for _ in range(int(rng.integers(1, 6)))]
    solid = _manifold(body)
    least, inner = MIN_VOLUME * solid.volume(), {}
    slot = int(rng.random() < 0.5)
    for cutter in cutters:
        tool = _manifold(cutter)
        left = solid - tool
        if least < left.volume() < 0.999 * solid.volume():
            solid = left
            inner[tool.original_id()] = bool(cutter.smooth[0])
    return _surface(solid, inner, bool(body.smooth[0]), slot)


def _cutter(body: Surface, rng: np.random.Generator) -> Surface:
    """A bite out of the surface, or a bore through the middle."""
    tool = sized(primitive(rng), 1.0)
    at = body.vertices[int(rng.integers(len(body.vertices)))]
    if rng.random() < 0.5:
        return tool.moved(at * rng.uniform(0.8, 1.1), rng.uniform(0.25, 0.6), random_turn(rng))
    thin = rng.uniform(0.12, 0.35)
    return tool.moved(at * rng.uniform(0.0, 0.4), (thin, thin * rng.uniform(0.5, 2.0), 3.0), random_turn(rng))


def _inside(body: Surface, rng: np.random.Generator) -> Surface:
    """The body itself, smaller and off its middle: what is left is a bowl or a tube."""
    axis = np.eye(3)[int(rng.integers(3))]
    turn = rotation(axis, 0.02)  # faces that coincide would leave slivers
    return body.moved(axis * rng.choice([-1, 1]) * rng.uniform(0.25, 0.5), 0.86 + 0.3 * axis, turn)


def _manifold(surface: Surface) -> manifold3d.Manifold:
    """The surface as a solid, with vertices at the same place welded."""
    _, first, owner = np.unique(np.round(surface.vertices / WELDED), axis=0, return_index=True, return_inverse=True)
    faces = owner.reshape(-1)[surface.faces]
    kept = (faces != np.roll(faces, 1, axis=1)).all(axis=1)
    mesh = manifold3d.Mesh64(surface.vertices[first], np.ascontiguousarray(faces[kept], np.uint64))
    return manifold3d.Manifold(mesh).as_original()


def _surface(solid: manifold3d.Manifold, inner: dict[int, bool], smooth: bool, slot: int) -> Surface:
    """The solid's surface. ``inner``: by the id of each cutter, whether what it cut is smooth; they meet in creases."""
    mesh = solid.to_mesh64()
    faces = np.asarray(mesh.tri_verts, np.int64)
    run = np.repeat(np.arange(len(mesh.run_original_id)), np.diff(mesh.run_index) // 3)
    corners, owner = np.unique(
        np.stack([faces, run[:, None].repeat(3, 1)], -1).reshape(-1, 2), axis=0, return_inverse=True
    )
    vertices, faces = np.asarray(mesh.vert_properties, np.float64)[corners[:, 0], :3], owner.reshape(-1, 3)
    cut = np.array([identity in inner for identity in mesh.run_original_id])
    shading = np.array([inner.get(identity, smooth) for identity in mesh.run_original_id])
    return Surface(vertices, faces, box_uv(vertices, faces), shading[run], (cut * slot)[run].astype(np.int64))
