"""Where everything in a scene is: its meshes, read and checked once a video, and all poses. No Blender.

Whoever builds, renders, labels or records the video is handed this instead of reading the meshes again. Numbers are
the objects' from 1 on, then the distractors'.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Self

import numpy as np

from assets.prepared import PreparedMesh
from assets.store import AssetStore
from blender_scenes.deforming import ALL, shaped, shown
from blender_scenes.object_spec import ObjectSpec, SimulatedMotion
from blender_scenes.spec import CameraSpec, MirrorSpec, PlaneSpec, SceneSpec
from blender_scenes.trajectories import camera_poses, evaluate, intrinsics, object_poses, replayed, shots
from vosforge.errors import VOSForgeError


class SceneGeometry:
    """The meshes of a scene, and where they and the camera are at any of its frames."""

    def __init__(
        self,
        spec: SceneSpec,
        meshes: Mapping[str, PreparedMesh],
        simulated: np.ndarray | None = None,
        cloths: Mapping[str, np.ndarray] = MappingProxyType({}),
    ) -> None:
        """``meshes``: by their content; who only asks for poses needs none.

        ``simulated``: the result of the scene's physics; ``cloths``: those of its cloths, by their content. Raises
        VOSForgeError where an object moves by physics and there is no result.
        """
        settings = spec.render
        self.spec, self._meshes = spec, meshes
        self.items: tuple[ObjectSpec, ...] = (*spec.objects, *spec.distractors)
        self.planes = planes_of(spec)
        self.frames, self.size = settings.frames, (settings.height, settings.width)
        self.K = intrinsics(spec.camera, settings.width, settings.height, self.frames)
        """The camera's matrix at each frame's own instant: float64 ``[T, 3, 3]``."""
        self.instants = instants(spec.camera)
        self.cameras = np.stack([camera_poses(spec.camera, self.frames, shift) for shift in self.instants])
        """World to camera at the instants of each frame: float64 ``[3, T, 4, 4]``."""
        self.shots = shots(spec.camera, self.frames)
        """The shot that each frame belongs to: int64 ``[T]``. From one to the next there is no flow."""
        self.simulated, self.cloths = simulated, cloths
        results = iter(() if simulated is None else simulated)
        self.poses = tuple(
            self._poses(item, next(results, None) if isinstance(item.motion, SimulatedMotion) else None)
            for item in self.items
        )
        """Object to world, of each object, as ``cameras``."""
        if spec.ground is not None:
            for number in self.numbers:
                if self.items[number - 1].stands:
                    self._set_down(number, spec.ground.offset)
        drift = 0.0 if spec.drift is None else evaluate(spec.drift, self.frames)
        self.gains = 2.0 ** (spec.exposure + np.zeros((self.frames, 3)) + drift)
        """What the exposure makes of red, green and blue light in each frame: float64 ``[T, 3]``."""
        self._posed: tuple[int, dict[int, np.ndarray]] = (-1, {})

    @classmethod
    def load(cls, spec: SceneSpec, store: AssetStore) -> Self:
        """The geometry of ``spec`` with its meshes from ``store``. Raises VOSForgeError when it lacks one."""
        contents = dict.fromkeys(item.mesh for item in (*spec.objects, *spec.distractors))
        simulated = store.array(spec.physics.poses) if spec.physics and spec.physics.poses else None
        cloths = {
            item.cloth.shapes: store.array(item.cloth.shapes)
            for item in (*spec.objects, *spec.distractors)
            if item.cloth is not None and item.cloth.shapes is not None
        }
        return cls(spec, {content: store.mesh(content) for content in contents}, simulated, cloths)

    def _poses(self, item: ObjectSpec, simulated: np.ndarray | None) -> np.ndarray:
        if simulated is None:
            return np.stack([object_poses(item, self.frames, shift) for shift in self.instants])
        return np.stack([replayed(simulated, shift) for shift in self.instants])

    @property
    def to_camera(self) -> np.ndarray:
        """World to camera at each frame's own instant: float64 ``[T, 4, 4]``."""
        return self.cameras[1]

    @property
    def numbers(self) -> range:
        """Those of all objects and distractors."""
        return range(1, len(self.items) + 1)

    def mesh(self, number: int) -> PreparedMesh:
        """The mesh of object ``number``, before any deformation."""
        return self._meshes[self.items[number - 1].mesh]

    def shaped(self, number: int, u: float, which: np.ndarray | slice = ALL) -> np.ndarray:
        """The vertices of object ``number``, or ``which`` of them, at time ``u``: float64 ``[V, 3]``, its own axes."""
        item, mesh = self.items[number - 1], self.mesh(number)
        if item.cloth is None:
            return shaped(item, mesh, u, which)
        shapes = self.cloths.get(item.cloth.shapes or "")
        if shapes is None or shapes.shape != (self.frames, *mesh.vertices.shape):
            raise VOSForgeError(
                f"object {number} of video {self.spec.video_id} is a cloth without shapes for {self.frames} frames: "
                "remove its 'shapes' from the spec, so that a worker simulates it"
            )
        return shown(shapes, u, which)

    def _set_down(self, number: int, ground: float) -> None:
        """Let object ``number`` touch the ground at all instants of all frames."""
        rigid = self.items[number - 1].rigid
        shape = self.shaped(number, 0.0)
        for shift, poses in zip(self.instants, self.poses[number - 1], strict=True):
            for t, pose in enumerate(poses):
                if not rigid:
                    shape = self.shaped(number, (t + shift) / (self.frames - 1))
                pose[2, 3] = ground - (shape @ pose[2, :3]).min()

    def pose(self, number: int, t: int) -> np.ndarray:
        """From object ``number``'s own coordinates to camera axes at frame ``t``: float64 ``[4, 4]``."""
        pose: np.ndarray = self.to_camera[t] @ self.poses[number - 1][1, t]
        return pose

    def placed(self, number: int, t: int, which: np.ndarray | slice = ALL) -> np.ndarray:
        """All vertices, or ``which`` of them, of object ``number`` at frame ``t``: float64 ``[V, 3]``, camera axes."""
        return moved(self.shaped(number, t / (self.frames - 1), which), self.pose(number, t))

    def vertices(self, number: int, t: int) -> np.ndarray:
        """All vertices of object ``number`` at frame ``t``: float64 ``[V, 3]``, camera axes; for reading only.

        Those of the frame that was asked for last are kept.
        """
        if self._posed[0] != t:
            self._posed = (t, {})
        posed = self._posed[1]
        if number not in posed:
            posed[number] = self.placed(number, t)
        return posed[number]

    def corners(self, number: int, t: int, face: np.ndarray) -> np.ndarray:
        """The corners of the triangles ``face [N]`` of object ``number`` at frame ``t``: float64 ``[N, 3, 3]``."""
        return self.placed(number, t, self.mesh(number).faces[face].ravel()).reshape(-1, 3, 3)


