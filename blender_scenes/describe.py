"""Statistics of scenes: a table of quantities with all their values."""

from collections.abc import Callable, Iterable

import numpy as np

from blender_scenes.object_spec import CurveMotion, ObjectSpec
from blender_scenes.spec import CameraSpec, LookAtMotion, SceneSpec
from blender_scenes.trajectories import camera_poses, evaluate, object_poses, shots

Add = Callable[..., None]
STILL = 1e-4
"""Moves below this, in metres a frame, count as standing still."""
DESCRIBED_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def scene_quantities(scenes: Iterable[SceneSpec]) -> dict[str, np.ndarray]:
    """The values of each quantity over all ``scenes`` (float64), one a scene, object, pair, light or moment.

    Paths are summed over the frames, turns over the axes as well; ``textured_frac`` is 1 for an object whose texture
    is replaced, else 0, ``deforming_frac`` for one that changes its shape, and ``simulated_frac`` for one that moves by
    physics (both are left out if none does), of which nothing else is counted: where it goes is known once it is baked;
    ``obj_max_step`` is the largest move between two frames; anisotropy is the largest over the least scale at frame 0;
    ``min_pair_distance`` the least distance of two centres over the frames; camera coordinates count at every 16th
    frame, and cuts do not count as the camera's moves. Lengths in metres, angles in radians, powers in watts.
    """
    values: dict[str, list[float]] = {}

    def add(name: str, *found: float) -> None:
        values.setdefault(name, []).extend(found)

    for scene in scenes:
        frames = scene.render.frames
        add("n_objects", len(scene.objects))
        add("n_lights", len(scene.lights))
        if scene.backdrop is not None:
            add("sky_strength", scene.backdrop.emission)
        for light in scene.lights:
            add("light_energy", light.energy)
            add("light_color_min", min(light.color))
            add("light_radius", float(np.linalg.norm(light.location)))
        _add_camera(add, scene.camera, frames)
        centres = [_add_object(add, item, frames) for item in scene.objects if item.motion.kind != "simulated"]
        add("textured_frac", *(float(item.texture is not None) for item in scene.objects))
        add("deforming_frac", *(float(not item.rigid) for item in scene.objects))
        add("simulated_frac", *(float(item.motion.kind == "simulated") for item in scene.objects))
        for place, centre in enumerate(centres):
            for other in centres[:place]:
                add("min_pair_distance", float(np.linalg.norm(centre - other, axis=1).min()))
    for name in ("deforming_frac", "simulated_frac"):
        if not any(values.get(name, ())):
            values.pop(name, None)
    return {name: np.array(found) for name, found in values.items()}


def _steps(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.diff(points, axis=0), axis=1)


def _add_camera(add: Add, camera: CameraSpec, frames: int) -> None:
    location, shot = np.linalg.inv(camera_poses(camera, frames))[:, :3, 3], shots(camera, frames)
    same = np.diff(shot) == 0
    steps = _steps(location)[same]
    add("fov", camera.fov)
    add("cam_path_len", float(steps.sum()))
    looks = [
        _steps(evaluate(motion.look_at, frames))[same & (shot[1:] == number)].sum()
        for number, motion in enumerate(camera.motions)
        if isinstance(motion, LookAtMotion)
    ]
    if looks:
        add("cam_look_path_len", float(sum(looks)))
    if len(steps):
        add("cam_static_frac", float((steps < STILL).mean()))
    for name, axis in zip(("cam_x", "cam_y", "cam_z"), location[::16].T, strict=True):
        add(name, *axis.tolist())


def _add_object(add: Add, item: ObjectSpec, frames: int) -> np.ndarray:
    poses = object_poses(item, frames)
    centre, scale = poses[:, :3, 3], np.linalg.norm(poses[:, :3, :3], axis=1)
    steps = _steps(centre)
    add("obj_path_len", float(steps.sum()))
    add("obj_max_step", float(steps.max()))
    if isinstance(item.motion, CurveMotion):
        add("obj_rot_total", float(np.abs(np.diff(evaluate(item.motion.rotation, frames), axis=0)).sum()))
    add("obj_scale_mean", float(scale.mean()))
    add("obj_scale_ratio_end_start", float(scale[-1].mean() / scale[0].mean()))
    add("obj_scale_anisotropy", float(scale[0].max() / scale[0].min()))
    add("obj_depth_mean", float(centre[:, 1].mean()))
    add("obj_lateral_absmax", float(np.abs(centre[:, [0, 2]]).max()))
    add("obj_static_frac", float((steps < STILL).mean()))
    return centre
