"""What single pixels show and where that goes: one ray at a time in world coordinates, from spec and meshes alone.

Nothing is shared with what makes the passes: each ray is tested by Möller and Trumbore's formula against all triangles.
"""

from dataclasses import dataclass

import numpy as np

from assets.store import AssetStore
from blender_scenes.spec import SceneSpec
from blender_scenes.trajectories import camera_poses, object_poses
from tests.render.raycast import camera_matrix, mirror_triangles, opacity, shape, standing


@dataclass(frozen=True)
class Place:
    """A place on a surface: of which number (0: a plane), on which of all triangles, and where on it."""

    number: int
    triangle: int
    u: float
    v: float


class Truth:
    """All triangles of a scene in world coordinates at any frame, planes last, and mirrors after them."""

    def __init__(self, spec: SceneSpec, store: AssetStore) -> None:
        self.spec, self.store, self.T = spec, store, spec.render.frames
        self.meshes = [
            (number, item, store.mesh(item.mesh))
            for number, item in enumerate((*spec.objects, *spec.distractors), start=1)
        ]
        self.alphas = {number: opacity(item, mesh, store) for number, item, mesh in self.meshes}
        self.planes = [(spec.backdrop, "y"), (spec.ground, "z"), *((wall, "x") for wall in spec.walls)]
        self.cameras = camera_poses(spec.camera, self.T)
        self.K = [camera_matrix(spec, t) for t in range(self.T)]
        self.kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def triangles(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Corners ``[F, 3, 3]`` and the number each triangle belongs to ``[F]``."""
        if t not in self.kept:
            corners, numbers = [np.zeros((0, 3, 3))], [np.zeros(0, int)]
            for number, item, mesh in self.meshes:
                vertices = shape(item, mesh, t / (self.T - 1), self.store)
                pose = standing(self.spec, item, vertices, object_poses(item, self.T)[t])
                corners.append((vertices @ pose[:3, :3].T + pose[:3, 3])[mesh.faces])
                numbers.append(np.full(len(mesh.faces), number))
            for plane, axis in self.planes:
                if plane is not None:
                    h, v, o = plane.size / 2, (plane.height or plane.size) / 2, plane.offset
                    square = [(-h, -v), (h, -v), (h, v), (-h, v)]
                    square = np.array([{"x": (o, a, b), "y": (a, o, b), "z": (a, b, o)}[axis] for a, b in square])
                    corners.append(square[[[0, 1, 2], [0, 2, 3]]])
                    numbers.append(np.zeros(2, int))
            for mirror in self.spec.mirrors:
                corners.append(mirror_triangles(mirror))
                numbers.append(np.zeros(2, int))
            self.kept[t] = np.concatenate(corners), np.concatenate(numbers)
        return self.kept[t]

    def meetings(self, t: int, x: float, y: float) -> list[tuple[float, Place]]:
        """Everything the ray through a point of the image meets, nearest first, with its distance along the axis."""
        corners, numbers = self.triangles(t)
        rotation, shift = self.cameras[t][:3, :3], self.cameras[t][:3, 3]
        origin = -rotation.T @ shift
        ray = rotation.T @ np.linalg.solve(self.K[t], [x, y, 1.0])
        e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        p = np.cross(ray, e2)
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = 1 / np.einsum("fd,fd->f", e1, p)
            s = origin - corners[:, 0]
            u = np.einsum("fd,fd->f", s, p) * inverse
            q = np.cross(s, e1)
            v = q @ ray * inverse
            z = np.einsum("fd,fd->f", e2, q) * inverse
        met = np.flatnonzero((u >= 0) & (v >= 0) & (u + v <= 1) & (z > 0.01))
        return [
            (z[i], Place(int(numbers[i]), int(i), u[i], v[i]))
            for i in met[np.argsort(z[met])]
            if self._opaque(int(numbers[i]), int(i), u[i], v[i])
        ]

    def _opaque(self, number: int, triangle: int, u: float, v: float) -> bool:
        alpha = self.alphas.get(number)
        first = int(np.argmax(self.triangles(0)[1] == number))
        return alpha is None or float(alpha(triangle - first, u, v)) > 0.5

    def where(self, place: Place, t: int) -> np.ndarray:
        """The world coordinates of a place at frame ``t``."""
        a, b, c = self.triangles(t)[0][place.triangle]
        return a + place.u * (b - a) + place.v * (c - a)

    def pixel(self, where: np.ndarray, t: int) -> np.ndarray:
        """World coordinates in pixels at frame ``t``."""
        x, y, z = self.K[t] @ (self.cameras[t] @ [*where, 1.0])[:3]
        return np.array([x, y]) / z

    def pixel_of_direction(self, x: float, y: float, t: int, other: int) -> np.ndarray:
        """Where what is infinitely far away behind a point of frame ``t`` is seen at frame ``other``."""
        world = self.cameras[t][:3, :3].T @ np.linalg.solve(self.K[t], [x, y, 1.0])
        x, y, z = self.K[other] @ self.cameras[other][:3, :3] @ world
        return np.array([x, y]) / z

    def normal(self, place: Place, t: int) -> np.ndarray:
        """The normal of a triangle in camera axes, towards the camera."""
        a, b, c = (self.cameras[t] @ np.c_[self.triangles(t)[0][place.triangle], np.ones(3)].T)[:3].T
        normal = np.cross(c - a, b - a)
        return normal / np.linalg.norm(normal) * -np.sign(normal @ a)