def planes_of(spec: SceneSpec) -> tuple[tuple[PlaneSpec, int], ...]:
    """The scene's planes, each with the axis that it faces: 0 for walls, 1 for the backdrop, 2 for the ground."""
    planes = ((spec.backdrop, 1), (spec.ground, 2), *((wall, 0) for wall in spec.walls))
    return tuple((plane, facing) for plane, facing in planes if plane is not None)


def plane_corners(plane: PlaneSpec, facing: int) -> tuple[np.ndarray, np.ndarray]:
    """The corners of a plane around it: ``[4, 3]`` in the world, and ``[4, 2]`` as texture coordinates."""
    half = np.array([plane.size, plane.size if plane.height is None else plane.height]) / 2
    flat = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    return np.insert(flat, facing, plane.offset, axis=1), (flat / plane.size + 0.5) * plane.repeat


def mirror_pose(mirror: MirrorSpec) -> np.ndarray:
    """From a mirror's own axes to the world: float64 ``[4, 4]``. It lies in y = 0 around its middle and faces -y."""
    cos, sin = np.cos(mirror.turn), np.sin(mirror.turn)
    x, y, z = mirror.middle
    return np.array([[cos, -sin, 0.0, x], [sin, cos, 0.0, y], [0.0, 0.0, 1.0, z], [0.0, 0.0, 0.0, 1.0]])


def instants(camera: CameraSpec) -> tuple[float, float, float]:
    """When the shutter opens, takes the frame and closes, in frames from the frame's own instant."""
    return (-camera.shutter / 2, 0.0, camera.shutter / 2)


def moved(places: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Places ``[N, 3]`` moved by a matrix ``[4, 4]``."""
    return places @ pose[:3, :3].T + pose[:3, 3]
