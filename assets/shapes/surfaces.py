"""The geometry that procedural shapes are made of: grids, sweeps, lathes, extrusions, balls, blends.

A `Surface` is plain arrays of any size; `assets.prepared.prepare_mesh` prepares it. All surfaces are closed and
wound counter-clockwise seen from outside. UVs run along the surface at its own proportions, so that an image is
never drawn out, and go round a whole number of times, so that a seamless image has no seam.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.measure import marching_cubes

from vosforge.extras import extra

with extra("render", "procedural shapes need trimesh"):
    import trimesh

Vertices = NDArray[np.float64]
Rows = NDArray | Sequence[Sequence[float]]
"""[N,D] points, also as lists."""


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles with texture coordinates; ``slot`` tells which of a shape's materials each one wears."""

    vertices: Vertices
    """[V,3]"""
    faces: NDArray[np.int64]
    """[F,3]"""
    corner_uv: Vertices
    """[F,3,2]"""
    smooth: NDArray[np.bool_]
    """[F]"""
    slot: NDArray[np.int64]
    """[F]"""

    def moved(
        self, to: ArrayLike = (0, 0, 0), scale: ArrayLike = 1.0, turn: NDArray | None = None, slot: int | None = None
    ) -> "Surface":
        """This surface scaled (one positive factor or three), then rotated by the matrix ``turn`` [3,3], then moved."""
        vertices = self.vertices * np.asarray(scale, np.float64)
        vertices = (vertices if turn is None else vertices @ turn.T) + np.asarray(to, np.float64)
        return replace(self, vertices=vertices, slot=self.slot if slot is None else np.full_like(self.slot, slot))

    def shaped(self, vertices: Vertices) -> "Surface":
        """This surface with its vertices [V,3] elsewhere."""
        return replace(self, vertices=vertices)


def joined(parts: Sequence[Surface]) -> Surface:
    """One surface of several."""
    starts = np.cumsum([0] + [len(part.vertices) for part in parts])
    return Surface(
        vertices=np.concatenate([part.vertices for part in parts]),
        faces=np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)]),
        corner_uv=np.concatenate([part.corner_uv for part in parts]),
        smooth=np.concatenate([part.smooth for part in parts]),
        slot=np.concatenate([part.slot for part in parts]),
    )


def vec(x: float, y: float, z: float) -> NDArray[np.float64]:
    """A vector."""
    return np.array([x, y, z], np.float64)


def curve(controls: Rows, count: int, closed: bool = False) -> NDArray[np.float64]:
    """[count,D] points of the Catmull-Rom curve through ``controls`` [N,D]."""
    controls = np.asarray(controls, np.float64)
    pieces = len(controls) if closed else len(controls) - 1
    if closed:
        held = np.concatenate([controls[-1:], controls, controls[:2]])
    else:
        held = np.concatenate([2 * controls[:1] - controls[1:2], controls, 2 * controls[-1:] - controls[-2:-1]])
    at = np.linspace(0, pieces, count, endpoint=not closed)
    piece = np.minimum(at.astype(int), pieces - 1)
    t = (at - piece)[:, None]
    a, b, c, d = (held[piece + offset] for offset in range(4))
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


def rotation(axis: ArrayLike, angle: float) -> NDArray[np.float64]:
    """The matrix [3,3] that turns by ``angle`` radians about ``axis``."""
    x, y, z = np.asarray(axis, np.float64) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


LYING = rotation((1, 0, 0), np.pi / 2)
"""Turns z toward -y: a wheel's axle across a vehicle."""
FORWARD = rotation((0, 1, 0), np.pi / 2)
"""Turns z toward x: a fuselage along an aircraft."""


