"""Depth, flow, normals and amodal masks of a frame, from what Blender saw of which object and how far away.

Blender says which object each pixel shows and how deep it lies; the spec and the prepared meshes say the rest, so that
nothing is blended at outlines and everything is exact to rounding. Pixel centres are at half-integers, x right and y
down; camera axes x right, y down, z forward.
"""

import numpy as np

from assets.store import AssetStore
from blender_scenes.geometry import SceneGeometry, moved
from render.geometry.raycast import Points, pixel_centres, project
from render.geometry.surfaces import Surfaces, flat_surfaces
from vosforge.videos.passes import packed

NORMAL_SCALE = 127


class PassMaker:
    """Makes the passes of one video's frames, whichever its spec asks for."""

    def __init__(self, geometry: SceneGeometry, store: AssetStore) -> None:
        """``store``: has the images of ``geometry``'s scene."""
        self.spec, self.surfaces, self.size = geometry.spec, Surfaces(geometry, store), geometry.size
        self.pixels = pixel_centres(*self.size)
        self._points = Points(self.pixels, geometry.K[0], self.size)

    def points(self, t: int) -> Points:
        """The centres of frame ``t``'s pixels."""
        zooms, K = self.spec.camera.zoom is not None, self.surfaces.geometry.K[t]
        return Points(self.pixels, K, self.size) if zooms else self._points

    def frame(self, t: int, seen: np.ndarray, depth: np.ndarray) -> dict[str, np.ndarray]:
        """The passes of frame ``t`` by the names and types of their data sets, without their T.

        seen: uint16 ``[H, W]``, which object each pixel shows; depth: float32 ``[H, W]``, metres along the camera's
        axis to it (elsewhere it means nothing).
        """
        view = _View(self, t, seen.ravel(), depth.ravel())
        wanted, (height, width) = self.spec.render.passes, self.size
        made = {}
        if "depth" in wanted:
            made["depth"] = half(view.z).reshape(self.size)
        if "flow" in wanted:
            made["flow_fwd"] = half(view.flow(t + 1)).reshape(height, width, 2)
            made["flow_bwd"] = half(view.flow(t - 1)).reshape(height, width, 2)
        if "normal" in wanted:
            made["normal"] = np.rint(view.normal() * NORMAL_SCALE).astype(np.int8).reshape(height, width, 3)
        if "amodal" in wanted:
            masks = np.stack([view.amodal(number) for number in range(1, len(self.spec.objects) + 1)])
            made["amodal"] = packed(masks.reshape(-1, height, width))
            made["objects/visibility"] = view.visibility(masks)
        return made


class _View:
    """One frame: which surface each of its N pixels shows, and where."""

    def __init__(self, maker: PassMaker, t: int, seen: np.ndarray, depth: np.ndarray) -> None:
        self.surfaces, self.points, self.pixels, self.t = maker.surfaces, maker.points(t), maker.pixels, t
        self.geometry = maker.surfaces.geometry
        self.size = maker.size
        shown = np.flatnonzero(np.bincount(seen)[1:]) + 1
        self.pixels_of = {int(number): np.flatnonzero(seen == number) for number in shown}
        behind = np.flatnonzero(seen == 0)
        self.z = depth.astype(np.float64)
        self.z[behind] = np.inf
        self.planes = np.zeros(len(seen), np.uint8)
        """Which plane or mirror a pixel shows, from 1 on; 0 for none."""
        self.normals = [np.zeros(3)]
        """Of these, by number: float64 ``[3]``, camera axes."""
        for number, (z, normal) in enumerate(flat_surfaces(self.geometry, t, self.points.rays[behind]), start=1):
            self.normals.append(normal)
            nearer = behind[z < self.z[behind]]
            self.z[nearer], self.planes[nearer] = z[z < self.z[behind]], number
        self._faces: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def faces(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Which triangles of object ``number`` its pixels show, and where on them, as ``Surfaces.seen_faces``."""
        if number not in self._faces:
            pixels = self.pixels_of[number]
            points = Points(self.pixels[pixels], self.geometry.K[self.t], self.size)
            self._faces[number] = self.surfaces.seen_faces(number, self.t, points, self.z[pixels])
        return self._faces[number]

    def flow(self, other: int) -> np.ndarray:
        """How far what each pixel shows is seen from there at frame ``other``: float64 ``[N, 2]`` pixels.

        NaN where there is no such frame or another camera took it, and for what is not in front of the camera then.
        Surroundings without any surface are infinitely far away: the camera's turning moves them, its going does not.
        """
        geometry, t = self.geometry, self.t
        if not 0 <= other < geometry.frames or geometry.shots[other] != geometry.shots[t]:
            return np.full((len(self.z), 2), np.nan)
        camera = geometry.to_camera[other] @ np.linalg.inv(geometry.to_camera[t])
        still = np.where(np.isinf(self.z), 1.0, self.z)[:, None] * self.points.rays
        places = still @ camera[:3, :3].T + np.isfinite(self.z)[:, None] * camera[:3, 3]
        for number, pixels in self.pixels_of.items():
            pose = geometry.pose(number, t)
            if geometry.items[number - 1].rigid and abs(np.linalg.det(pose)) > 1e-9:
                places[pixels] = moved(still[pixels], geometry.pose(number, other) @ np.linalg.inv(pose))
            else:
                face, weights = self.faces(number)
                places[pixels] = np.einsum("nk,nkd->nd", weights, geometry.corners(number, other, face))
        return project(places, geometry.K[other]) - self.pixels

    def normal(self) -> np.ndarray:
        """The normals of the triangles that are seen, turned to the camera: float64 ``[N, 3]``, 0 for nothing."""
        normals = np.array(self.normals)[self.planes]
        for number, pixels in self.pixels_of.items():
            face, weights = self.faces(number)
            a, b, c = self.geometry.corners(number, self.t, face).transpose(1, 0, 2)
            normals[pixels] = np.where(np.isnan(weights[:, :1]), 0.0, np.cross(b - a, c - a))
        length = np.linalg.norm(normals, axis=1)
        away = np.einsum("nd,nd->n", normals, self.points.rays) > 0
        return normals * (np.where(away, -1.0, 1.0) / np.where(length > 0, length, 1.0))[:, None]

    def amodal(self, number: int) -> np.ndarray:
        """The pixels whose centres' rays meet object ``number``, whatever is before it: bool ``[N]``."""
        covered = np.zeros(len(self.z), bool)
        for hits in self.surfaces.hits(number, self.t, self.points):
            covered[hits.point] = True
        # Blender's rays pass the centres a two-thousandth of a pixel away; what is seen is part of the whole.
        covered[self.pixels_of.get(number, [])] = True
        return covered

    def visibility(self, masks: np.ndarray) -> np.ndarray:
        """The share of each of the amodal ``masks [K, N]`` that is seen: float32 ``[K]``, NaN of an empty one."""
        seen = [len(self.pixels_of.get(number, ())) for number in range(1, len(masks) + 1)]
        with np.errstate(invalid="ignore"):
            return (np.array(seen) / masks.sum(axis=1)).astype(np.float32)


def half(values: np.ndarray) -> np.ndarray:
    """Values as float16: to a two-thousandth of their size; NaN for flow beyond its range."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16)
