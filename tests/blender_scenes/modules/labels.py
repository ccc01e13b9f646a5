"""The labels of a drawn scene, from its recipe and procedural meshes by the project's rasteriser; no Blender.

Camouflage, light and transparency count for nothing here; the backdrop is behind everything and a ground hides what is
below it.
"""

import functools
from dataclasses import dataclass

import numpy as np

from assets.prepared import PreparedMesh, prepare_mesh
from assets.shapes import FAMILIES
from blender_scenes.geometry import SceneGeometry
from blender_scenes.spec import SceneSpec
from render.light.raster import draw_triangles
from vosforge.seeding import rng_for

GRID = 32
"""Steps along a mesh's diagonal: what is coarse is drawn in less time."""


@functools.cache
def mesh_named(content: str) -> PreparedMesh:
    """A procedural shape that belongs to a content hash of a catalog of names, its vertices on a coarse grid."""
    rng = rng_for(content)
    surface = FAMILIES[rng.choice(list(FAMILIES))](rng)
    fine = prepare_mesh(content, surface.vertices, surface.faces)
    vertices, of_fine = np.unique(np.round(fine.vertices * GRID) / GRID, axis=0, return_inverse=True)
    return prepare_mesh(content, vertices, of_fine.reshape(-1)[fine.faces])


@dataclass(frozen=True)
class Labels:
    """Of K objects in T frames of ``[H, W]`` pixels."""

    scene: SceneSpec
    size: tuple[int, int]
    visible: np.ndarray
    """Pixels seen of each: ``[T, K]``."""
    amodal: np.ndarray
    """Pixels of the image each would cover alone: ``[T, K]``."""
    centroid: np.ndarray
    """Of what is seen, in pixels of an image of 480 rows: ``[T, K, 2]``, NaN for nothing."""
    apparent: np.ndarray
    """Apparent size, any unit: ``[T, K]``, the cube root of the pose's determinant over the depth."""
    in_view: np.ndarray
    """Pixels seen in frame 0 of each object and distractor."""

    @property
    def share(self) -> np.ndarray:
        return self.visible / (self.size[0] * self.size[1])


def labels_of(scene: SceneSpec, rows: int = 96) -> Labels:
    columns = round(rows * scene.render.width / scene.render.height)
    small = scene.model_copy(update={"render": scene.render.model_copy(update={"width": columns, "height": rows})})
    items = (*scene.objects, *scene.distractors)
    geometry = SceneGeometry(small, {item.mesh: mesh_named(item.mesh) for item in items})
    T, K = geometry.frames, len(scene.objects)
    visible, amodal, centroid = np.zeros((T, K)), np.zeros((T, K)), np.full((T, K, 2), np.nan)
    apparent, in_view = np.zeros((T, K)), np.zeros(len(items))
    y, x = np.mgrid[:rows, :columns] + 0.5
    for t in range(T):
        z, shown = np.full((rows, columns), np.inf), np.full((rows, columns), -1, np.int32)
        for number in geometry.numbers:
            corners = np.ascontiguousarray(geometry.vertices(number, t)[geometry.mesh(number).faces])
            if number <= K:
                alone, hit = np.full((rows, columns), np.inf), np.full((rows, columns), -1, np.int32)
                draw_triangles(corners, 0, geometry.K[t], (0, 0), 1, alone, hit)
                amodal[t, number - 1] = (hit >= 0).sum()
                shown[alone < z] = number
                z = np.minimum(z, alone)
                pose = geometry.pose(number, t)
                apparent[t, number - 1] = abs(np.linalg.det(pose[:3, :3])) ** (1 / 3) / max(pose[2, 3], 1e-3)
            else:
                drawn = np.full((rows, columns), -1, np.int32)
                draw_triangles(corners, 0, geometry.K[t], (0, 0), 1, z, drawn)
                shown[drawn >= 0] = number
        counts = np.bincount(shown.ravel() + 1, minlength=len(items) + 2)[2:]
        visible[t] = counts[:K]
        if t == 0:
            in_view = counts
        for k in np.flatnonzero(visible[t]):
            here = shown == k + 1
            centroid[t, k] = x[here].mean() * 480 / rows, y[here].mean() * 480 / rows
    return Labels(scene, (rows, columns), visible, amodal, centroid, apparent, in_view)


def absences(labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Whether each object is absent in a frame after its first, and whether it returns then: bool ``[K]``."""
    seen = labels.visible > 0
    absent, returns = [], []
    for column in seen.T:
        after = column[int(column.argmax()) :]
        gone = ~after
        absent.append(bool(gone.any()))
        returns.append(bool((gone & np.flip(np.maximum.accumulate(np.flip(after)))).any()))
    return np.array(absent), np.array(returns)


def occlusion(labels: Labels) -> np.ndarray:
    """Each object's mean share of amodal pixels that are hidden, over the frames it is seen in: ``[K]``."""
    with np.errstate(invalid="ignore", divide="ignore"):
        hidden = np.where(labels.visible > 0, 1 - labels.visible / labels.amodal, np.nan)
    return np.nanmean(hidden, axis=0) if len(hidden) else hidden


def speeds(labels: Labels) -> np.ndarray:
    """Each object's mean motion in pixels a frame, of the centroid of what is seen at 480 rows: ``[K]``."""
    return np.nanmean(np.linalg.norm(np.diff(labels.centroid, axis=0), axis=2), axis=0)


def scale_changes(labels: Labels) -> np.ndarray:
    """Each object's largest change of area since it was first seen, by poses, as |log2|: ``[K]``."""
    found = []
    for k in range(labels.visible.shape[1]):
        size = labels.apparent[labels.visible[:, k] > 0, k]
        found.append(2 * abs(np.log2(size / size[0])).max() if len(size) else np.nan)
    return np.array(found)