def grid(points: Vertices, wrap_rows: bool = False, smooth: bool = True) -> Surface:
    """The surface over rings of points [R,C,3] whose last column meets the first.

    With ``wrap_rows`` the last ring meets the first too (a torus); otherwise the first and last ring are closed by
    a fan about their mean, or are poles when all their points coincide. Rings run counter-clockwise seen from
    where the last ring lies.
    """
    points = np.asarray(points, np.float64)
    rows, columns = points.shape[:2]
    vertices = points.reshape(-1, 3)
    next_column = np.arange(1, columns + 1) % columns
    next_row = (np.arange(1, rows + 1) % rows) if wrap_rows else np.arange(1, rows)
    row = np.arange(len(next_row))
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b = index[row], index[row][:, next_column]
    c, d = index[next_row][:, next_column], index[next_row]

    closed_across = np.concatenate([points, points[:, :1]], axis=1)
    around = np.linalg.norm(np.diff(closed_across, axis=1), axis=2).sum(axis=1)
    steps = np.linalg.norm(points[next_row] - points[row], axis=2).mean(axis=1)
    size = max(around.mean(), 1e-12)
    repeat = max(1, round(size / (0.6 * max(np.ptp(vertices, axis=0)) + 1e-12)))
    v = np.concatenate([[0], np.cumsum(steps)]) / size * repeat
    v /= np.clip(v[-1] / 8, 1, 3)  # along a long tube an image may be drawn out rather than repeat dozens of times
    if wrap_rows:
        v *= max(1, round(v[-1])) / v[-1]
    u = np.arange(columns + 1) / columns * repeat
    u0, u1 = np.broadcast_arrays(u[None, :-1], u[None, 1:])
    v0, v1 = v[row][:, None], v[row + 1][:, None]
    at = [np.stack(np.broadcast_arrays(s, t), axis=-1) for s, t in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))]
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], axis=2).reshape(-1, 3)
    uv = np.stack([np.stack([at[0], at[1], at[2]], -2), np.stack([at[0], at[2], at[3]], -2)], axis=2).reshape(-1, 3, 2)
    body = _surface(vertices, faces, uv, smooth)
    return body if wrap_rows else _capped(body, index, around, repeat / size)


def _capped(body: Surface, index: NDArray, around: NDArray, uv_scale: float) -> Surface:
    """``body`` with its first and last ring closed."""
    vertices, faces, uvs = body.vertices, body.faces, body.corner_uv
    flat = [np.zeros(len(faces), bool)]
    for ring, length in ((index[0][::-1], around[0]), (index[-1], around[-1])):
        if length < 1e-9:  # a pole: its points become one vertex
            faces = np.where(np.isin(faces, ring), ring[0], faces)
            keep = (faces != np.roll(faces, 1, axis=1)).all(axis=1)
            faces, uvs, flat = faces[keep], uvs[keep], [np.concatenate(flat)[keep]]
            continue
        center = vertices[ring].mean(axis=0)
        normal = np.cross(vertices[ring] - center, np.roll(vertices[ring], -1, axis=0) - center).sum(axis=0)
        u_axis, v_axis = plane_axes(normal)
        fan = np.stack([ring, np.roll(ring, -1), np.full(len(ring), len(vertices))], axis=1)
        vertices = np.concatenate([vertices, center[None]])
        spread = (vertices[fan] - center) * uv_scale
        faces = np.concatenate([faces, fan])
        uvs = np.concatenate([uvs, np.stack([spread @ u_axis, spread @ v_axis], axis=-1)])
        flat.append(np.ones(len(fan), bool))
    return _surface(vertices, faces, uvs, body.smooth[0] & ~np.concatenate(flat))


def plane_axes(normal: ArrayLike) -> tuple[NDArray, NDArray]:
    """Two unit vectors that make a right-handed frame with ``normal``."""
    normal = np.asarray(normal, np.float64)
    other = np.eye(3)[np.argmin(np.abs(normal))]
    u_axis = np.cross(other, normal)
    u_axis /= np.linalg.norm(u_axis)
    v_axis = np.cross(normal, u_axis)
    return u_axis, v_axis / np.linalg.norm(v_axis)


