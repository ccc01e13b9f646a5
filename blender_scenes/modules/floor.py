"""The floor on which things fall and lie: where the camera sees it, and how far what lies there reaches."""

import numpy as np

from blender_scenes.object_spec import CurveMotion, ObjectSpec
from blender_scenes.spec import SceneSpec
from blender_scenes.trajectories import camera_poses, evaluate

NEAR, FAR = 3.0, 12.0
"""Metres before the camera in which objects come by, where it sees the floor."""
BEFORE_WALL = 0.8
"""Metres from walls within which none is let go."""
REACH = 0.4
"""How far an object reaches from its middle, as a share of its largest scale: most do."""
REDRAWS = 20


def scale_of(item: ObjectSpec) -> np.ndarray:
    """The scale of each axis with which an object begins: ``[3]``."""
    return np.abs(evaluate(item.motion.scale, 2)[0]) if isinstance(item.motion, CurveMotion) else np.full(3, 2.0)


def before_walls(scene: SceneSpec, place: np.ndarray, reach: float = 0.0) -> bool:
    """Whether a place, and ``reach`` around it, is on the camera's side of the backdrop and of all walls."""
    by = max(BEFORE_WALL, reach)
    before = scene.backdrop is None or place[1] < scene.backdrop.offset - by
    return before and all(np.sign(wall.offset) * place[0] < abs(wall.offset) - by for wall in scene.walls)


def seen_on_floor(
    rng: np.random.Generator, scene: SceneSpec, floor: float, x: float = 0.8, y: float = 0.9, reach: float = 0.0
) -> np.ndarray:
    """A place on the floor that the camera sees halfway through the video; below the middle of its view if none.

    x, y: how far to the sides, and down, of the middle of the view, as shares; reach: how far from walls.
    """
    settings = scene.render
    to_world = np.linalg.inv(camera_poses(scene.camera, settings.frames)[settings.frames // 2])
    half = np.tan(scene.camera.fov / 2) * np.array([1.0, settings.height / settings.width])
    for _ in range(REDRAWS):
        right, down = rng.uniform([-x, 0.0], [x, y]) * half
        ray = to_world[:3, :3] @ [right, down, 1.0]
        far = (floor - to_world[2, 3]) / ray[2] if ray[2] < 0 else np.inf
        place = to_world[:3, 3] + far * ray if NEAR < far < FAR else None
        if place is not None and before_walls(scene, place, reach):
            return np.asarray(place)
    place = to_world[:3, 3] + (NEAR + FAR) / 2 * to_world[:3, 2]
    return np.array([place[0], place[1], floor])