def _surface(vertices: Vertices, faces: NDArray, uv: Vertices, smooth: bool | NDArray) -> Surface:
    shading = np.broadcast_to(np.asarray(smooth, bool), len(faces)).copy()
    return Surface(vertices, np.asarray(faces, np.int64), uv, shading, np.zeros(len(faces), np.int64))


def lathe(profile: Rows, columns: int = 48, smooth: bool = True) -> Surface:
    """The solid that ``profile`` [R,2] of (radius, height), from the bottom up the outside, makes about the z axis."""
    radius, height = np.asarray(profile, np.float64).T
    angle = np.arange(columns) / columns * 2 * np.pi
    x, y = radius[:, None] * np.cos(angle), radius[:, None] * np.sin(angle)
    return grid(np.stack([x, y, np.broadcast_to(height[:, None], x.shape)], axis=-1), smooth=smooth)


def extrude(
    outline: Rows,
    height: float,
    bevel: float = 0.0,
    twist: float = 0.0,
    taper: float = 1.0,
    rows: int = 1,
    smooth: bool = False,
) -> Surface:
    """A prism over ``outline`` [C,2] (counter-clockwise, star-shaped about the origin), z from 0 to ``height``.

    ``bevel`` rounds both rims by this length, ``twist`` turns the top by radians, ``taper`` scales it.
    """
    outline = np.asarray(outline, np.float64)
    heights, insets = np.linspace(bevel, height - bevel, rows + 1), np.zeros(rows + 1)
    if bevel:
        angle = np.linspace(0, np.pi / 2, 4)
        rise, inset = bevel * (1 - np.cos(angle)), bevel * (1 - np.sin(angle))
        heights = np.concatenate([rise, heights[1:-1], height - rise[::-1]])
        insets = np.concatenate([inset, insets[1:-1], inset[::-1]])
    share = heights / height
    reach = np.linalg.norm(outline, axis=1).max()
    scale = (1 + (taper - 1) * share) * (1 - insets / reach)
    cos, sin = np.cos(twist * share)[:, None], np.sin(twist * share)[:, None]
    x = scale[:, None] * (cos * outline[:, 0] - sin * outline[:, 1])
    y = scale[:, None] * (sin * outline[:, 0] + cos * outline[:, 1])
    return grid(np.stack([x, y, np.broadcast_to(heights[:, None], x.shape)], axis=-1), smooth=smooth)


def tube(path: Rows, radius: ArrayLike, columns: int = 16, closed: bool = False, ratio: float = 1.0) -> Surface:
    """A tube along ``path`` [R,3] of radius one value or [R]; its section is an ellipse of ``ratio``.

    Frames are carried along the path without twisting (double reflection, Wang et al. 2008, equation 4); on a closed
    path the leftover turn is spread evenly.
    """
    path = np.asarray(path, np.float64)
    ahead = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0) if closed else np.gradient(path, axis=0)
    tangents = ahead / np.linalg.norm(ahead, axis=1, keepdims=True)
    normals = [plane_axes(tangents[0])[0]]
    order = list(range(len(path))) + ([0] if closed else [])
    for here, there in pairwise(order):
        step = path[there] - path[here]
        normal = normals[-1] - 2 * (step @ normals[-1]) / (step @ step) * step
        tangent = tangents[here] - 2 * (step @ tangents[here]) / (step @ step) * step
        change = tangents[there] - tangent
        if change @ change > 1e-18:
            normal = normal - 2 * (change @ normal) / (change @ change) * change
        normals.append(normal)
    frames = np.stack(normals[: len(path)])
    across = np.cross(tangents, frames)
    turn = np.zeros(len(path))
    if closed:
        leftover = np.arctan2(normals[-1] @ across[0], normals[-1] @ frames[0])
        turn = -leftover * np.arange(len(path)) / len(path)
    angle = np.arange(columns) / columns * 2 * np.pi + turn[:, None]
    size = np.broadcast_to(np.asarray(radius, np.float64), len(path))[:, None, None]
    ring = np.cos(angle)[..., None] * frames[:, None] + ratio * np.sin(angle)[..., None] * across[:, None]
    return grid(path[:, None] + size * ring, wrap_rows=closed)


def box(size: ArrayLike, bevel: float = 0.0) -> Surface:
    """A box of ``size`` (x, y, z) about the origin, its edges cut by ``bevel``."""
    half = np.asarray(size, np.float64) / 2
    if bevel:
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        bevel = min(bevel, 0.45 * 2 * half.min())
        corners = np.concatenate([signs * (half - bevel * (1 - np.eye(3)[axis])) for axis in range(3)])
        hull = trimesh.convex.convex_hull(corners)
        return faceted(hull.vertices, hull.faces)
    mesh = trimesh.creation.box(extents=2 * half)
    return faceted(mesh.vertices, mesh.faces)


def faceted(vertices: ArrayLike, faces: ArrayLike, smooth: bool = False) -> Surface:
    """A surface with box-projected UVs over given triangles."""
    vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces, np.int64)
    return _surface(vertices, faces, box_uv(vertices, faces), smooth)


def box_uv(vertices: Vertices, faces: NDArray) -> Vertices:
    """[F,3,2] UVs by projecting each face along the axis it looks at; the longest side of the bounding box is 1.5."""
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    axis = np.abs(normals).argmax(axis=1)
    scaled = corners * (1.5 / max(np.ptp(vertices, axis=0).max(), 1e-12))
    u_axis, v_axis = np.array([1, 0, 0])[axis], np.array([2, 2, 1])[axis]
    rows = np.arange(len(faces))[:, None]
    return np.stack([scaled[rows, np.arange(3), u_axis[:, None]], scaled[rows, np.arange(3), v_axis[:, None]]], -1)


def ball(detail: int = 4) -> Surface:
    """A unit sphere of almost equal triangles (subdivided icosahedron), box-projected UVs."""
    mesh = trimesh.creation.icosphere(subdivisions=detail)
    return faceted(mesh.vertices, mesh.faces, smooth=True)


def ellipsoid(radii: ArrayLike, columns: int = 32) -> Surface:
    """An ellipsoid about the origin with the poles along z."""
    polar = np.linspace(-np.pi / 2, np.pi / 2, columns // 2 + 1)
    radius = np.cos(polar)
    radius[[0, -1]] = 0
    return lathe(np.stack([radius, np.sin(polar)], axis=1), columns).moved(scale=radii)


def blend(capsules: Rows, softness: float, detail: int = 40) -> Surface:
    """The smooth union of ``capsules`` [N,8] (two end points, the radius at each), about ``detail`` cells long.

    Distances to rounded cones are joined by a smooth minimum of width ``softness`` and meshed by marching cubes.
    """
    held = np.asarray(capsules, np.float64)
    starts, ends, radii = held[:, :3], held[:, 3:6], held[:, 6:]
    reach = radii.max() + softness
    low = np.minimum(starts, ends).min(axis=0) - reach
    high = np.maximum(starts, ends).max(axis=0) + reach
    cell = (high - low).max() / detail
    axes = [np.arange(start, stop + cell, cell) for start, stop in zip(low, high, strict=True)]
    at = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    total = np.zeros(at.shape[:3])
    for start, end, (first, last) in zip(starts, ends, radii, strict=True):
        line = end - start
        along = np.clip((at - start) @ line / max(line @ line, 1e-12), 0, 1)
        distance = np.linalg.norm(at - start - along[..., None] * line, axis=-1) - (first + (last - first) * along)
        total += np.exp(-np.clip(distance / softness, -60, 60))
    field = -softness * np.log(total)
    vertices, faces, _, _ = marching_cubes(field, 0.0, spacing=(cell, cell, cell), gradient_direction="descent")
    return faceted(vertices + low, faces, smooth=True)
